"""docs/habits.md: each command of its tables works, or ends in one line that says what to type."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from msdn_lit import __main__ as msdn
from msdn_lit.commands import COMMANDS
from msdn_lit.commands import _hydra as cli
from msdn_lit.commands.results import completion
from msdn_lit.commands.train import train
from msdn_lit.files import config_dir
from tests.helpers import result_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "habits.md"
PLACEHOLDERS = {"STEPS": "100", "SIZE": "50", "RUN": "RUN", "DIR": "own", "NAME": "mine"}
ADVICE = re.compile(r"(?:Type|Did you mean|Use) (.*?)(?:[.?](?= |$))")


def rows():
    """(command, what happens) of the tables of three columns."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0].startswith("`"):
            yield cells[0].strip("`"), cells[2].replace("\\|", "|")


ROWS = list(rows())
WORKING = [command for command, happens in ROWS if happens.startswith("works")]
ANSWERED = [row for row in ROWS if not row[1].startswith("works")]


@pytest.fixture
def type_words(monkeypatch, capsys, tmp_path):
    """Types `msdn ...`; a training ends where it would begin: (exit code, jobs, standard error)."""
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 1\n")

    def call(*words):
        jobs = []
        monkeypatch.setattr(sys, "argv", ["msdn", *words])
        try:
            if words[0] == "train":
                sys.argv = ["msdn train", *words[1:]]
                cli.command("train", jobs.append, ())()
            else:
                for known in COMMANDS.values():  # one of them runs as __main__
                    monkeypatch.delitem(sys.modules, known.module_name, raising=False)
                msdn.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, jobs, capsys.readouterr().err

    return call


def words_of(command):
    """Words after `msdn`, without environment variables."""
    words = shlex.split(command, posix=True)
    return words[words.index("msdn") + 1 :] if "msdn" in words else words


def test_the_page_has_many_habits():
    assert len(ROWS) >= 70
    assert len({command for command, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("command", WORKING)
def test_a_habit_works(type_words, command):
    words = words_of(command)
    is_sweep = {"-m", "--multirun"} & {*words}
    code, jobs, err = type_words(*words)
    prints_only = {"help", "--cfg", "--info"} & {*words}
    assert len(jobs) == (3 if is_sweep else 0 if prints_only else 1)
    assert (code, err) == (1 if is_sweep else 0, "")  # the jobs of the sweep leave no result


@pytest.mark.fault("settings")
@pytest.mark.parametrize(("command", "happens"), ANSWERED, ids=[row[0] for row in ANSWERED])
def test_a_habit_is_answered_in_one_line(type_words, command, happens):
    code, jobs, err = type_words(*words_of(command))
    assert (code, jobs, err.count("\n")) == (2, [], 1)
    (advised,) = re.findall(r"`(.*?)`", happens)
    assert advised in err


@pytest.mark.fault("remedies")
@pytest.mark.parametrize(("command", "happens"), ANSWERED, ids=[row[0] for row in ANSWERED])
def test_what_a_habit_is_answered_can_be_typed(type_words, command, happens):
    """The advised words alone, and they lead into a job, or to another command's own check."""
    (advised,) = re.findall(r"`(.*?)`", happens)
    if "|" in advised:
        advised = advised.partition("|")[0]
    for name, value in PLACEHOLDERS.items():
        advised = re.sub(rf"\b{name}\b", value, advised)
    words = words_of(advised)
    if advised.startswith(("--data-dir", "--calibration")):
        words = ["evaluate", "RUN", *words]
    elif not advised.startswith("msdn"):
        words = ["train", *words]
    if words == ["train", "-m"]:
        words.append("seed=0,1")
    code, jobs, err = type_words(*words)
    if words[0] == "train":
        assert jobs or "--help" in words, err
    else:
        assert code in (0, 2)
        assert not err or re.search("is no (run )?folder|is missing", err)


HINTS = {  # further members of the kinds
    "train trainer.max_time=00:12:00:00": "trainer.max_steps=STEPS",
    "train --no-such-thing": "msdn train --cfg job",
    "train --overwrite": "overwrite=true",
    "train --protocol Honest": "protocol=honest",
    "train --arch vit_b_16": "features=",
    "train data=mnist": "data=apy|awa2|cub|folder|sun|synthetic",
    "train -m model=msdn,MSDN": "model=msdn",
    "train --gpus=4": "trainer=ddp trainer.devices=4",
    "train device=0,1": "trainer=ddp trainer.devices=2",
    "train --device mps": "trainer=mps",
    "train resume=a/checkpoints/last.ckpt": "ckpt_path=a/checkpoints/last.ckpt",
    "train +trainer.gpus=1": "trainer=gpu",
    "train trainer.gradient_clip_val=1": "+trainer.gradient_clip_val=1",
    "train experiment=cub": "experiment=cub_gzsl",
    "predict RUN a.jpg --output_dir x": "--output x",
    "predict RUN a.jpg --weights x.ckpt": "--checkpoint x.ckpt",
    "evaluate RUN/checkpoints/last.ckpt": "RUN --checkpoint last",
    "evaluate run_dir=RUN": "RUN",
    "-m seed=0,1": "msdn train -m seed=0,1",
    "download": "msdn fetch cub",
}


@pytest.mark.fault("settings")
@pytest.mark.parametrize("command", HINTS)
def test_relatives_of_the_habits_are_answered(type_words, command):
    code, jobs, err = type_words(*words_of(command))
    assert (code, jobs, err.count("\n")) == (2, [], 1)
    assert HINTS[command] in err


class TestTrainings:
    """Habits that work, up to their result, on the miniature benchmark."""

    @pytest.mark.parametrize(
        ("name", "steps"), [("default", 10), ("fdr", 1), ("limit", 100), ("overfit", 200)]
    )
    def test_a_debug_run_is_partial(self, command, mini_overrides, tmp_path, name, steps):
        of_length = ("trainer.max_steps", "trainer.val_check", "paths.run_dir")
        words = [word for word in mini_overrides if not word.startswith(of_length)]
        code, _, err = command(train, *words, f"debug={name}", f"paths.log_dir={tmp_path}/logs")
        assert code == 0, err
        (folder,) = (tmp_path / "logs" / "debugs").iterdir()
        result = result_of(folder)
        assert result["partial"].startswith(f"debug={name}")
        assert ("trained on 3 of 200" in result["partial"]) == (name == "overfit")
        assert result["scores"]["last"]["step"] == steps

    def test_null_leaves_a_callback_and_a_logger_out(self, command, mini_overrides, tmp_path):
        words = [word for word in mini_overrides if "progress" not in word]
        left_out = ["callbacks.progress=null", "callbacks.preemption=null", "logger.csv=null"]
        code, _, err = command(train, *words, *left_out, "print_config=true", "name=x", "tags=[a]")
        assert code == 0, err
        assert not (tmp_path / "run" / "metrics").exists()
        result = result_of(tmp_path / "run")
        assert (result["name"], result["tags"]) == ("x", ["a"])
        config = (tmp_path / "run" / "config.yaml").read_text()
        assert "callbacks.Preemption" not in config
        assert "print_config: false" in config

    def test_print_config_prints_what_trains(self, command, mini_overrides):
        code, out, _ = command(train, *mini_overrides, "print_config=true", "trainer.max_steps=1")
        assert code == 0
        assert "max_steps: 1\n" in out
        assert "${" not in out

    @pytest.mark.fault("settings")
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["name=[a]"], "name is wrong"),
            ([f"tags=[{'x' * 65}]"], "words of at most 64 characters"),
            (["callbacks.history=null"], "callbacks.history is missing"),
            (["trainer.limit_val_batches=0.05"], "Correct that setting of trainer"),
        ],
    )
    def test_wrong_settings_end_in_one_line(self, command, mini_overrides, words, message):
        code, _, err = command(train, *mini_overrides, *words)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err

    @pytest.mark.fault("settings")
    def test_a_missing_apple_gpu_ends_in_one_line(self, command, mini_overrides, monkeypatch):
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
        code, _, err = command(train, *mini_overrides, "trainer=mps")
        assert (code, err.count("\n")) == (2, 1)
        assert "Use trainer=cpu." in err

    @pytest.mark.fault("processes")
    def test_torchrun_needs_a_distributed_trainer(self, command, mini_overrides, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        code, _, err = command(train, *mini_overrides)
        assert (code, err.count("\n")) == (2, 1)
        assert "trainer=ddp trainer.devices=2" in err


COMPLETIONS = {
    "msdn tr": ["train"],
    "msdn train trainer=d": ["trainer=ddp", "trainer=ddp_sim", "trainer=default"],
    "msdn train trainer.max_e": ["trainer.max_epochs="],
    "msdn train optim": ["optimizer.", "optimizer="],
    "msdn train experiment=ablation/no_d": ["experiment=ablation/no_distillation"],
    "msdn train scheduler=cosine scheduler.": ["scheduler.T_max="],
    "msdn train logger=wandb logger.wandb.off": ["logger.wandb.offline="],
    "msdn train overwrite=": ["overwrite=false", "overwrite=true"],
    "msdn train --config": ["--config-dir"],
    "msdn report --form": ["--format"],
    "msdn report logs --format h": ["html"],
    "msdn list mo": ["models"],
    "msdn evaluate logs/": [],
    "msdn train paths.data_dir=/": [],
    'msdn train name="a b" see': ["seed="],
    "msdn no_command x": [],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_every_command_are_completed(name):
    assert "--version" in completion.candidates(f"msdn {name} --")


@pytest.mark.parametrize("line", COMPLETIONS)
def test_a_line_is_completed(line):
    assert completion.candidates(line) == COMPLETIONS[line]


def test_every_setting_of_the_default_training_is_completed(load_config):
    from msdn_lit.commands._overrides import _leaf_keys
    from msdn_lit.commands._settings import choices, groups, settings

    ours = {key for key in settings([]) if "." in key}
    theirs = {key for key in _leaf_keys(load_config()) if "._" not in key and "." in key}
    assert theirs - ours == set()
    folders = [path for path in config_dir().iterdir() if path.is_dir()]
    assert {*groups()} == {path.name for path in folders} - {"hydra", "paths"}
    assert "awa2_gzsl" in choices("experiment")


def test_bash_completes(tmp_path):
    """The script in bash, with the program that was typed."""
    program = tmp_path / "msdn"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m msdn_lit "$@"\n')
    program.chmod(0o755)
    script = f"""
        eval "$({program} completion bash)"
        compopt() {{ printf '%s %s\n' compopt "$2"; }}
        complete -p msdn
        COMP_LINE="{program} train trainer=ddp_"; COMP_POINT=${{#COMP_LINE}}
        COMP_WORDS=({program} train trainer = ddp_); _msdn; printf '%s\\n' "${{COMPREPLY[@]}}"
        COMP_LINE="{program} train optimizer.l"; COMP_POINT=${{#COMP_LINE}}
        COMP_WORDS=({program} train optimizer.l); _msdn; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.stderr == ""
    complete, *found = done.stdout.splitlines()
    assert "-F _msdn" in complete
    assert found == ["ddp_sim", "compopt nospace", "optimizer.lr="]


def test_the_answer_of_the_completion_is_light():
    """The tab key waits for it: no Hydra, no PyTorch."""
    code = (
        "import sys; sys.argv[1:] = ['--line', 'msdn train optimizer.'];"
        "from msdn_lit.commands.results.completion import main; main();"
        "print({'hydra', 'torch', 'numpy', 'lightning'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert "optimizer.lr=" in done.stdout
