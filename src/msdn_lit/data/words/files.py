"""Files of word vectors: GloVe and word2vec text, word2vec binary, NumPy archives; only the wanted words are kept.

Text and binary files are read as streams, so that their size (gigabytes) does not matter.
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
_BLOCK = 1 << 20  # bytes
_MOST_DIMENSIONS = 10_000  # more means that the file is no table of word vectors
_LONGEST = 1 << 20  # bytes of a word and its numbers
_LARGEST = 1e30  # number: sums of words are still float32
_BOMB_BYTES, _BOMB_RATIO = 1 << 26, 100  # arrays of numbers do not shrink so much


def is_word_file(path: Path) -> bool:
    """Whether this is a file of words and their vectors, judged by its ending or, for an archive, by its content."""
    if path.suffix != ".npz":
        return _ending(path) in _READERS
    try:
        with zipfile.ZipFile(path) as archive:
            return "words.npy" in archive.namelist()
    except READ_ERRORS:
        return False  # whoever reads it will say what is wrong


def read_words(path: Path, wanted: Collection[str]) -> dict[str, Vector]:
    """Reads the vectors of the wanted words; of a word that stands there twice, the first.

    Args:
        path: GloVe or word2vec text (.txt, .vec) or word2vec binary (.bin), each also with .gz; or a NumPy archive
            (.npz) of `words` and `vectors`.
        wanted: Words; case counts.

    Returns:
        Vectors of those that are there, (E,) each.

    Raises:
        DataError: The file is missing, damaged, or not of its format.
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
        action = "Download it again, or check that its ending says what it is."
        raise DataError(
            f"{path} cannot be read as word vectors ({one_line(error)})", action=action
        ) from error
    if not all((abs(vector_E) <= _LARGEST).all() for vector_E in found.values()):
        raise DataError(
            f"{path} holds NaN or infinity or a number beyond {_LARGEST:g}",
            action="Download it again.",
        )
    return found


def read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Reads an array of a NumPy archive.

    Raises:
        Any of READ_ERRORS: It is damaged, holds objects, or swells.
    """
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in an unusual way")
    if info.file_size > max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size):
        raise ValueError(f"{name} swells from {info.compress_size:,} to {info.file_size:,} bytes")
    with archive.open(info) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return array


def _words(path: Path, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    if path.suffix == ".npz":
        yield from _archive(path, wanted)
        return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from _READERS[_ending(path)](file, wanted)


def _text(file: Stream, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    """A word and its numbers a line; word2vec's first line is the number of words and of dimensions."""
    lines = _lines(file)
    first = next(lines, b"")
    has_header = len(first.split()) == 2
    E = _dimensions(first.split()[1] if has_header else len(first.split()) - 1)
    for number, line in enumerate(
        lines if has_header else chain([first], lines), start=1 + has_header
    ):
        if line.partition(b" ")[0] not in wanted:
            continue
        word, *values = line.split()
        if len(values) < E:
            raise ValueError(f"line {number} has {len(values)} numbers, not {E}")
        if len(values) == E:  # else a "word" with spaces in it, of which GloVe has a few
            yield word, np.array(values, dtype=np.float64)


def _lines(file: Stream) -> Iterator[bytes]:
    """Lines; in a file that has none, the first megabyte is enough to tell."""
    while line := file.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise ValueError("a line is longer than a word and its numbers can be")
        yield line


def _binary(file: Stream, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    """After a line with the number of words and of dimensions: a word, a space, float32 numbers, perhaps a newline."""
    count, E = file.readline(100).split()
    width = 4 * _dimensions(E)
    block, start = b"", 0
    for number in range(int(count)):
        while (space := block.find(b" ", start)) < 0 or space + 1 + width > len(block):
            more = file.read(_BLOCK)
            if not more or len(block) - start > _LONGEST:
                raise EOFError(f"it ends after {number} of {int(count)} words")
            block, start = block[start:] + more, 0
        word, start = block[start:space].lstrip(b"\n"), space + 1 + width
        if word in wanted:
            yield word, _as_double(np.frombuffer(block[space + 1 : start], dtype="<f4"))


def _archive(path: Path, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    with zipfile.ZipFile(path) as archive:
        words, vectors = read_member(archive, "words.npy"), read_member(archive, "vectors.npy")
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
    with np.errstate(invalid="ignore"):  # signalling NaNs are found with the others
        return vector_E.astype(np.float64)


def _ending(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _dimensions(text: bytes | int) -> int:
    E = int(text)
    if not 0 < E <= _MOST_DIMENSIONS:
        raise ValueError("it does not begin as a table of word vectors")
    return E


_READERS: dict[str, Reader] = {".txt": _text, ".vec": _text, ".bin": _binary}
