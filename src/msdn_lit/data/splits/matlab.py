"""Reader of MATLAB 5 files as far as the benchmarks use them: real arrays, and cells of texts.

SciPy's reader believes the types and lengths that it finds, so that a damaged file can end the process or take all
memory; here each is held to what is there. The layout is MathWorks' "MAT-File Format": a header of 128 bytes, then
elements of a type, a length and content. A variable is an element of elements, and may be compressed as a whole.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Value = NDArray[Any] | list[str]
_BYTE_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-{}", 16: "utf-8", 17: "utf-16-{}", 18: "utf-32-{}"}
_CELL, _CHAR = 1, 4  # classes of variables
_CLASSES = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}
_COMPLEX = 0x800
_MOST_AXES = 8
_HEAD_BYTES = 1024  # a variable's name lies within them
_MOST_BYTES = 2**26  # of a wanted variable; the largest of all benchmarks has 12 MB


def read_matlab(path: Path, names: Collection[str]) -> dict[str, Value]:
    """Reads those of the named variables that are there; of the others no more than their names.

    Returns:
        Real arrays as such, and cells of texts as lists.

    Raises:
        OSError: The file cannot be opened.
        ValueError, LookupError, struct.error, zlib.error: It is damaged, no MATLAB 5 file, or a variable is of another
            class.
    """
    with path.open("rb") as file:
        header = file.read(128)
        order = _BYTE_ORDERS.get(header[124:])
        if order is None:
            raise ValueError(f"it begins with {header[:20]!r}")
        return {name: _value(content, order) for name, content in _variables(file, order, names)}


def _variables(file: BinaryIO, order: str, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the wanted variables."""
    end = file.seek(0, 2)
    start = file.seek(128)
    while start < end:
        kind, size = struct.unpack(order + "II", file.read(8))
        start += 8 + size
        if kind not in (_MATRIX, _COMPRESSED) or start > end:
            raise ValueError(
                f"an element of type {kind} and {size} bytes is no variable that fits into the file"
            )
        content = file.read(min(size, _HEAD_BYTES))
        name = _name(_decompressed(content, _HEAD_BYTES) if kind == _COMPRESSED else content, order)
        if name in names:
            content += file.read(min(size, _MOST_BYTES) - len(content))
            yield name, _decompressed(content) if kind == _COMPRESSED else content
        file.seek(start)


def _decompressed(content: bytes, num_bytes: int = _MOST_BYTES) -> bytes:
    """What is in a compressed variable, or its first bytes."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(content, num_bytes)
    if num_bytes == _MOST_BYTES and not unpacker.eof:  # the checksum comes at the end
        raise ValueError("a compressed variable is cut off or too large")
    return data[8:]  # behind its type and length


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of one element after the other; up to four bytes may stand within the tag."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from(order + "II", data, start)
        begin, room = start + 8, len(data) - start - 8
        if kind >> 16:
            kind, size, begin, room = kind & 0xFFFF, kind >> 16, start + 4, 4
        if size > room:
            raise ValueError("an element is cut off")
        yield kind, data[begin : begin + size]
        start += 8 * math.ceil((begin - start + size) / 8)


def _name(variable: bytes, order: str) -> str:
    _, _, (_, name) = islice(_elements(variable, order), 3)
    return name.decode("latin-1")


def _value(variable: bytes, order: str) -> Value:
    kind, shape, elements = _opened(variable, order)
    if kind == _CELL:
        texts = [_text(cell, order) for _, cell in elements]
        if len(texts) == math.prod(shape):
            return texts
    elif kind in _CLASSES:
        ((stored, data),) = elements
        values = np.frombuffer(data, order + _NUMBERS[stored])
        return values.reshape(shape, order="F").astype(_CLASSES[kind])
    raise ValueError(
        f"a variable of class {kind} and shape {shape} is neither a real array nor cells of texts"
    )


def _text(variable: bytes, order: str) -> str:
    if not variable:  # how an empty cell is written
        return ""
    kind, shape, elements = _opened(variable, order)
    if kind != _CHAR or shape[0] > 1:
        raise ValueError("a cell holds no text")
    ((stored, data),) = elements
    return data.decode(_TEXTS[stored].format({"<": "le", ">": "be"}[order]))


def _opened(
    variable: bytes, order: str
) -> tuple[int, tuple[int, ...], Iterator[tuple[int, bytes]]]:
    """A variable's class, which is none that we know if its numbers are complex; its shape; and what follows."""
    elements = _elements(variable, order)
    (_, flags), (_, sizes), _ = islice(elements, 3)
    (bits,) = struct.unpack_from(order + "I", flags)
    shape = struct.unpack_from(f"{order}{min(len(sizes) // 4, _MOST_AXES)}i", sizes)
    return bits & (0xFF | _COMPLEX), shape, elements
