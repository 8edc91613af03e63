"""Archives like the usual tools write them, made with tarfile and zipfile."""

import io
import os
import random
import tarfile
import zipfile

import pytest

from msdn_lit.data.download.archives import unpack
from msdn_lit.errors import DataError

KINDS = ("data.zip", "data.tar", "data.tgz", "data.tar.gz")
RNG = random.Random(0)
FILES = {
    "CUB/images/001.A/a b.jpg": RNG.randbytes(70_000),
    "CUB/images/001.A/é+().jpg": RNG.randbytes(512),
    "CUB/images/002.B/" + "x" * 150 + ".jpg": RNG.randbytes(513),
    "CUB/empty.txt": b"",
    "attributes.txt": b"1 has_bill\n" * 1000,
}


def pack(path, files=FILES, prefix=""):
    """Writes an archive like the usual tools, with entries for folders."""
    folders = sorted({parent for name in files for parent in _parents(name)})
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in folders:
                archive.writestr(f"{prefix}{name}/", b"")
            for name, data in files.items():
                archive.writestr(prefix + name, data)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
            for name in folders:
                add(archive, prefix + name, kind=tarfile.DIRTYPE)
            for name, data in files.items():
                add(archive, prefix + name, data)
    return path


def _parents(name):
    parts = name.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def add(archive, name, data=b"", kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(data))


def tree(folder):
    """Returns all files below a folder, and its empty folders as None."""
    content = {}
    for root, folders, files in os.walk(folder):
        relative = os.path.relpath(root, folder)
        content |= {
            os.path.normpath(f"{relative}/{name}"): open_bytes(f"{root}/{name}") for name in files
        }
        if not folders and not files and relative != ".":
            content[relative] = None
    return content


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def refused(archive, into, match, **limits):
    """Checks that unpacking fails and leaves the folder unchanged."""
    before = tree(into)
    with pytest.raises(DataError, match=match) as fault:
        unpack(archive, into, **limits)
    assert archive.name in str(fault.value)
    assert tree(into) == before
