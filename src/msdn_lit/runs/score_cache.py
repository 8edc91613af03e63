"""The score cache: every logit of one evaluation, from which all scores can be computed again.

Letters: O outputs of the net (its sub-nets), N images of the evaluated splits, C classes.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.errors import READ_ERRORS, CheckpointError, ConfigError, one_line
from msdn_lit.files import make_folder, open_atomically, write_atomically
from msdn_lit.metrics.arrays import EvaluationScores, Floats, fuse_logits, zsl_scores
from msdn_lit.metrics.curve import SeenUnseenCurve, curve_of_thresholds, image_thresholds
from msdn_lit.runs.layout import CLASS_NAMES

_OLD_NAMES = {"logits_ONC": "logits_SNC"}  # of version 0.1
_INDICES = ("iu", 1, np.int64)
# Kinds of types that are accepted, number of axes, and type in memory, by field.
_FORMS: Mapping[str, tuple[str, int, Any]] = {
    "logits_ONC": ("f", 3, np.float32),
    "labels_N": _INDICES,
    "rows_N": _INDICES,
    "seen": _INDICES,
    "unseen": _INDICES,
    "subnets": ("U", 1, None),
    "fusion": ("iuf", 1, np.float64),
    "calibration": ("iuf", 0, np.float64),
    "stage": ("U", 0, None),
    "step": ("iu", 0, np.int64),
    "partial": ("U", 0, None),
}
_OPTIONAL = {"partial"}  # older files lack it


@dataclass(frozen=True)
class ScoreCache:
    """One evaluation of one checkpoint.

    Attributes:
        logits_ONC: Logits of each sub-net without margin, float32, (O, N, C).
        labels_N: Class ids, (N,).
        rows_N: The images, as rows of the feature store, ascending, (N,).
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.
        subnets: Names of the sub-nets, (O,).
        fusion: Weight of each sub-net in the run's prediction, (O,).
        calibration: Calibration of the run's prediction.
        stage: "test" or "val", after the splits that were evaluated.
        step: Training steps of the checkpoint.
        partial: Number of evaluated images, as a text, if not all; "" for all. Older files lack it.
    """

    logits_ONC: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    rows_N: NDArray[np.int64]
    seen: NDArray[np.int64]
    unseen: NDArray[np.int64]
    subnets: tuple[str, ...]
    fusion: tuple[float, ...]
    calibration: float
    stage: str
    step: int
    partial: str = ""

    def save(self, path: Path) -> None:
        """Writes the cache; it gets its name only when it is complete."""
        make_folder(path.parent)
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in asdict(self).items()}
        with open_atomically(path) as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "ScoreCache":
        """Reads a cache.

        Raises:
            CheckpointError: The file is missing or damaged, or its parts do not fit together.
        """
        action = "Write a new one: msdn evaluate RUN"
        try:
            cache = cls(**_read(path))
        except READ_ERRORS as error:
            problem = f"{path} cannot be read as scores ({one_line(error)})"
            raise CheckpointError(problem, action=action) from error
        fault = next((reason for is_fault, reason in cache._faults() if is_fault), None)
        if fault:
            raise CheckpointError(f"{path} cannot be used as scores ({fault})", action=action)
        return cache

    def _faults(self) -> Iterator[tuple[bool, str]]:
        """Yields whether something makes scores impossible, and what; each may rely on the last."""
        number, N, C = self.logits_ONC.shape
        classes = np.concatenate([self.seen, self.unseen])
        rows_N, fusion = self.rows_N, np.asarray(self.fusion)
        yield not number * N * C, f"{N} images, {C} classes, {number} sub-nets"
        yield not np.isfinite(self.logits_ONC).all(), "NaN or infinity among the logits"
        yield not len(self.seen) or not len(self.unseen), "no seen or no unseen class"
        yield len(np.unique(classes)) < len(classes), "a class is repeated"
        yield not _are_below(C, classes), f"a class is not from 0 to {C - 1}"
        yield len(self.labels_N) != N, f"{len(self.labels_N)} labels of {N} images"
        yield not np.isin(self.labels_N, classes).all(), "a label is none of the classes"
        yield len(rows_N) != N or rows_N[0] < 0, f"{N} images need as many rows of the store"
        yield bool((np.diff(rows_N) <= 0).any()), "the images are not in the order of the store"
        yield len(self.subnets) != number, f"{len(self.subnets)} names of {number} sub-nets"
        yield len(set(self.subnets)) != number, "a sub-net is repeated"
        yield len(fusion) != number, f"{len(fusion)} weights of {number} sub-nets"
        yield not np.isfinite(fusion).all() or fusion.sum() <= 0, "the weights have no positive sum"
        yield not np.isfinite(self.calibration), "the calibration is no number"
        yield self.stage not in ("test", "val"), "it is of no known stage"
        yield self.step < 0, f"it is of step {self.step}"

    def fused(
        self, fusion: Sequence[float] | None = None, calibration: float = 0.0
    ) -> NDArray[np.float32]:
        """Returns the fused logits, (N, C).

        Args:
            fusion: Weight of each output; default: those of the run.
            calibration: Number that is added to the logits of unseen classes and subtracted from
                those of seen classes.
        """
        weights = self.fusion if fusion is None else fusion
        return fuse_logits(list(self.logits_ONC), weights, self.unseen, calibration)

    def scores(
        self, fusion: Sequence[float] | None = None, calibration: float | None = None
    ) -> EvaluationScores:
        """Returns T1, U, S and H, by default with the fusion and calibration of the run."""
        calibration = self.calibration if calibration is None else calibration
        return zsl_scores(self.fused(fusion, calibration), self.labels_N, self.seen, self.unseen)

    def curve(self, fusion: Sequence[float] | None = None) -> SeenUnseenCurve:
        """The exact seen-unseen curve; fusion weights are taken relative to their sum."""
        return curve_of_thresholds(*self.thresholds(fusion), self.labels_N, self.seen, self.unseen)

    def thresholds(self, fusion: Sequence[float] | None = None) -> tuple[Floats, NDArray[np.bool_]]:
        """Returns what a curve needs of each image, as `image_thresholds` does."""
        weights = np.asarray(self.fusion if fusion is None else fusion, dtype=np.float64)
        logits_NC = self.fused((weights / weights.sum()).tolist())
        return image_thresholds(logits_NC, self.labels_N, self.seen, self.unseen)


def _read(path: Path) -> dict[str, Any]:
    """Reads the fields of a cache.

    Raises:
        One of READ_ERRORS: The file is damaged, or an array has another type or number of axes.
    """
    if not path.is_file():
        raise OSError("there is no such file")
    values: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        present = {name.removesuffix(".npy") for name in archive.namelist()}
        for name, (kinds, ndim, dtype) in _FORMS.items():
            if name in _OPTIONAL - present:
                continue
            array = _member(archive, name if name in present else _OLD_NAMES.get(name, name))
            if array.dtype.kind not in kinds or array.ndim != ndim:
                raise ValueError(f"{name} is an array of {array.dtype} with {array.ndim} axes")
            with np.errstate(over="ignore"):  # becomes infinite, which is refused
                values[name] = array.astype(dtype) if dtype else array
    values |= {name: tuple(values[name].tolist()) for name in ("subnets", "fusion")}
    scalars = {name for name, (_, ndim, _) in _FORMS.items() if ndim == 0} & values.keys()
    return values | {name: values[name].item() for name in scalars}


def _member(archive: zipfile.ZipFile, field: str) -> NDArray[Any]:
    """Reads an array of np.savez. No more memory is used than the file has bytes.

    NumPy's reader would allocate whatever size the header states.
    """
    info = archive.getinfo(f"{field}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{field} is compressed, which np.savez never does")
    with archive.open(info) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{field} is of another version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        content = file.read()
    if dtype.hasobject or len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{field} does not have the size that it states")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _are_below(C: int, classes: NDArray[np.int64]) -> bool:
    return bool(((classes >= 0) & (classes < C)).all())


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Writes the names of all C classes beside the caches, one a line, by class id."""
    make_folder(folder)
    lines = [f"{' '.join(name.split())}\n" for name in names]
    write_atomically(folder / CLASS_NAMES, "".join(lines))


def read_class_names(path: Path) -> list[str]:
    """Reads a file of `write_class_names`, or a user's file of the same form.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error
