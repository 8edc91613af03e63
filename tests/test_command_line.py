"""Words of a command line with Hydra: any order, folders of own configs, values to be quoted."""

import shlex
import sys

import pytest

from msdn_lit.commands import _hydra as cli
from msdn_lit.commands._overrides import check_overrides
from msdn_lit.commands._words import parse_override, read_words, typed
from msdn_lit.errors import ConfigError

pytestmark = pytest.mark.fault("settings")

LOGS = "paths.log_dir=logs"
ODD = "my cönfs, [x]=1"  # a name of a folder with all that Hydra's grammar minds


@pytest.fixture
def own(tmp_path):
    """Folders of own configs in the working directory: an experiment that chooses an own model."""
    for name in ("conf", ODD, "own_package/conf"):
        for group in ("experiment", "model", "mine"):
            (tmp_path / name / group).mkdir(parents=True)
        recipe = "# @package _global_\ndefaults:\n  - override /model: mine\ntags: [own]\n"
        (tmp_path / name / "experiment" / "mine.yaml").write_text(recipe)
        (tmp_path / name / "model" / "mine.yaml").write_text("_target_: mine.Net\nwidth: 16\n")
        (tmp_path / name / "mine" / "fast.yaml").write_text("speed: 3\n")
    for name in ("own_package", "own_package/conf"):
        (tmp_path / name / "__init__.py").touch()
    return tmp_path


@pytest.fixture
def jobs(monkeypatch, capsys):
    """Runs a training without its job: (exit code, configs of the jobs, standard error)."""

    def call(*words):
        seen = []
        monkeypatch.setattr(sys, "argv", ["msdn train", *words])
        try:
            cli.command("train", seen.append, ())()
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, seen, capsys.readouterr().err

    return call


FORMS = [
    ["--config-dir", "conf", "experiment=mine", "seed=3"],
    ["experiment=mine", "--config-dir", "conf", "seed=3"],
    ["experiment=mine", "seed=3", "--config-dir=conf"],
    ["-cd", "conf", "experiment=mine", "seed=3", "model.width=8"],
    ["--config-dir", "conf", "model=mine", "+mine=fast", "mine.speed=4", "seed=3"],
    ["--config-dir", ODD, "experiment=mine", "seed=3"],
    ["--config-dir=~/conf", "experiment=mine", "seed=3"],
    ["experiment=mine", "hydra.searchpath=[conf]", "seed=3"],
    ["experiment=mine", "hydra.searchpath=[file://conf]", "seed=3"],
    ["experiment=mine", 'hydra.searchpath=["file://~/conf"]', "seed=3"],
    ["experiment=mine", "hydra.searchpath=[pkg://own_package.conf]", "seed=3"],
]


@pytest.mark.parametrize("words", FORMS, ids=" ".join)
def test_own_configs_are_found_in_every_form(own, jobs, monkeypatch, words):
    monkeypatch.setenv("HOME", str(own))
    monkeypatch.syspath_prepend(str(own))
    code, (cfg,), err = jobs(*words)
    assert (code, err) == (0, "")
    assert (cfg.model._target_, cfg.seed) == ("mine.Net", 3)


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "--config-dir", "conf", "experiment=mine", "seed=1,2"],
        ["experiment=mine", "-m", "seed=1,2", "--config-dir", ODD],
        ["experiment=mine", "--config-dir", "conf", "seed=1,2", "-m", "optimizer.lr=0.1"],
        ["-m", "experiment=mine", "hydra.searchpath=[conf]", "seed=1,2"],
    ],
    ids=" ".join,
)
def test_sweeps_find_own_configs(own, jobs, words):
    _, cfgs, err = jobs(*words, LOGS)  # these jobs leave no result, so the sweep fails
    assert err == ""
    assert [(cfg.model._target_, cfg.seed) for cfg in cfgs] == [("mine.Net", 1), ("mine.Net", 2)]


def test_processes_of_a_trial_find_own_configs(own, monkeypatch):
    """What Lightning's further processes get instead of the sweep's command line."""
    lines = []

    def job(cfg):
        with cli.single_run_command_line(cfg):
            lines.append(sys.argv[1:])

    words = ["-m", "experiment=mine", "--config-dir", ODD, "seed=1", LOGS]
    monkeypatch.setattr(sys, "argv", ["msdn train", *words])
    with pytest.raises(SystemExit):  # the job leaves no result
        cli.command("train", job, ())()
    words = read_words("msdn train", lines[0])
    assert words.folders == [own / ODD]
    check_overrides("train", words)


def test_a_sweep_in_a_folder_with_an_odd_name(jobs, tmp_path):
    _, (cfg,), err = jobs("-m", "seed=1", f'paths.log_dir="{ODD}"', "sweep_name=x")
    assert err == ""
    assert cfg.paths.run_dir.startswith(str(tmp_path / ODD / "sweeps" / "x"))


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config-dir", "none", "seed=3"], "There is no config folder"),
        (["hydra.searchpath=[none]"], "There is no config folder"),
        (["hydra.searchpath=[pkg://none.conf]"], "There is no config folder pkg://none.conf"),
        (["hydra.searchpath=conf"], "expected a list, such as hydra.searchpath=[DIR]"),
        (["--config-dir"], "expected one argument"),
        (["--conf", "x"], "There is no option --conf"),
        (["--unknown"], "There is no option --unknown. Settings are written KEY=VALUE."),
        (["-m", "--cfg", "job"], "--multirun and --cfg exclude each other"),
        (["--resolve"], "Add --cfg job"),
        (["--experimental-rerun", "x.pickle"], "is not supported"),
        (["--config-name", "other"], "is not supported"),
        (["seed"], "Write KEY=VALUE"),
        (["=3"], "Write KEY=VALUE"),
        (["~"], "Write KEY=VALUE"),
        (["seed=1,2"], "Add -m for a sweep"),
        (["logger=null"], "Use logger=none."),
        (["callbacks=null"], "Use callbacks=none."),
        (["scheduler=null"], "Omit it, or write ~scheduler."),
        (["model=null"], "Use model=attribute_to_visual|"),
        (["~logger"], "Use logger=none."),
        (["~model"], "Use model=attribute_to_visual|"),
        (["hydra/launcher=joblib"], "Use trial_launcher=joblib."),
        (["hydra/launcher=basic"], "Use trial_launcher=joblib|ray|serial|"),
        (["loss.lambda_cal=null"], "expected a value like 0.1 (float), found None"),
        (["features.backbone.model_args.x=1"], "+features.backbone.model_args.x=VALUE"),
    ],
    ids=str,
)
def test_wrong_words_end_in_one_line(jobs, words, message):
    code, seen, err = jobs(*words)
    assert (code, seen, err.count("\n")) == (2, [], 1)
    assert message in err


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    "word",
    [
        "ckpt_path=epoch=3-step=20.ckpt",
        "paths.run_dir=a b(c",
        "paths.run_dir=/home/Jörg/x",
        "paths.data_dir=it's",
        "ckpt_path=a,",
        "hydra.searchpath=[file://~/conf, b=c]",
    ],
)
def test_the_hint_for_a_value_that_needs_quotes_works(word):
    with pytest.raises(ConfigError, match=r"is not an override\. Quote the value: ") as caught:
        parse_override(word)
    (repaired,) = shlex.split(str(caught.value).partition("Quote the value: ")[2])
    value = parse_override(repaired).value()
    text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
    assert text == word.partition("=")[2]


@pytest.mark.parametrize(
    "value", ["DATA", "/a/b.c", "a b", "it's", "a=b", "1", "null", "ö", 3, 0.5, None, True, ["x y"]]
)
def test_an_override_is_typed_so_that_its_value_comes_back(value):
    (word,) = shlex.split(typed("data.folder", value))
    assert parse_override(word).value() == value


def test_shell_completion_is_left_to_hydra(command):
    from msdn_lit.commands.train import train

    code, out, err = command(train, "-sc", "install=bash")
    assert (code, err) == (0, "")
    assert "hydra_bash_completion" in out
