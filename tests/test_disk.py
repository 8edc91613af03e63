"""Disks that are full or read-only: nothing that was complete is lost, and one line says so."""

import errno
import os
import resource
import subprocess
import tempfile

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from msdn_lit.commands.data import init_dataset
from msdn_lit.commands.results import report
from msdn_lit.commands.train import train
from msdn_lit.commands.use import export, predict
from msdn_lit.files import open_atomically
from msdn_lit.inference.bundle import read_bundle
from tests.helpers import add_callback, checkpoint_of, png, result_of
from tests.run_folders import write_run


class Fill(Callback):
    """Leaves no room once the evaluation after step 5 is saved."""

    def __init__(self, fill):
        self.fill = fill

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 8:
            self.fill()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB. Only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # train.log is still open


@pytest.fixture
def train_in(command, mini_overrides):
    """Runs msdn train in a run folder."""
    others = [word for word in mini_overrides if not word.startswith("paths.run_dir")]
    return lambda folder, *more: command(train, *others, f"paths.run_dir={folder}", *more)


def one_line(err):
    """The last line of standard error, which must not be preceded by a traceback."""
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def parts(folder):
    return list(folder.rglob(".*.part"))


@pytest.mark.fault("disk")
def test_a_full_disk_keeps_the_last_checkpoint(train_in, small_disk, monkeypatch):
    ballast, folder = small_disk / "ballast", small_disk / "run"

    def fill():
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))

    callback = Fill(fill)
    add_callback(monkeypatch, callback)
    code, _, err = train_in(folder)
    line = one_line(err)
    assert (code, parts(small_disk)) == (2, [])
    assert f"cannot be written in {folder}" in line
    assert "(No space left on device). Make room; then add " in line
    assert checkpoint_of(folder)["global_step"] == 5
    ballast.unlink()
    callback.fill = lambda: None
    remedy = line.partition("then add ")[2].partition(" to the command")[0].split()
    assert train_in(folder, *remedy)[0] == 0
    assert result_of(folder)["scores"]["last"]["step"] == 12


@pytest.mark.fault("disk")
def test_a_limit_of_the_file_size_keeps_the_last_checkpoint(train_in, tmp_path, monkeypatch):
    folder, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    small = (2000, limits[1])
    add_callback(monkeypatch, Fill(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, small)))
    try:
        code, _, err = train_in(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, parts(folder)) == (2, [])
    assert f"cannot be written in {folder}" in one_line(err)
    assert checkpoint_of(folder)["global_step"] == 5


@pytest.mark.fault("disk")
@pytest.mark.parametrize("seeds", [1, 2])
def test_training_needs_no_temporary_folder(train_in, tmp_path, monkeypatch, seeds):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    folder = tmp_path / "run"
    assert train_in(folder, f"protocol.seeds_in_parallel={seeds}")[0] == 0
    assert checkpoint_of(folder)["global_step"] == 12


@pytest.mark.fault("disk")
def test_a_disk_that_is_full_from_the_start(train_in, small_disk):
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        file.write(bytes(2**21))
    code, _, err = train_in(small_disk / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert f" cannot be written in {small_disk / 'run'} (No space left on device)" in err


@pytest.mark.fault("disk")
def test_a_run_folder_that_cannot_be_made(train_in, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = train_in(tmp_path / "file" / "run")
    assert (code, (tmp_path / "file").read_text()) == (2, "mine")
    line = f"msdn train: run cannot be written in {tmp_path / 'file'} (Not a directory)."
    assert one_line(err).startswith(line)


@pytest.fixture
def commands(command, tiny_run, load_config, tmp_path):
    """Commands that write into a folder, by name: functions of the folder."""
    write_run(tmp_path / "logs" / "a", load_config(), recipe="cub_gzsl")
    image = tmp_path / "photo.png"
    image.write_bytes(png())
    lines = {
        "bundle": (export, tiny_run, "--output"),
        "torch": (export, tiny_run, "--format", "torch", "--output"),
        "predict": (predict, tiny_run, image, "--output"),
        "report": (report, tmp_path / "logs", "--output"),
        "page": (report, tmp_path / "logs", "--format", "html", "--output"),
        "template": (init_dataset,),
    }
    return {
        name: lambda folder, line=line: command(line[0], *map(str, (*line[1:], folder)))
        for name, line in lines.items()
    }


@pytest.mark.fault("disk")
def test_folders_that_cannot_be_written(commands, tmp_path, faults):
    (tmp_path / "file").write_text("mine")
    places = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "a" / "b",
        "a long name": tmp_path / ("n" * 300),
    }
    failed = []
    for name, run in commands.items():
        for kind, place in places.items():
            code, _, err = run(place)
            if code != 2 or "cannot be written" not in err or err.count("\n") != 1:
                failed.append((name, kind, code, err))
    faults(len(commands) * len(places), len(failed))
    assert failed == []
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.fault("disk")
def test_no_command_needs_a_temporary_folder(commands, tmp_path, monkeypatch, faults):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    codes = {name: run(tmp_path / "out" / name)[0] for name, run in commands.items()}
    faults(len(codes), sum(map(bool, codes.values())))
    assert codes == dict.fromkeys(commands, 0)


@pytest.mark.fault("disk")
def test_full_disks_leave_no_torn_file(commands, tmp_path, monkeypatch, faults):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    failed = []
    for name, run in commands.items():
        folder = tmp_path / "out" / name
        code, _, err = run(folder)
        left = [path for path in folder.rglob("*") if path.is_file()]
        is_told = "No space left on device" in err and err.count("\n") == 1
        if code != 2 or left or not is_told or str(folder) not in err:
            failed.append((name, code, err, left))
    faults(len(commands), len(failed))
    assert failed == []


@pytest.mark.fault("disk")
def test_a_full_disk_keeps_the_earlier_bundle(commands, tmp_path, monkeypatch):
    folder, original, calls = tmp_path / "out", os.fsync, []
    assert commands["bundle"](folder)[0] == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_at_the_second_file(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_the_second_file)
    assert commands["bundle"](folder)[0] == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    read_bundle(folder)


def test_a_checkpoint_is_replaced_by_a_whole_one(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"step": 1}, path)
    with pytest.raises(OSError, match="is not ours"), open_atomically(path) as file:
        torch.save({"step": 2}, file)
        raise OSError(errno.EIO, "is not ours", str(tmp_path / "other" / "file"))
    assert torch.load(path) == {"step": 1}
