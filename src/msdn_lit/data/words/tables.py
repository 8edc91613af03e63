"""Tables of attribute word vectors: published pickles and NumPy files, read without running code.

Pickles are read with own stand-ins for NumPy's classes. An allow-list of NumPy's own classes is not
enough: NumPy trusts the state of a pickled dtype, and an object array whose dtype claims to hold
plain bytes makes it use these bytes as pointers ("dtype with false flags" in tests/mutated).
"""

import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.words.files import read_member
from msdn_lit.errors import READ_ERRORS, DataError, one_line


class _Dtype:
    """Stand-in for numpy.dtype in a pickle."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *flags: object) -> None:
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stand-in for numpy.ndarray in a pickle."""

    __slots__ = ("table",)

    def __init__(self, *arguments: object) -> None:
        self.table: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        self.table = np.frombuffer(data, kind.dtype).reshape(
            shape, order="F" if is_fortran else "C"
        )


def _from_buffer(data: bytes, kind: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", data))
    return array


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")  # representation of bytes in the oldest protocols


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in ("numpy.core", "numpy._core")},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that resolves the names of a NumPy array to stand-ins and rejects all others."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed")
        return _STAND_INS[module, name]


def read_word_vectors(path: Path, num_attributes: int) -> NDArray[np.float32]:
    """Reads a table of attribute word vectors.

    Args:
        path: Published pickle (DAZLE, TransZero: float64), e.g. DATA_DIR/w2v/CUB_attribute.pkl; or
            .npy; or .npz with one array.
        num_attributes: Expected number of attributes K.

    Returns:
        Vectors as in the file, float32, (K, E). A row may be all zeros (SUN's "man-made").

    Raises:
        DataError: The file is missing, damaged, contains anything but an array, or has another K.
    """
    try:
        table = _load(path)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing",
            action="Take it from the w2v folder of the DAZLE or TransZero repository, or learn the "
            "vectors from scratch with data.semantics.word_vectors=null.",
        ) from None
    except READ_ERRORS as error:
        kind = "NumPy" if path.suffix in (".npy", ".npz") else "pickled"
        problem = f"{path} cannot be read as a {kind} array ({one_line(error)})"
        raise DataError(problem, action="Download it again.") from error
    if not _is_table(table) or len(table) != num_attributes:
        is_array = isinstance(table, np.ndarray)
        raise DataError(
            f"{path} does not fit the attributes",
            expected=f"a float table of {num_attributes} rows",
            found=f"{table.dtype} {table.shape}" if is_array else type(table).__name__,
        )
    with np.errstate(over="ignore", invalid="ignore"):
        vectors_KE: NDArray[np.float32] = table.astype(np.float32)
    if not np.isfinite(vectors_KE).all():
        raise DataError(
            f"{path} contains NaN, infinity, or a value beyond float32",
            action="Download it again.",
        )
    return vectors_KE


def _is_table(content: object) -> bool:
    return (
        isinstance(content, np.ndarray)
        and content.ndim == 2
        and content.dtype.kind == "f"
        and content.shape[1] > 0
    )


def _load(path: Path) -> Any:  # noqa: ANN401 - any object that a file may contain
    """Reads the only object of a file."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            (name,) = archive.namelist()
            return read_member(archive, name)
    with path.open("rb") as file:
        if path.suffix == ".npy":
            return np.lib.format.read_array(file, allow_pickle=False)
        _check_memo(file)
        file.seek(0)
        content = _ArrayUnpickler(file).load()
        return content.table if isinstance(content, _Array) else content


def _check_memo(file: BinaryIO) -> None:
    """Raises ValueError at a memo index above the file size.

    Python allocates a memo as long as its largest index: gigabytes for a few damaged bytes ("high
    memo as text" in tests/mutated).
    """
    size = file.seek(0, 2)
    file.seek(0)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name.endswith("PUT") and int(argument or 0) > size:
            raise ValueError(f"it has the memo index {argument} in {size} bytes")
