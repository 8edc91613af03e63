"""The notebooks run from the first cell to the last, in an empty folder."""

import json
import os
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def code_cells(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def test_there_are_notebooks():
    names = {path.stem for path in NOTEBOOKS}
    assert names == {"msdn_without_hydra", "your_own_method"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_not_stored(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    scripts = str(Path(sys.executable).parent)  # where `msdn` is
    monkeypatch.setenv("PATH", os.pathsep.join([scripts, os.environ["PATH"]]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    names = {}
    for cell in code_cells(path):
        exec(compile(cell, path.name, "exec"), names)
    out = capfd.readouterr().out
    if path.stem == "msdn_without_hydra":
        assert names["scores"].acc_czsl > 0.5  # chance is 0.1
    else:
        assert "model=dot_attention" in out
        assert "pointing game" in out
