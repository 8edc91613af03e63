"""Archives of benchmarks."""

import functools
import gzip
import io
import os
import tarfile

from msdn_lit.data.download.archives import unpack
from tests.mutated.format import Format
from tests.mutated.tables import zipped

CONTENT = {"a/b.txt": b"text" * 50, "c.bin": bytes(range(256)), "empty": b""}
INTO = "into"  # destination folder of a case


def formats(folder):
    for name, data in (
        ("x.zip", zipped(CONTENT)),
        ("x.tgz", gzip.compress(_tar(), mtime=0)),
        ("x.tar", _tar()),
    ):
        # A plain archive has checksums of its headers only, and its first files can be missing.
        can_be_right = functools.partial(_is_part, is_plain=name == "x.tar")
        yield Format(
            name,
            {name: data, INTO: os.mkdir},
            functools.partial(_unpack, name),
            can_be_right,
            (),
            (name,),
        )


def _is_part(value, is_plain):
    return is_plain and value.keys() <= CONTENT.keys()


def _unpack(name, folder):
    into = folder / INTO
    unpack(folder / name, into, max_bytes=1_000_000)
    return {
        str(file.relative_to(into)): file.read_bytes() for file in into.rglob("*") if file.is_file()
    }


def _tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in CONTENT.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()
