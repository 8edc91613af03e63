"""Intact and damaged archives, made with tarfile and zipfile."""

import os
import random
import stat
import tarfile
from contextlib import suppress

import pytest

from msdn_lit.data.download.archives import scratch_folder, unpack
from msdn_lit.errors import DataError
from tests.archive_files import FILES, KINDS, add, pack, refused, tree


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["", "./"])
def test_everything_is_unpacked(tmp_path, into, kind, prefix):
    seen = []
    archive = pack(tmp_path / kind, prefix=prefix)
    unpack(archive, into, progress=lambda *state: seen.append(state))
    assert tree(into) == FILES | {"mine.txt": b"mine"}
    phase, done, total = seen[-1]
    assert (phase, total) == ("unpacking", archive.stat().st_size)
    assert 0 < done <= total


def test_the_content_decides_the_kind(tmp_path, into):
    unpack(
        pack(tmp_path / "data.tar").rename(tmp_path / "data.tgz"), into
    )  # browsers rename files like this
    assert tree(into) == FILES | {"mine.txt": b"mine"}


def test_existing_folders_are_merged_and_other_files_stay(tmp_path, into):
    own = into / "CUB" / "images" / "001.A" / "own.jpg"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own")
    own.with_name("a b.jpg").write_bytes(b"half")
    unpack(pack(tmp_path / "data.zip"), into)
    assert tree(into) == FILES | {"mine.txt": b"mine", "CUB/images/001.A/own.jpg": b"own"}


def test_leftovers_of_a_killed_run_are_removed(tmp_path, into):
    leftover = scratch_folder("data.zip", into) / "CUB" / "attic.txt"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"old")
    unpack(pack(tmp_path / "data.zip"), into)
    assert tree(into) == FILES | {"mine.txt": b"mine"}


def test_a_failing_move_leaves_the_scratch_folder(tmp_path, into):
    (into / "attributes.txt").mkdir()
    with pytest.raises(DataError, match=r"attributes.txt cannot be read or written"):
        unpack(pack(tmp_path / "data.zip"), into)
    assert scratch_folder("data.zip", into).exists()
    (into / "attributes.txt").rmdir()
    unpack(tmp_path / "data.zip", into)
    assert tree(into) == FILES | {"mine.txt": b"mine"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_truncated_anywhere(tmp_path, into, kind):
    whole = pack(tmp_path / f"whole{kind}").read_bytes()
    rng = random.Random(1)
    # a plain archive may lack all but one of the empty blocks at its end
    last = len(whole.rstrip(b"\0")) if kind == "data.tar" else len(whole) - 1
    for length in [0, 1, 3, 512, last, *(rng.randrange(last) for _ in range(20))]:
        (tmp_path / kind).write_bytes(whole[:length])
        refused(tmp_path / kind, into, "is damaged|is truncated")


def test_a_plain_archive_truncated_between_two_files(tmp_path, into):
    whole = pack(tmp_path / "whole.tar").read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as archive:
        offsets = [member.offset for member in archive.getmembers()]
    for offset in offsets[1:]:
        (tmp_path / "data.tar").write_bytes(whole[:offset])
        refused(tmp_path / "data.tar", into, "is damaged or truncated")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_are_never_accepted(tmp_path, into, kind):
    """Zip and gzip have checksums; a plain tar archive has checksums of its headers only."""
    whole, rng = pack(tmp_path / f"whole{kind}").read_bytes(), random.Random(2)
    for number in range(60):
        damaged = bytearray(whole)
        start = rng.randrange(len(whole))
        for position in range(start, min(start + rng.choice([1, 4, 600]), len(whole))):
            damaged[position] = rng.randrange(256)
        (tmp_path / kind).write_bytes(damaged)
        folder = into / str(number)
        with suppress(DataError):
            unpack(tmp_path / kind, folder)
        unpacked = tree(folder)
        if unpacked and kind != "data.tar":
            assert sorted(unpacked.values(), key=repr) == sorted(FILES.values(), key=repr)


def test_files_that_are_not_archives(tmp_path, into):
    for content in (b"", b"<html>gone</html>" * 100, b"PK\3\4", b"\x1f\x8b"):
        (tmp_path / "data.tgz").write_bytes(content)
        refused(tmp_path / "data.tgz", into, "damaged")


def test_modes_and_owners_of_the_archive_are_ignored(tmp_path, into):
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        add(archive, "tool", b"#!/bin/sh", mode=0o6777, uid=12345)
    unpack(tmp_path / "data.tar", into)
    status = (into / "tool").stat()
    assert stat.S_IMODE(status.st_mode) & 0o7111 == 0
    assert status.st_uid == os.getuid()
