"""Tables of attribute word vectors: the published pickles and NumPy files, read without running what they contain."""

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
    """Stands for numpy.dtype in a pickle."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *flags: object) -> None:
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for numpy.ndarray in a pickle: NumPy's own functions believe what they are told of an array's memory."""

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
    return text.encode("latin-1")  # how bytes are written in the oldest protocols


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in ("numpy.core", "numpy._core")},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that knows the names a NumPy array needs, as what stands for them here, and refuses every other one."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(
                f"it refers to {module}.{name}, which a table of numbers never does"
            )
        return _STAND_INS[module, name]


def read_word_vectors(path: Path, num_attributes: int) -> NDArray[np.float32]:
    """Reads a finished table of attribute word vectors.

    Args:
        path: A published pickle (DAZLE, TransZero: float64), e.g. DATA_DIR/w2v/CUB_attribute.pkl; or .npy; or an .npz
            of one array.
        num_attributes: K, to check the table against.

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
            action="Take it from the w2v folder of the DAZLE or TransZero repository, or learn the vectors from "
            "scratch with data.semantics.word_vectors=null.",
        ) from None
    except READ_ERRORS as error:
        kind = "NumPy" if path.suffix in (".npy", ".npz") else "pickled"
        problem = f"{path} cannot be read as a {kind} array ({one_line(error)})"
        raise DataError(problem, action="Download it again.") from error
    valid = (
        isinstance(table, np.ndarray)
        and table.ndim == 2
        and table.dtype.kind == "f"
        and table.shape[1] > 0
    )
    found = (
        f"{table.dtype} {table.shape}" if isinstance(table, np.ndarray) else type(table).__name__
    )
    if not valid or table.shape[0] != num_attributes:
        expected = f"a float table of {num_attributes} rows"
        raise DataError(f"{path} does not fit the attributes", expected=expected, found=found)
    with np.errstate(over="ignore", invalid="ignore"):
        vectors_KE: NDArray[np.float32] = table.astype(np.float32)
    if not np.isfinite(vectors_KE).all():
        raise DataError(
            f"{path} holds NaN, infinity or a number beyond float32", action="Download it again."
        )
    return vectors_KE


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The one object in a file."""
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
    """Raises ValueError at a number under which an object is kept, if Python would take gigabytes to count so far."""
    size = file.seek(0, 2)
    file.seek(0)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name.endswith("PUT") and int(argument or 0) > size:
            raise ValueError(f"it keeps object {argument} of at most {size}")
