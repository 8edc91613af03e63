"""Readers of word-vector files: GloVe and word2vec text, word2vec binary, NumPy archives.

Only the requested words are kept. Text and binary files are read as streams, because they can have
several gigabytes.
"""

import gzip
import zipfile
from collections.abc import Callable, Collection, Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.errors import READ_ERRORS, DataError, one_line

Vector = NDArray[np.float64]
Stream = BufferedReader | gzip.GzipFile
Reader = Callable[[Stream, Collection[bytes]], Iterator[tuple[bytes, Vector]]]
_BLOCK_BYTES = 1 << 20
_MAX_DIMENSIONS = 10_000  # with more, the file is not a table of word vectors
_MAX_ENTRY_BYTES = 1 << 20  # a word and its numbers
_MAX_VALUE = 1e30  # sums of word vectors must fit float32
_BOMB_BYTES = 1 << 26
_BOMB_RATIO = 100  # arrays of numbers are never compressed so well


def is_word_file(path: Path) -> bool:
    """Returns True if a file holds words and vectors, by its suffix or, for .npz, its content."""
    if path.suffix != ".npz":
        return _suffix(path) in _READERS
    try:
        with zipfile.ZipFile(path) as archive:
            return "words.npy" in archive.namelist()
    except READ_ERRORS:
        return False  # the reader of tables reports the error


def read_words(path: Path, wanted: Collection[str]) -> dict[str, Vector]:
    """Reads the vectors of the requested words; the first vector if a word occurs twice.

    Args:
        path: GloVe or word2vec text (.txt, .vec) or word2vec binary (.bin), each also gzipped
            (.gz); or a NumPy archive (.npz) with the arrays `words` and `vectors`.
        wanted: Requested words, case-sensitive.

    Returns:
        Vectors of the words that the file contains, (E,) each.

    Raises:
        DataError: The file is missing, damaged, or not in the format of its suffix.
    """
    wanted_bytes = {word.encode() for word in wanted}
    found: dict[str, Vector] = {}
    try:
        for word, vector_E in _words(path, wanted_bytes):
            found.setdefault(word.decode(), vector_E)
            if len(found) == len(wanted_bytes):
                break
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action="Check data.semantics.word_vectors.") from None
    except READ_ERRORS as error:
        raise DataError(
            f"{path} cannot be read as word vectors ({one_line(error)})",
            action="Download it again, or check that its suffix matches its format.",
        ) from error
    if not all((abs(vector_E) <= _MAX_VALUE).all() for vector_E in found.values()):
        raise DataError(
            f"{path} contains NaN, infinity, or a value above {_MAX_VALUE:g}",
            action="Download it again.",
        )
    return found


def read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Reads one array of a NumPy archive.

    Raises:
        Exception: One of READ_ERRORS; the archive is damaged, contains Python objects, or is a
            decompression bomb.
    """
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} has an unsupported compression")
    if info.file_size > max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size):
        raise ValueError(f"{name} expands from {info.compress_size:,} to {info.file_size:,} bytes")
    with archive.open(info) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return array


def _words(path: Path, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    if path.suffix == ".npz":
        yield from _archive(path, wanted)
        return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from _READERS[_suffix(path)](file, wanted)


def _text(file: Stream, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    """Reads text: one word and its numbers per line.

    The first line of word2vec text gives the number of words and of dimensions.
    """
    lines = _lines(file)
    first = next(lines, b"")
    has_header = len(first.split()) == 2
    E = _dimensions(first.split()[1] if has_header else len(first.split()) - 1)
    entries = lines if has_header else chain([first], lines)
    for number, line in enumerate(entries, start=1 + has_header):
        if line.partition(b" ")[0] not in wanted:
            continue
        word, *values = line.split()
        if len(values) < E:
            raise ValueError(f"line {number} has {len(values)} numbers, not {E}")
        if len(values) == E:  # otherwise it is one of GloVe's few words that contain spaces
            yield word, np.array(values, dtype=np.float64)


def _lines(file: Stream) -> Iterator[bytes]:
    """Reads lines; of a binary file without line breaks it reads one megabyte only."""
    while line := file.readline(_MAX_ENTRY_BYTES):
        if len(line) == _MAX_ENTRY_BYTES:
            raise ValueError("a line is too long for a word and its numbers")
        yield line


def _binary(file: Stream, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    """Reads word2vec's binary format.

    The first line gives the number of words and of dimensions. An entry is a word, a space, float32
    numbers, and in some files a newline.
    """
    count, E = file.readline(100).split()
    width = 4 * _dimensions(E)
    block, start = b"", 0
    for number in range(int(count)):
        while (space := block.find(b" ", start)) < 0 or space + 1 + width > len(block):
            more = file.read(_BLOCK_BYTES)
            if not more or len(block) - start > _MAX_ENTRY_BYTES:
                raise EOFError(f"it ends after {number} of {int(count)} words")
            block, start = block[start:] + more, 0
        word, start = block[start:space].lstrip(b"\n"), space + 1 + width
        if word in wanted:
            yield word, _as_double(np.frombuffer(block[space + 1 : start], dtype="<f4"))


def _archive(path: Path, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    with zipfile.ZipFile(path) as archive:
        words = read_member(archive, "words.npy")
        vectors = read_member(archive, "vectors.npy")
    is_table = (
        words.ndim == 1
        and words.dtype.kind == "U"
        and vectors.ndim == 2
        and vectors.dtype.kind in "fiu"
    )
    if not is_table or len(words) != len(vectors):
        raise ValueError(
            f"words are {words.dtype} {words.shape}, vectors {vectors.dtype} {vectors.shape}"
        )
    for word, vector_E in zip(words, vectors, strict=True):
        if word.encode() in wanted:
            yield word.encode(), _as_double(vector_E)


def _as_double(vector_E: NDArray[Any]) -> Vector:
    with np.errstate(invalid="ignore"):  # a signalling NaN; `read_words` rejects every NaN
        return vector_E.astype(np.float64)


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _dimensions(text: bytes | int) -> int:
    E = int(text)
    if not 0 < E <= _MAX_DIMENSIONS:
        raise ValueError("it does not begin like a table of word vectors")
    return E


_READERS: dict[str, Reader] = {".txt": _text, ".vec": _text, ".bin": _binary}
