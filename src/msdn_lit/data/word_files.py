"""Files of word vectors: GloVe and word2vec text, word2vec binary, NumPy archives; only the wanted words are kept.

Text and binary files are read as streams, so that their size (gigabytes) does not matter.
"""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msdn_lit.errors import DataError

Vector = NDArray[np.float64]
Stream = BufferedReader | gzip.GzipFile
Reader = Callable[[Stream, Collection[bytes]], Iterator[tuple[bytes, Vector]]]
UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile)
_BLOCK = 1 << 20  # bytes
_MOST_DIMENSIONS = 10_000  # more means that the file is no table of word vectors


def is_word_file(path: Path) -> bool:
    """Whether this is a file of words and their vectors, judged by its ending or, for an archive, by its content."""
    if path.suffix != ".npz":
        return _ending(path) in _READERS
    try:
        with zipfile.ZipFile(path) as archive:
            return "words.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
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
    except UNREADABLE as error:
        action = "Download it again, or check that its ending says what it is."
        raise DataError(f"{path} cannot be read as word vectors ({error})", action=action) from error
    if not all(np.isfinite(vector_E).all() for vector_E in found.values()):
        raise DataError(f"{path} holds NaN or infinity", action="Download it again.")
    return found


def _words(path: Path, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    if path.suffix == ".npz":
        yield from _archive(path, wanted)
        return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from _READERS[_ending(path)](file, wanted)


def _text(file: Stream, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    """A word and its numbers a line; word2vec's first line is the number of words and of dimensions."""
    first = file.readline()
    has_header = len(first.split()) == 2
    E = _dimensions(first.split()[1] if has_header else len(first.split()) - 1)
    for number, line in enumerate(file if has_header else chain([first], file), start=1 + has_header):
        if line.partition(b" ")[0] not in wanted:
            continue
        word, *values = line.split()
        if len(values) < E:
            raise ValueError(f"line {number} has {len(values)} numbers, not {E}")
        if len(values) == E:  # else a "word" with spaces in it, of which GloVe has a few
            yield word, np.array(values, dtype=np.float64)


def _binary(file: Stream, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    """After a line with the number of words and of dimensions: a word, a space, float32 numbers, perhaps a newline."""
    count, E = file.readline(100).split()
    width = 4 * _dimensions(E)
    block, start = b"", 0
    for number in range(int(count)):
        while (space := block.find(b" ", start)) < 0 or space + 1 + width > len(block):
            more = file.read(_BLOCK)
            if not more:
                raise EOFError(f"it ends after {number} of {int(count)} words")
            block, start = block[start:] + more, 0
        word, start = block[start:space].lstrip(b"\n"), space + 1 + width
        if word in wanted:
            yield word, np.frombuffer(block[space + 1 : start], dtype="<f4").astype(np.float64)


def _archive(path: Path, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Vector]]:
    with np.load(path, allow_pickle=False) as archive:
        words, vectors = archive["words"], archive["vectors"]
    if words.ndim != 1 or words.dtype.kind != "U" or vectors.ndim != 2 or len(words) != len(vectors):
        raise ValueError(f"words are {words.dtype} {words.shape}, vectors {vectors.dtype} {vectors.shape}")
    for word, vector_E in zip(words, vectors, strict=True):
        if word.encode() in wanted:
            yield word.encode(), vector_E.astype(np.float64)


def _ending(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _dimensions(text: bytes | int) -> int:
    E = int(text)
    if not 0 < E <= _MOST_DIMENSIONS:
        raise ValueError("it does not begin as a table of word vectors")
    return E


_READERS: dict[str, Reader] = {".txt": _text, ".vec": _text, ".bin": _binary}
