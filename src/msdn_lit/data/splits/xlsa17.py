"""Reader of the Proposed Split (xlsa17): the only file that knows its keys and 1-based indices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.splits.matlab import Value, read_matlab
from msdn_lit.errors import READ_ERRORS, DataError, one_line

IntArray = NDArray[np.int64]
SOURCE = (
    "Take xlsa17.zip from datasets.d2.mpi-inf.mpg.de/xian, unpack it into the data folder and repeat the command; "
    "paths.data_dir=... (make: DATA_DIR=...) names another folder."
)
TEST_SPLITS = ("test_seen", "test_unseen")
# What ProposedSplit.train_val says of a file's train and val.
LEAKING, CLEAN, ABSENT = "of the split file, less its test_seen images", "of the split file", "none"
_CUT = "of the split file, cut to trainval"
_LARGEST = 1e9  # attribute: its square is still a float32
_LAST_WHOLE = 2**53  # number that a double holds exactly


@dataclass(frozen=True)
class ProposedSplit:
    """One benchmark's classes, images and splits, every index 0-based.

    Attributes:
        folder: Where it was read.
        class_names: C names, in the order of the labels.
        class_attributes_CK: Class semantic vectors as in the file, float32, (C, K).
        image_files: N image paths as in the file.
        labels_N: Class of each image, (N,).
        indices: Image indices of trainval, test_seen and test_unseen and, where the file has them, of train and val.
            The official train and val leak test_seen images; here both are intersected with trainval.
        train_val: Where train and val come from: the split file, or how they were drawn.
        variant: Which variant of a published benchmark's files this is; "own" where there is nothing published.
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
        """The classes that occur in the named splits, ascending."""
        return np.unique(np.concatenate([self.labels_N[self.indices[name]] for name in names]))

    def fingerprint(self) -> str:
        """Hash of names, attributes, labels and sorted splits: equal for files that define the same benchmark."""
        digest = sha256("\n".join((*self.class_names, *self.image_files)).encode())
        digest.update(self.class_attributes_CK.tobytes() + self.labels_N.tobytes())
        for name in sorted(self.indices):
            digest.update(name.encode() + np.sort(self.indices[name]).tobytes())
        return digest.hexdigest()


def read_proposed_split(folder: Path) -> ProposedSplit:
    """Reads att_splits.mat and res101.mat of one benchmark.

    Args:
        folder: Holds the two files, e.g. DATA_DIR/xlsa17/data/CUB. The pooled features in res101.mat are not read.

    Raises:
        DataError: A file is missing, damaged or lacks a key, or the two do not fit together.
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
    split = ProposedSplit(
        folder=folder,
        class_names=_texts(splits_path, splits, "allclasses_names"),
        class_attributes_CK=_attributes(splits_path, splits["att"]),
        image_files=_texts(images_path, images, "image_files"),
        labels_N=_zero_based(images_path, images, "labels"),
        indices=indices
        | {name: np.intersect1d(rows, indices["trainval"]) for name, rows in train_val.items()},
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


def _load(path: Path, keys: Sequence[str], source: str = SOURCE) -> dict[str, Value]:
    """Reads a .mat file that must hold the given keys; the big `features` array is skipped."""
    optional = ["train_loc", "val_loc"]
    try:
        content = read_matlab(path, [*keys, *optional])
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action=source) from None
    except READ_ERRORS as error:
        problem = f"{path} cannot be read ({one_line(error)})"
        raise DataError(problem, expected="a MATLAB 5 file", action=source) from error
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}",
            expected=list(keys),
            found=sorted(content),
            action=source,
        )
    return content


def _origin(train_val: Mapping[str, IntArray], indices: Mapping[str, IntArray]) -> str:
    """Says how a file's train and val lie in its other splits."""
    if not train_val:
        return ABSENT
    outside = np.setdiff1d(np.concatenate(list(train_val.values())), indices["trainval"])
    if not len(outside):
        return CLEAN
    return LEAKING if np.array_equal(outside, np.sort(indices["test_seen"])) else _CUT


def _zero_based(path: Path, content: Mapping[str, Value], key: str) -> IntArray:
    values = np.asarray(content[key])
    is_number = values.dtype.kind in "iuf" and values.size > 0
    in_range = is_number and bool(((values > -_LAST_WHOLE) & (values < _LAST_WHOLE)).all())
    if not in_range or not (np.floor(values) == values).all():
        expected, found = "whole numbers from 1", f"{values.dtype} of shape {values.shape}"
        raise DataError(
            f"{path}: {key} is not a list of indices", expected=expected, found=found, action=SOURCE
        )
    return values.astype(np.int64).ravel() - 1


def _attributes(path: Path, values: Value) -> NDArray[np.float32]:
    if isinstance(values, list) or values.ndim != 2 or not values.size:
        raise DataError(
            f"{path}: att is no table of numbers", expected="(attributes, classes)", action=SOURCE
        )
    if not (abs(values) <= _LARGEST).all():
        raise DataError(
            f"{path}: att holds NaN or infinity or a number beyond {_LARGEST:g}", action=SOURCE
        )
    return np.ascontiguousarray(values.T, dtype=np.float32)


def _texts(
    path: Path, content: Mapping[str, Value], key: str, source: str = SOURCE
) -> tuple[str, ...]:
    texts = content[key]
    if not isinstance(texts, list):
        raise DataError(
            f"{path}: {key} is no list of texts",
            found=f"{texts.dtype} {texts.shape}",
            action=source,
        )
    return tuple(texts)


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
        bounds = f"{split.labels_N.min() + 1} to {split.labels_N.max() + 1}"
        raise DataError(
            f"{images}: labels outside the classes of att_splits.mat",
            expected=f"1 to {C}",
            found=bounds,
        )


def _check_splits(split: ProposedSplit) -> None:
    path, N = split.folder / "att_splits.mat", len(split.labels_N)
    for name, rows in split.indices.items():
        if len(rows) and (rows.min() < 0 or rows.max() >= N):
            found = f"{rows.min() + 1} to {rows.max() + 1}"
            raise DataError(
                f"{path}: {name}_loc leaves the image list",
                expected=f"1 to {N}",
                found=found,
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
        names = ", ".join(split.class_names[c] for c in leaked[:5])
        raise DataError(
            f"{path}: classes both seen and unseen",
            expected="none",
            found=f"{len(leaked)} ({names})",
            action=SOURCE,
        )
