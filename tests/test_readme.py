"""The README and the documents: their commands are valid, links resolve, Python code runs."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from msdn_lit.commands import COMMANDS
from msdn_lit.commands._overrides import check_overrides
from msdn_lit.commands._words import read_words
from msdn_lit.commands.data import extract
from msdn_lit.commands.results import report
from msdn_lit.commands.train import evaluate, select, train
from msdn_lit.commands.use import predict
from tests import miniature

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
HYDRA = ("train", "finetune", "extract")


def blocks(path, language):
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, path.read_text(), flags=re.MULTILINE | re.DOTALL)


def files(path):
    """(name, content) of the files of a page that have a title."""
    return re.findall(
        r'^```\w+ title="(.*?)"\n(.*?)^```', path.read_text(), re.MULTILINE | re.DOTALL
    )


def commands(path):
    """(command, arguments) of every msdn line; a line that ends in a backslash is continued."""
    for block in blocks(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "msdn":
                yield words[1], words[2:]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_valid(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for group in ("model", "experiment"):  # a user's own configs, named in docs/sweeps.md
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / "mine.yaml").write_text("# @package _global_\n")
    for name, text in files(path):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, words in commands(path):
        assert name in COMMANDS, name
        if name in HYDRA:
            check_overrides(name, read_words(name, [word for word in words if word != "..."]))
        else:
            import_module(COMMANDS[name].module_name)._parse(words)


def test_links_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_the_library_block_runs(store_dir, data_dir, capsys):
    """The block as it stands, but for the names of dataset and folders and the length."""
    (code,) = [block for block in blocks(ROOT / "README.md", "python") if "open_dataset" in block]
    for old, new in {
        '"CUB"': '"MINI"',
        '"DATA"': repr(str(data_dir)),
        '"data/features/CUB_resnet101_448"': repr(str(store_dir)),
        "steps=4234": "steps=400",
        "lr=1e-4": "lr=1e-2",
    }.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    scores = {}
    exec(compile(code, "README.md", "exec"), scores)
    found = scores["metric"].compute()
    assert found.acc_seen > 2 / miniature.C
    assert str(found) == capsys.readouterr().out.strip()


@pytest.mark.fault("remedies")
def test_the_commands_of_the_readme_follow_one_another(command, mini_overrides, capsys):
    """Its sweep, its selection, the training that this prints, an evaluation and a report."""
    lines = {name: words for name, words in commands(ROOT / "README.md") if name != "train"}
    (sweep,) = [words for name, words in commands(ROOT / "README.md") if "-m" in words]
    of_data = ("experiment=", "paths.data_dir=")
    mini = [word for word in mini_overrides if not word.startswith("paths.run_dir=")]
    sweep = [word for word in sweep if not word.startswith(of_data)]
    code, out, err = command(train, *mini, *sweep)
    assert code == 0, out + err
    code, out, err = command(select, *lines["select"])
    assert (code, err) == (0, "")
    program, name, *words = shlex.split(out.splitlines()[-1])
    assert (program, name) == ("msdn", "train")
    assert command(train, *words)[0] == 0
    trial = next(Path("logs/sweeps/cal").glob("*/result.json")).parent  # settings may change
    for module in (evaluate, report):
        name = module.__name__.rpartition(".")[2]
        words = [word.replace("logs/train/runs/RUN", str(trial)) for word in lines[name]]
        words = words[: words.index("--figures")] if "--figures" in words else words
        code, out, err = command(module, *words)
        assert (code, err) == (0, ""), name


@pytest.mark.slow
def test_a_prediction_with_typed_classes(command, tmp_path, monkeypatch, capsys):
    """The README's Python, and its command, on a demo that was trained for a moment."""
    monkeypatch.chdir(tmp_path)
    assert command(extract, "experiment=demo")[0] == 0
    short = ["trainer.max_steps=300", "trainer.val_check_interval=300"]
    quiet = ["callbacks=default", "~callbacks.progress"]
    assert command(train, "experiment=demo", "paths.run_dir=logs/demo", *short, *quiet)[0] == 0
    (code,) = [block for block in blocks(ROOT / "README.md", "python") if "import load" in block]
    assert len(code.strip().splitlines()) <= 6
    exec(compile(code, "README.md", "exec"), {})
    image, best, *_ = capsys.readouterr().out.splitlines()
    assert (image, best.split()[:2]) == ("Heath_Finch_0001_v1.png", ["fire", "finch"])
    (classes,) = blocks(ROOT / "docs" / "predict.md", "yaml")
    (tmp_path / "mine.yaml").write_text(classes)
    finches = tmp_path / "data" / "SYNTHETIC" / "images" / "007.Heath_Finch"
    (tmp_path / "photos").symlink_to(finches)
    (line,) = re.findall(r"`msdn predict ([^`]*)`", (ROOT / "README.md").read_text())
    code, out, err = command(predict, *line.split())
    assert (code, err) == (0, "")
    assert "fire finch" in out
