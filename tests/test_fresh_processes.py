"""Every command in a process of its own: `python -m msdn_lit NAME`, on one tiny run.

Tests in one process once hid that a command needed what another one had imported.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msdn_lit.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
OWN = ["data=folder", "data.folder=own", "data.benchmark=TINY", "features=synthetic"]
SHORT = ["trainer=cpu", "trainer.max_steps=2", "trainer.val_check_interval=2"]
TRAIN = [*OWN, *SHORT, "sampler.batch_size=4", "callbacks=none", "paths.run_dir=run"]
WORDS = {  # extract and train come first
    "fetch": ["cub", "--dry-run"],
    "init-dataset": ["template"],
    "doctor": ["--help"],  # it measures for seconds; tests/test_doctor.py runs it
    "finetune": [*OWN, *SHORT, "sampler.batch_size=4", "callbacks=none", "paths.run_dir=tuned"],
    "evaluate": ["run", "--accelerator", "cpu"],
    "select": ["run"],
    "list": [],
    "completion": ["zsh"],
    "report": ["run"],
    "scores": ["run"],
    "attention": ["run"],
    "wandb-workspace": ["--dry-run"],
    "predict": ["run", "own/images/a"],
    "export": ["run", "--output", "bundle"],
}
REFUSED = {  # what the tiny run does not have
    "select": "Train with protocol=validation: msdn train data=folder data.folder=own",
    "attention": "TINY does not say where its attributes are",
}


@pytest.fixture(scope="module")
def msdn(tmp_path_factory):
    """Runs a command in a folder that has a run: (exit code, standard output, standard error)."""
    folder = tmp_path_factory.mktemp("fresh")
    random = np.random.default_rng(0)
    for name in "abc":
        (folder / "own" / "images" / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "own" / "images" / name / f"{number}.png")
    (folder / "own" / "attributes.csv").write_text("class,red,blue\na,1,0\nb,0,1\nc,1,1\n")
    (folder / "own" / "unseen.txt").write_text("c\n")
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def start(*words):
        command = [sys.executable, "-m", "msdn_lit", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=folder, env=environment, **pipes)

    def run(*words):
        process = start(*words)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    run.start, run.folder = start, folder
    for words in (["extract", *OWN], ["train", *TRAIN]):
        code, out, err = run(*words)
        assert code == 0, out + err
    return run


@pytest.mark.parametrize("name", WORDS)
def test_a_command_alone(msdn, name):
    code, out, err = msdn(name, *WORDS[name])
    assert "Traceback" not in err
    if name in REFUSED:
        assert (code, err.count("\n")) == (2, 1)
        assert REFUSED[name] in err
    else:
        assert code == 0, err
        assert out


def test_processes_that_share_an_extraction_make_the_same_store(msdn):
    code, out, err = msdn("extract", *OWN, "features.name=shared", "features.processes=3")
    assert (code, err) == (0, "")
    assert "3 processes share the work" in out
    (alone,) = msdn.folder.rglob("*TINY_synthetic/regions.npy")
    (shared,) = msdn.folder.rglob("*TINY_shared/regions.npy")
    assert shared.read_bytes() == alone.read_bytes()


def test_processes_that_share_an_extraction_refuse_a_broken_image_in_one_line(msdn):
    broken = msdn.folder / "own" / "images" / "b" / "1.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60])
    try:
        words = ("features.name=broken", "features.processes=3", "features.batch_size=1")
        code, _, err = msdn("extract", *OWN, *words)
    finally:
        broken.write_bytes(whole)
    assert (code, err.count("\n")) == (2, 1)
    assert "1.png" in err
    assert "The same command continues" in err


def test_the_page(msdn):
    server = msdn.start("app", "run", "--port", "0")
    try:
        assert server.stdout.readline().startswith("http://127.0.0.1:")
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_no_command_is_forgotten():
    assert {*WORDS, "extract", "train", "app"} == COMMANDS.keys()
