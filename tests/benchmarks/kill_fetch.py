"""Kills msdn fetch at random moments, runs it again, and compares every byte with the truth.

    python -m tests.benchmarks.kill_fetch [--kills 200] [--seed 0]

A server on the loopback interface offers a miniature benchmark at a throttled rate. The command
runs in a child process that is killed with SIGKILL. After every kill, each file under its final
name is compared with the truth. After every completed fetch, the whole folder is compared and
removed.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from msdn_lit.commands.data import fetch
from msdn_lit.data.download.sources import Source
from tests.loopback import Resource, serving

CLASSES, IMAGES = 30, 20
OWN = {
    "CUB/images/3/own.jpg": b"own",
    "CUB/images/7/own.jpg": b"own",
    "notes.txt": b"notes",
}  # files of the user, which must not change
RATE = 1e6  # bytes per second
LONGEST = 0.7  # longest run, as a share of the time of an uninterrupted one


def make_truth(folder: Path, rng):
    """Writes the archives; returns the contents of all their files by final name."""
    images = {
        f"CUB/images/{c}/{i}.jpg": rng.randbytes(rng.randrange(1500))
        for c in range(CLASSES)
        for i in range(IMAGES)
    }
    splits = {f"xlsa/{name}.mat": rng.randbytes(100_000) for name in "abcd"}
    vectors = {"w2v/vectors.pkl": rng.randbytes(100_000)}
    with tarfile.open(folder / "images.tgz", "w:gz") as archive:
        for name, data in images.items():
            (folder / "member").write_bytes(data)
            archive.add(folder / "member", name)
    with zipfile.ZipFile(folder / "splits.zip", "w") as archive:
        for name, data in splits.items():
            archive.writestr(name, data)
    (folder / "vectors.pkl").write_bytes(vectors["w2v/vectors.pkl"])
    return images | splits | vectors


def make_sources(folder: Path, url):
    """Returns the sources of the benchmark; one archive has a checksum, the other has none."""
    sha256 = "sha256:" + hashlib.sha256((folder / "images.tgz").read_bytes()).hexdigest()
    images = {"CUB/images/*/[0-9]*.jpg": CLASSES * IMAGES}
    return (
        Source("images.tgz", "images", (url + "images.tgz",), 10**6, images, checksum=sha256),
        Source("splits.zip", "splits", (url + "splits.zip",), 10**6, {"xlsa/*.mat": 4}),
        Source(
            "vectors.pkl",
            "vectors",
            (url + "vectors.pkl",),
            10**5,
            {"w2v/vectors.pkl": 1},
            into="w2v",
        ),
    )


def start_server(folder: Path):
    """Starts a server in a process, as a fork of threads is unsafe; returns its id and URL."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with serving() as server:
            server.resources = {
                path.name: Resource(path.read_bytes(), rate=RATE) for path in folder.iterdir()
            }
            os.write(writing, server.url().encode())
            signal.pause()
    return child, os.read(reading, 100).decode()


def run_for(seconds, data_dir: Path):
    """Runs the command in a child process; returns its exit code, or None if it was killed."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = fetch.run(["mini", "--data-dir", str(data_dir)])
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == -signal.SIGKILL else code


def phase(data_dir: Path):
    """Returns the phase in which a command was killed, according to its temporary files."""
    if any(data_dir.glob(".unpacking-*")):
        return "while unpacking or moving into place"
    return "while downloading" if any(data_dir.rglob("*.partial")) else "in between"


def wrong_files(data_dir: Path, truth, *, complete):
    """Returns files with wrong contents; if complete, also files that are missing or left over."""
    found = {
        str(path.relative_to(data_dir)): path for path in data_dir.rglob("*") if path.is_file()
    }
    wrong = [
        name for name in truth.keys() & found.keys() if found[name].read_bytes() != truth[name]
    ]
    leftover = [name for name in found.keys() - truth.keys() if not name.endswith(".lock")]
    return [*wrong, *(truth.keys() - found.keys()), *leftover] if complete else wrong


def kill_often(kills, data_dir: Path, truth, rng):
    """Returns the kills by phase, the number of completed fetches, error codes and wrong files."""
    killed, completed, failed, wrong = Counter(), 0, [], []
    begin = time.monotonic()
    assert run_for(60, data_dir) == 0
    longest = LONGEST * (time.monotonic() - begin)
    shutil.rmtree(data_dir)
    while killed.total() < kills:
        for name, data in OWN.items():
            (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
            (data_dir / name).write_bytes(data)
        code = None
        while code is None and killed.total() < kills:
            code = run_for(rng.uniform(0, longest), data_dir)
            killed.update([phase(data_dir)] if code is None else [])
            wrong += wrong_files(data_dir, truth, complete=code == 0)
        completed += code == 0
        failed += [code] if code else []
        shutil.rmtree(data_dir)
    return killed, completed, failed, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = make_truth(folder, rng)
        server, url = start_server(folder)
        fetch.SOURCES = {"mini": make_sources(folder, url)}
        try:
            killed, completed, failed, wrong = kill_often(
                options.kills, folder / "data", truth | OWN, rng
            )
        finally:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
    print(
        f"kills: {killed.total()}; "
        + ", ".join(f"{count} {what}" for what, count in killed.most_common())
    )
    print(
        f"completed fetches: {completed}; failed: {len(failed)}; lost or wrong files: {len(wrong)}",
        *wrong[:5],
    )
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    sys.exit(main())
