"""A miniature of msdn fetch's table, with a server that has its files."""

import hashlib
import sys
from contextlib import contextmanager

import pytest

from msdn_lit.commands.data import fetch
from msdn_lit.data.download import http as download
from msdn_lit.data.download.sources import Source
from tests.archive_files import pack, tree
from tests.loopback import Resource, serving

IMAGES = {f"CUB/images/{c}/{i}.jpg": f"{c} {i}".encode() * 99 for c in range(3) for i in range(4)}
SPLITS = {
    f"xlsa17/data/{name}/{file}.mat": name.encode()
    for name in ("CUB", "SUN")
    for file in ("att_splits", "res101")
}
VECTORS = {"w2v/CUB_attribute.pkl": b"vectors"}
ALL = IMAGES | SPLITS | VECTORS


@contextmanager
def serve_table(folder, monkeypatch):
    """A server with all files of the miniature table, which replaces the real one."""
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.0)
    folder.mkdir()
    pack(folder / "images.tgz", IMAGES)
    pack(folder / "xlsa17.zip", SPLITS)
    (folder / "CUB_attribute.pkl").write_bytes(VECTORS["w2v/CUB_attribute.pkl"])
    with serving() as server:
        server.folder = folder
        server.resources = {path.name: Resource(path.read_bytes()) for path in folder.iterdir()}
        monkeypatch.setattr(fetch, "SOURCES", table(server))
        yield server


def table(server):
    def source(name, content, **facts):
        data = server.resources[name].data
        return Source(name, "things", (server.url(name),), 50_000, content, size=len(data), **facts)

    def splits(name):
        return source("xlsa17.zip", {f"xlsa17/data/{name}/*.mat": 2})

    images = source(
        "images.tgz",
        {"CUB/images/*/*.jpg|birds/*/*.jpg": 12},
        checksum=sha256(server, "images.tgz"),
    )
    checksum = sha256(server, "CUB_attribute.pkl")
    vectors = source(
        "CUB_attribute.pkl", {"w2v/CUB_attribute.pkl": 1}, checksum=checksum, into="w2v"
    )
    return {"cub": (images, splits("CUB"), vectors), "sun": (splits("SUN"),)}


def sha256(server, name):
    return "sha256:" + hashlib.sha256(server.resources[name].data).hexdigest()


def call(arguments, monkeypatch, capsys):
    """Runs the command in this process: (exit code, standard output, standard error)."""
    monkeypatch.setattr(sys, "argv", ["msdn-fetch", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        fetch.main()
    return stop.value.code, *capsys.readouterr()


def files(folder="data"):
    return {name: data for name, data in tree(folder).items() if not name.endswith(".lock")}
