"""MATLAB files: the Proposed Split and the names of SUN's attributes."""

import io
import struct
import zlib

import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

from msdn_lit.data.semantics import unit_class_attributes
from msdn_lit.data.splits.xlsa17 import read_attribute_names, read_proposed_split
from tests.miniature import C, K, cells, split_contents
from tests.mutated.format import Format, is_array, of_one_file


def mat(content, **options):
    """A MATLAB file in memory; without the time that stands in its header."""
    file = io.BytesIO()
    savemat(file, content, **options)
    return b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:]


def described(split):
    """All that a split says, as plain arrays and texts; and the unit rows that training makes of its attributes."""
    unit_CK = unit_class_attributes(split.class_attributes_CK, clamp_negative=False)
    names = (split.class_names, split.image_files, split.fingerprint())
    return names, split.class_attributes_CK, unit_CK, split.labels_N, dict(split.indices)


def is_split(value):
    (class_names, image_files, _), attributes_CK, unit_CK, labels_N, indices = value
    rows = np.concatenate([*indices.values(), [0]])
    return (
        is_array(attributes_CK, np.float32, (len(class_names), None))
        and is_array(unit_CK, np.float32, attributes_CK.shape)
        and is_array(labels_N, np.int64, (len(image_files),))
        and set(labels_N) <= set(range(len(class_names)))
        and set(rows) <= set(range(len(image_files)))
        and all(type(name) is str for name in (*class_names, *image_files))
    )


def formats(folder):
    contents = split_contents()
    for name, is_compressed in (("split", False), ("compressed split", True)):
        files = {
            file: mat(content, do_compression=is_compressed) for file, content in contents.items()
        }
        cases = (
            [] if is_compressed else [(case, {"att_splits.mat": data}) for case, data in _hostile()]
        )
        yield Format(
            name, files, lambda folder: described(read_proposed_split(folder)), is_split, cases
        )
    names = mat({"attributes": cells([f"attribute {k}" for k in range(K)])})
    others = [(case, data.replace(b"att\0", b"attributes\0")) for case, data in _hostile()]
    are_texts = lambda value: all(type(name) is str for name in value)  # noqa: E731
    yield of_one_file("attributes.mat", names, read_attribute_names, are_texts, others)


def _hostile():
    """Split files whose arrays are of other kinds."""
    content = split_contents()["att_splits.mat"]
    att, rows = content["att"], content["trainval_loc"]
    for name, value in {
        **{
            "complex": att * 1j,
            "struct": {"a": 1},
            "text": "text",
            "cells": cells(["a"] * C),
            "number": 1.0,
        },
        **{
            "empty": np.zeros((0, C)),
            "cube": np.ones((2, K, C)),
            "sparse": csc_matrix(att),
            "infinite": att * np.inf,
        },
        **{
            "beyond float32": att * 1e200,
            "beyond its root": att * 1e30,
            "integers": (att * 1e18).astype(np.int64),
        },
    }.items():
        yield f"att {name}", mat(content | {"att": value})
    for name, value in {
        **{
            "infinite": _with(rows * 1.0, np.inf),
            "huge": _with(rows * 1.0, 1e300),
            "complex": rows * 1j,
        },
        **{
            "smallest": _with(rows.astype(np.int64), -(2**63)),
            "largest": _with(rows.astype(np.uint64), 2**64 - 1),
        },
        **{
            "sparse": csc_matrix(rows * 1.0),
            "struct": {"a": rows},
            "cells": cells(["1"]),
            "boolean": rows > 0,
        },
    }.items():
        yield f"trainval {name}", mat(content | {"trainval_loc": value})
    for name, value in {
        **{
            "numbers": np.arange(C)[:, None],
            "sparse": csc_matrix(att),
            "struct": {"a": 1},
            "one text": "abc",
        },
        **{"empty": cells([np.zeros((0, 0))] * C), "of cells": cells([cells(["a"])] * C)},
        **{"of structs": cells([{"a": 1}] * C), "twice": cells(["a"] * C)},
    }.items():
        yield f"names {name}", mat(content | {"allclasses_names": value})
    yield "no train", mat(content | {"train_loc": np.zeros((0, 1))})
    yield "version 4", struct.pack("<5i", 0, *att.shape, 0, 4) + b"att\0" + att.tobytes()
    yield "version 7.3", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400)
    yield "deep", _nested(20_000)
    yield "bomb", _bomb(300)
    yield "many axes", _head() + _matrix(_element(5, bytes(2**22)))
    yield "many small elements", _head() + _matrix(*[bytes(8)] * 2**17)


def _with(rows, value):
    changed = rows.copy()
    changed[0] = value
    return changed


def _head():
    return mat({"att": 1.0})[:128]


def _element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def _matrix(*elements, kind=6):
    name = struct.pack("<HH4s", 1, 3, b"att\0")
    return _element(
        14,
        struct.pack("<IIII", 6, 8, kind, 0)
        + _element(5, struct.pack("<ii", 1, 1))
        + name
        + b"".join(elements),
    )


def _nested(depth):
    """A cell in a cell in a cell."""
    level = _matrix(kind=1)[8:]
    sizes = range(len(level), len(level) + depth * (8 + len(level)), 8 + len(level))
    return _head() + b"".join(struct.pack("<II", 14, size) + level for size in reversed(sizes))


def _bomb(megabytes):
    """A compressed variable of zeros."""
    packer, block = zlib.compressobj(), bytes(2**20)
    start = packer.compress(struct.pack("<II", 14, megabytes * 2**20 + 56) + _matrix()[8:])
    start += packer.compress(struct.pack("<II", 9, megabytes * 2**20)) + packer.flush(
        zlib.Z_FULL_FLUSH
    )
    zeros = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return _head() + _element(15, start + zeros * megabytes + packer.flush())
