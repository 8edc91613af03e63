"""Every command in a process of its own: `python -m msdn_lit NAME`, on one tiny run.

Tests in one process once hid that a command needed what another one had imported.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msdn_lit.commands import COMMANDS
from msdn_lit.commands.data import extract
from msdn_lit.data.features.progress import DONE
from msdn_lit.data.features.writer import FeatureStoreWriter

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


class TestSharedExtraction:
    """Three processes extract. This one waits before its first batch, so the others must work."""

    WORDS = (*OWN, "features.processes=3", "features.batch_size=1")

    @pytest.fixture(autouse=True)
    def _others_first(self, msdn, monkeypatch):
        monkeypatch.chdir(msdn.folder)
        for name in ("MSDN_DATA_DIR", "MSDN_FEATURE_DIR", "MSDN_LOG_DIR"):
            monkeypatch.delenv(name, raising=False)
        original = FeatureStoreWriter.write
        self.rows = []

        def write(store, rows, *rest):
            if not self.rows:
                self.wait(store)
            self.rows += rows
            original(store, rows, *rest)

        monkeypatch.setattr(FeatureStoreWriter, "write", write)

    def test_the_store_has_the_same_bytes(self, msdn, command, caplog):
        def wait(store):  # this process has claimed two batches when it writes the first one
            until(lambda: store._progress.states(range(2, 9)) == bytes([DONE] * 7))

        self.wait = wait
        code, out, err = command(extract, *self.WORDS, "features.name=shared")
        assert (code, err) == (0, "")
        assert "3 processes share the work" in out
        assert self.rows == [0, 1]
        assert not caplog.records
        assert msdn("extract", *OWN, "features.batch_size=1", "features.name=alone")[0] == 0
        (alone,) = msdn.folder.rglob("*TINY_alone/regions.npy")
        (shared,) = msdn.folder.rglob("*TINY_shared/regions.npy")
        assert shared.read_bytes() == alone.read_bytes()

    def test_a_broken_image_ends_all_in_one_line(self, msdn, command):
        self.wait = lambda _: until(lambda: len(multiprocessing.active_children()) < 2)
        broken = msdn.folder / "own" / "images" / "b" / "1.png"
        whole = broken.read_bytes()
        broken.write_bytes(whole[:60])
        try:
            code, _, err = command(extract, *self.WORDS, "features.name=broken")
        finally:
            broken.write_bytes(whole)
        assert (code, err.count("\n")) == (2, 1)
        assert "1.png" in err
        assert "The same command continues" in err
        assert self.rows == [0]
        assert not multiprocessing.active_children()


def until(is_true, seconds=60):
    """Waits until a condition is true."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_page(msdn):
    server = msdn.start("app", "run", "--port", "0")
    try:
        assert server.stdout.readline().startswith("http://127.0.0.1:")
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_no_command_is_forgotten():
    assert {*WORDS, "extract", "train", "app"} == COMMANDS.keys()
