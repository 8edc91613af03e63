"""Tables of attribute word vectors: the published pickles and NumPy files, read without running what they contain."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.word_files import UNREADABLE
from msdn_lit.errors import DataError

_ALLOWED = {
    (module, name)
    for core in ("numpy.core", "numpy._core")
    for module, name in (
        (f"{core}.multiarray", "_reconstruct"),
        (f"{core}.multiarray", "scalar"),
        (f"{core}.numeric", "_frombuffer"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    )
} | {("_codecs", "encode")}
_UNREADABLE = (*UNREADABLE, AttributeError, IndexError, ImportError, pickle.UnpicklingError)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that knows the names a NumPy array needs and refuses every other one."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which a table of numbers never does")
        return super().find_class(module, name)


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
    except _UNREADABLE as error:
        kind = "NumPy" if path.suffix in (".npy", ".npz") else "pickled"
        raise DataError(f"{path} cannot be read as a {kind} array ({error})", action="Download it again.") from error
    valid = isinstance(table, np.ndarray) and table.ndim == 2 and table.dtype.kind == "f" and table.shape[1] > 0
    found = f"{table.dtype} {table.shape}" if isinstance(table, np.ndarray) else type(table).__name__
    if not valid or table.shape[0] != num_attributes:
        expected = f"a float table of {num_attributes} rows"
        raise DataError(f"{path} does not fit the attributes", expected=expected, found=found)
    if not np.isfinite(table).all():
        raise DataError(f"{path} holds NaN or infinity", action="Download it again.")
    vectors_KE: NDArray[np.float32] = table.astype(np.float32)
    return vectors_KE


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The one object in a file."""
    if path.suffix == ".npy":
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            (name,) = archive.files
            return archive[name]
    return _ArrayUnpickler(io.BytesIO(path.read_bytes())).load()
