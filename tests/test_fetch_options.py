"""Options of msdn fetch: local archives, mirrors, changed files, dry runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from msdn_lit.commands.data import fetch
from tests.archive_files import pack, tree
from tests.miniature_table import ALL, IMAGES, SPLITS, VECTORS, call, files, serve_table, table


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serve_table(tmp_path / "server", monkeypatch) as server:
        yield server


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: call(arguments, monkeypatch, capsys)


def test_own_archives_are_taken_and_stay(server, run):
    before = tree(server.folder)
    code, out, _ = run("cub", "--archive", server.folder / "images.tgz", "--archive", server.folder)
    assert code == 0
    assert f"images.tgz: using {server.folder / 'images.tgz'}" in out
    assert files() == ALL
    assert tree(server.folder) == before
    assert server.log == []


def test_an_archive_in_the_data_folder_is_the_users(server, run):
    shutil.copytree(server.folder, "data")
    assert run("cub")[0] == 0
    assert server.log == []
    assert files() == ALL | tree(server.folder)


def test_an_own_archive_that_is_another_one(server, run):
    small = pack(server.folder / "images.tgz", {name: b"small" for name in IMAGES})
    code, _, err = run("cub", "--archive", small)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{small} is not the known file: expected" in err
    assert "or accept the file with --accept-changed" in err
    assert files() == SPLITS | VECTORS  # the others are fetched all the same
    code, out, _ = run("cub", "--archive", small, "--accept-changed")
    assert code == 0
    assert "images.tgz: accepted, although it is not the known file (expected" in out
    assert files() == {name: b"small" for name in IMAGES} | SPLITS | VECTORS


def test_a_changed_download_is_accepted_without_downloading_it_again(server, run):
    images, *others = fetch.SOURCES["cub"]
    fetch.SOURCES["cub"] = (replace(images, size=None), *others)
    changed = pack(
        server.folder / "images.tgz", IMAGES | {"CUB/images/0/0.jpg": b"changed"}
    ).read_bytes()
    server.resources["images.tgz"].data = changed
    code, _, err = run("cub")
    assert (code, err.count("\n")) == (2, 1)
    assert "is not the known file: expected sha256:" in err
    server.log.clear()
    assert run("cub", "--accept-changed")[0] == 0
    assert server.log[0][2]["Range"] == f"bytes={len(changed) - 1}-"
    assert files()["CUB/images/0/0.jpg"] == b"changed"


def test_a_mirror_is_tried_first(server, run):
    server.resources["lab/images.tgz"] = server.resources.pop("images.tgz")
    assert run("cub", "--mirror", server.url("lab/"))[0] == 0
    names = [name for _, name, _ in server.log]
    assert names == [
        "lab/images.tgz",
        "lab/xlsa17.zip",
        "xlsa17.zip",
        "lab/CUB_attribute.pkl",
        "CUB_attribute.pkl",
    ]
    assert files() == ALL


def test_kept_archives_serve_again(server, run):
    assert run("cub", "--keep-archives")[0] == 0
    kept = {name: server.resources[name].data for name in ("images.tgz", "xlsa17.zip")}
    assert files() == ALL | kept
    shutil.rmtree("data/CUB")
    server.log.clear()
    assert run("cub")[0] == 0
    assert (files(), server.log) == (ALL | kept, [])


def test_an_archive_with_too_little_in_it_is_not_called_complete(server, run):
    del server.resources["xlsa17.zip"]
    half = pack(
        server.folder / "xlsa17.zip",
        {name: data for name, data in SPLITS.items() if "res101" not in name},
    )
    code, out, err = run("cub", "--archive", half, "--accept-changed")
    assert (code, err.count("\n")) == (2, 1)
    assert (
        "does not contain the whole benchmark: expected 2 files xlsa17/data/CUB/*.mat in data, "
        "found 1." in err
    )
    assert "cub is complete" not in out


def test_a_hostile_archive_changes_nothing(server, run):
    evil = pack(server.folder / "images.tgz", IMAGES | {"../up.txt": b"evil"})
    code, _, err = run("cub", "--archive", evil, "--accept-changed")
    assert code == 2
    assert "has an entry '..'" in err
    assert files() == SPLITS | VECTORS
    assert not Path("up.txt").exists()


def test_a_bomb_is_refused_by_the_size_in_the_table(server, run):
    bomb = pack(server.folder / "xlsa17.zip", SPLITS | {"bomb": bytes(150_001)})
    server.resources["xlsa17.zip"].data = bomb.read_bytes()
    fetch.SOURCES.update(table(server))
    code, _, err = run("sun")
    assert code == 2
    assert "unpacks to more than 150,000 bytes, at 'bomb'" in err


def test_dry_run_touches_nothing(server, run, tmp_path):
    before = tree(tmp_path)
    code, out, _ = run("all", "--dry-run", "--data-dir", tmp_path / "a" / "b")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "images.tgz, 0.0 MB from 127.0.0.1"
    assert lines[1] == "  things: to fetch, 0 of 12 files"
    assert lines[-1].startswith("Disk: 0.0 GB needed, ")
    assert tree(tmp_path) == before
    assert server.log == []


def test_the_plan_of_the_real_benchmarks_fits_80_columns(command, tmp_path):
    code, out, _ = command(fetch, "all", "--dry-run")
    assert code == 0
    assert "images, attribute names: to fetch, 0 of 37,322 files" in out
    assert max(map(len, out.splitlines())) <= 80


def test_dry_run_tells_what_is_there(server, run):
    run("cub")
    before = tree("data")
    out = run("cub", "--dry-run", "--archive", server.folder)[1]
    assert out.count("complete, ") == 3
    assert str(server.folder / "images.tgz") in out
    assert tree("data") == before


def test_check_urls(server, run):
    code, out, err = run("cub", "--check-urls", "--mirror", server.url("mirror"))
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert rows[1] == ["images.tgz", "404", "Not", "Found", server.url("mirror/images.tgz")]
    size = f"{len(server.resources['images.tgz'].data):,}"
    assert rows[2] == ["images.tgz", "ok", size, server.url("images.tgz")]
    server.resources["xlsa17.zip"].content_type = "text/html"
    code, out, err = run("cub", "--check-urls")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("msdn fetch: No URL offers xlsa17.zip. Name a mirror with")
    assert not Path("data").exists()
