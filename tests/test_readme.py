"""What the README and the documents tell to type, typed."""

import re
import shlex
from pathlib import Path

import pytest

from msdn_lit.commands._overrides import check_overrides
from msdn_lit.commands.data import extract
from msdn_lit.commands.train import train
from msdn_lit.commands.use import predict
from msdn_lit.files import config_dir

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HYDRA = ("train", "extract", "evaluate", "predict", "export")


def blocks(path, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL
    )


def commands(path):
    """(command, arguments) of every msdn-* line; a line that ends in a backslash goes on."""
    for block in blocks(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].startswith("msdn-"):
                yield words[0].removeprefix("msdn-"), words[1:]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_typed_exists(path):
    for name, arguments in commands(path):
        assert (ROOT / "src" / "msdn_lit" / f"{name}.py").is_file(), name
        if name in HYDRA:
            overrides = [argument for argument in arguments if "=" in argument]
            check_overrides(config_dir(), name, overrides)


def test_links_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.slow
def test_a_prediction_with_typed_classes(command, tmp_path, monkeypatch, capsys):
    """The README's Python, and its command, on a demo that was trained for a moment."""
    monkeypatch.chdir(tmp_path)
    assert command(extract, "experiment=demo")[0] == 0
    short = [
        "trainer.max_steps=300",
        "trainer.val_check_interval=300",
        "callbacks=default",
        "~callbacks.progress",
    ]
    assert command(train, "experiment=demo", "paths.run_dir=logs/demo", *short)[0] == 0
    (code,) = blocks(ROOT / "README.md", "python")
    assert len(code.strip().splitlines()) <= 6
    exec(compile(code, "README.md", "exec"), {})
    name, _, why = capsys.readouterr().out.partition(" ")
    assert (name, why.partition("'")[0]) == ("fire", "finch [")
    (classes,) = blocks(ROOT / "docs" / "predict.md", "yaml")
    (tmp_path / "mine.yaml").write_text(classes)
    (tmp_path / "photos").symlink_to(tmp_path / "data" / "SYNTHETIC" / "images" / "007.Heath_Finch")
    (line,) = re.findall(
        r"^`msdn-predict ([^`]*)`", (ROOT / "README.md").read_text(), flags=re.MULTILINE
    )
    code, out, err = command(predict, *line.split())
    assert (code, err) == (0, "")
    assert "fire finch" in out
