"""Reader of the Proposed Split (xlsa17): the only file that knows its keys and 1-based indices."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from msdn_lit.errors import READ_ERRORS, DataError, one_line, some

IntArray = NDArray[np.int64]
SOURCE = (
    "Take xlsa17.zip from datasets.d2.mpi-inf.mpg.de/xian, unpack it into the data folder and "
    "run the command again; paths.data_dir=... (make: DATA_DIR=...) chooses another folder."
)
SPLIT_FILES = ("att_splits.mat", "res101.mat")
TEST_SPLITS = ("test_seen", "test_unseen")
# Values of ProposedSplit.train_val; run records contain them.
LEAKING = "of the split file, less its test_seen images"
CLEAN = "of the split file"
ABSENT = "none"
_CUT = "of the split file, cut to trainval"
_MAX_ATTRIBUTE = 1e9  # its square must fit float32
_MAX_WHOLE = 2**53  # beyond it, a double does not hold every whole number


@dataclass(frozen=True)
class ProposedSplit:
    """Classes, images and splits of one benchmark; every index is 0-based.

    Attributes:
        folder: Folder of the split files.
        class_names: C names, in the order of the labels.
        class_attributes_CK: Class semantic vectors as in the file, float32, (C, K).
        image_files: N image paths as in the file.
        labels_N: Class of each image, (N,).
        indices: Rows of the image list that belong to each split, by split name: trainval,
            test_seen and test_unseen, and train and val if the file has them. The official train
            and val leak test_seen images; here both are intersected with trainval.
        train_val: Origin of train and val: the split file, or how they were chosen.
        variant: Variant of a published benchmark's files; "own" if nothing is published.
    """

    folder: Path
    class_names: tuple[str, ...]
    class_attributes_CK: NDArray[np.float32]
    image_files: tuple[str, ...]
    labels_N: IntArray
    indices: Mapping[str, IntArray]
    train_val: str = ABSENT
    variant: str = "own"

    def classes_of(self, *names: str) -> IntArray:
        """Returns the ids of the classes that occur in the named splits, ascending."""
        return np.unique(np.concatenate([self.labels_N[self.indices[name]] for name in names]))

    def fingerprint(self) -> str:
        """Hashes names, attributes, labels and sorted splits; equal for equal benchmarks."""
        digest = sha256("\n".join((*self.class_names, *self.image_files)).encode())
        digest.update(self.class_attributes_CK.tobytes() + self.labels_N.tobytes())
        for name in sorted(self.indices):
            digest.update(name.encode() + np.sort(self.indices[name]).tobytes())
        return digest.hexdigest()


def read_proposed_split(folder: Path) -> ProposedSplit:
    """Reads att_splits.mat and res101.mat of one benchmark.

    Args:
        folder: Folder of the two files, e.g. DATA_DIR/xlsa17/data/CUB. The pooled features in
            res101.mat are not read.

    Raises:
        DataError: A file is missing, damaged or lacks a key, or the two files do not fit together.
    """
    splits_path, images_path = folder / "att_splits.mat", folder / "res101.mat"
    splits = _load(
        splits_path, ["att", "allclasses_names", "trainval_loc", "test_seen_loc", "test_unseen_loc"]
    )
    images = _load(images_path, ["image_files", "labels"])
    indices = {
        name: _zero_based(splits_path, splits, f"{name}_loc") for name in ("trainval", *TEST_SPLITS)
    }
    has_both = {"train_loc", "val_loc"} <= splits.keys()
    train_val = {
        name: _zero_based(splits_path, splits, f"{name}_loc")
        for name in ("train", "val")
        if has_both
    }
    without_leak = {
        name: np.intersect1d(rows, indices["trainval"]) for name, rows in train_val.items()
    }
    split = ProposedSplit(
        folder=folder,
        class_names=_texts(splits_path, splits, "allclasses_names"),
        class_attributes_CK=_attributes(splits_path, splits["att"]),
        image_files=_texts(images_path, images, "image_files"),
        labels_N=_zero_based(images_path, images, "labels"),
        indices=indices | without_leak,
        train_val=_origin(train_val, indices),
    )
    _check_sizes(split)
    _check_splits(split)
    return split


def read_attribute_names(path: Path) -> tuple[str, ...]:
    """Reads SUNAttributeDB/attributes.mat: the names of SUN's 102 attributes, in order.

    Raises:
        DataError: The file is missing, damaged or lacks the names.
    """
    source = "Take SUNAttributeDB.tar.gz from cs.brown.edu/~gmpatter."
    return _texts(path, _load(path, ["attributes"], source), "attributes", source)


def _load(path: Path, keys: Sequence[str], source: str = SOURCE) -> dict[str, Any]:
    """Reads a .mat file that must have the given keys; the large `features` array is skipped."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.filterwarnings("error", message="Unreadable variable")
            content: dict[str, Any] = loadmat(file, variable_names=[*keys, "train_loc", "val_loc"])
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action=source) from None
    except (*READ_ERRORS, MatReadError, Warning) as error:
        problem = f"{path} cannot be read ({one_line(error)})"
        raise DataError(problem, expected="a MATLAB 5 file", action=source) from error
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}",
            expected=list(keys),
            found=some(sorted(key for key in content if not key.startswith("__"))),
            action=source,
        )
    return content


def _origin(train_val: Mapping[str, IntArray], indices: Mapping[str, IntArray]) -> str:
    """Returns the value of ProposedSplit.train_val for train and val of a file."""
    if not train_val:
        return ABSENT
    outside = np.setdiff1d(np.concatenate(list(train_val.values())), indices["trainval"])
    if not len(outside):
        return CLEAN
    return LEAKING if np.array_equal(outside, np.sort(indices["test_seen"])) else _CUT


def _zero_based(path: Path, content: Mapping[str, Any], key: str) -> IntArray:
    values = np.asarray(content[key])
    is_number = values.dtype.kind in "iuf" and values.size > 0
    in_range = is_number and bool(((values > -_MAX_WHOLE) & (values < _MAX_WHOLE)).all())
    if not in_range or not (np.floor(values) == values).all():
        raise DataError(
            f"{path}: {key} is not a list of indices",
            expected="whole numbers from 1",
            found=f"{values.dtype} of shape {values.shape}",
            action=SOURCE,
        )
    return values.astype(np.int64).ravel() - 1


def _attributes(path: Path, content: object) -> NDArray[np.float32]:
    values = np.asarray(content)
    if values.dtype.kind not in "iuf" or values.ndim != 2 or not values.size:
        raise DataError(
            f"{path}: att is not a table of numbers",
            expected="(attributes, classes)",
            found=f"{values.dtype} of shape {values.shape}",
            action=SOURCE,
        )
    if not (abs(values) <= _MAX_ATTRIBUTE).all():
        raise DataError(
            f"{path}: att contains NaN, infinity, or a value above {_MAX_ATTRIBUTE:g}",
            action=SOURCE,
        )
    return np.ascontiguousarray(values.T, dtype=np.float32)


def _texts(
    path: Path, content: Mapping[str, Any], key: str, source: str = SOURCE
) -> tuple[str, ...]:
    """Returns the texts of a cell array."""
    cells = np.ravel(content[key], order="F")
    if cells.dtype.kind != "O" or not all(map(_is_text, cells)):
        raise DataError(
            f"{path}: {key} is not a list of texts",
            expected="a cell array of texts",
            found=f"{cells.dtype} of shape {cells.shape}",
            action=source,
        )
    return tuple("".join(cell.flat) for cell in cells)


def _is_text(cell: object) -> bool:
    """Returns True if a cell holds one text; SciPy reads an empty text as an empty array."""
    return isinstance(cell, np.ndarray) and cell.dtype.kind == "U" and cell.size <= 1


def _check_sizes(split: ProposedSplit) -> None:
    attributes, images = split.folder / "att_splits.mat", split.folder / "res101.mat"
    C, N = len(split.class_names), len(split.image_files)
    found_C = split.class_attributes_CK.shape[0]
    if found_C != C:
        raise DataError(
            f"{attributes}: att and allclasses_names disagree",
            expected=f"{C} classes",
            found=found_C,
        )
    if len(split.labels_N) != N:
        raise DataError(
            f"{images}: labels and image_files disagree",
            expected=f"{N} labels",
            found=len(split.labels_N),
        )
    if split.labels_N.min() < 0 or split.labels_N.max() >= C:
        raise DataError(
            f"{images}: labels outside the classes of att_splits.mat",
            expected=f"1 to {C}",
            found=f"{split.labels_N.min() + 1} to {split.labels_N.max() + 1}",
        )


def _check_splits(split: ProposedSplit) -> None:
    path, N = split.folder / "att_splits.mat", len(split.labels_N)
    for name, rows in split.indices.items():
        if len(rows) and (rows.min() < 0 or rows.max() >= N):
            raise DataError(
                f"{path}: {name}_loc leaves the image list",
                expected=f"1 to {N}",
                found=f"{rows.min() + 1} to {rows.max() + 1}",
                action=SOURCE,
            )
    for first, second in (("trainval", "test_seen"), ("trainval", "test_unseen"), TEST_SPLITS):
        shared = np.intersect1d(split.indices[first], split.indices[second])
        if len(shared):
            raise DataError(
                f"{path}: {first}_loc and {second}_loc overlap",
                expected="no common image",
                found=f"{len(shared)}",
                action=SOURCE,
            )
    leaked = np.intersect1d(
        split.classes_of("trainval", "test_seen"), split.classes_of("test_unseen")
    )
    if len(leaked):
        names = some(split.class_names[c] for c in leaked)
        raise DataError(
            f"{path}: classes both seen and unseen",
            expected="none",
            found=f"{len(leaked)} ({names})",
            action=SOURCE,
        )
