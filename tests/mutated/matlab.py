"""MATLAB files: the Proposed Split and the names of SUN's attributes.

The files are compressed, as MATLAB writes them: a checksum then detects damage before SciPy parses
the content. SciPy's reader can crash the process on damaged files without compression.
"""

import io
import struct

import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

from msdn_lit.data.semantics import unit_class_attributes
from msdn_lit.data.splits.xlsa17 import read_attribute_names, read_proposed_split
from tests.miniature import C, K, cells, split_contents
from tests.mutated.format import Format, is_array, of_one_file


def mat(content):
    """Returns a compressed MATLAB file, without the time in its header."""
    file = io.BytesIO()
    savemat(file, content, do_compression=True)
    return b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:]


def described(split):
    """Returns the content of a split as plain arrays and texts, and its unit class attributes."""
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
    files = {file: mat(content) for file, content in split_contents().items()}
    cases = [(case, {"att_splits.mat": data}) for case, data in _hostile_splits()]
    yield Format("split", files, _read, is_split, cases)
    names = mat({"attributes": cells([f"attribute {k}" for k in range(K)])})
    values = {**_tables(), **_lists_of_texts()}.items()
    cases = [(case, mat({"attributes": value})) for case, value in values]
    yield of_one_file("attributes.mat", names, read_attribute_names, _are_texts, cases)


def _read(folder):
    return described(read_proposed_split(folder))


def _are_texts(value):
    return all(type(name) is str for name in value)


def _hostile_splits():
    """Split files whose arrays are of other kinds, and files of other versions."""
    content = split_contents()["att_splits.mat"]
    for key, values in (
        ("att", _tables()),
        ("trainval_loc", _lists_of_indices(content["trainval_loc"])),
        ("allclasses_names", _lists_of_texts()),
    ):
        for name, value in values.items():
            yield f"{key} {name}", mat(content | {key: value})
    yield "no train", mat(content | {"train_loc": np.zeros((0, 1))})
    att = content["att"]
    yield "version 4", struct.pack("<5i", 0, *att.shape, 0, 4) + b"att\0" + att.tobytes()
    yield "version 7.3", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400)


def _tables():
    att = split_contents()["att_splits.mat"]["att"]
    return {
        "complex": att * 1j,
        "struct": {"a": 1},
        "text": "text",
        "cells": cells(["a"] * C),
        "number": 1.0,
        "empty": np.zeros((0, C)),
        "cube": np.ones((2, K, C)),
        "sparse": csc_matrix(att),
        "infinite": att * np.inf,
        "beyond float32": att * 1e200,
        "beyond its root": att * 1e30,
        "integers": (att * 1e18).astype(np.int64),
    }


def _lists_of_indices(rows):
    return {
        "infinite": _with(rows * 1.0, np.inf),
        "huge": _with(rows * 1.0, 1e300),
        "complex": rows * 1j,
        "smallest": _with(rows.astype(np.int64), -(2**63)),
        "largest": _with(rows.astype(np.uint64), 2**64 - 1),
        "sparse": csc_matrix(rows * 1.0),
        "struct": {"a": rows},
        "cells": cells(["1"]),
        "boolean": rows > 0,
    }


def _lists_of_texts():
    return {
        "numbers": np.arange(C)[:, None],
        "sparse": csc_matrix(np.eye(C)),
        "struct": {"a": 1},
        "one text": "abc",
        "empty": cells([np.zeros((0, 0))] * C),
        "of cells": cells([cells(["a"])] * C),
        "of structs": cells([{"a": 1}] * C),
        "twice": cells(["a"] * C),
    }


def _with(rows, value):
    changed = rows.copy()
    changed[0] = value
    return changed
