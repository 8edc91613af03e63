"""On which images the weights of a backbone were fine-tuned.

A weights file of `msdn finetune` states it, and so do the manifests of the stores that are
extracted with it. A backbone that was trained on an image must not be evaluated on it.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.features.store import Manifest
from msdn_lit.errors import READ_ERRORS, DataError, LeakError, one_line

FINE_TUNED = "fine_tuned"  # key of `Manifest.computation`: a list of `FineTuning.to_json`


@dataclass(frozen=True)
class FineTuning:
    """A training of a backbone.

    Attributes:
        benchmark: Name of the benchmark.
        train_split: "trainval" or "train".
        num_classes: Number of seen classes, the only ones whose images were used.
        seed: Seed of the training.
        steps: Training steps.
        start: Hash of the weights before it.
        weights: Hash of the weights after it.
        images_sha256: Hash of the list of image names, to which the rows refer.
        rows: Rows of the images, packed by `pack_rows`.
    """

    benchmark: str
    train_split: str
    num_classes: int
    seed: int
    steps: int
    start: str
    weights: str
    images_sha256: str
    rows: str

    def __str__(self) -> str:
        return (
            f"fine-tuned on {self.num_classes} seen classes of {self.benchmark} "
            f"({self.train_split}), seed {self.seed}, {self.steps:,} steps"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def fine_tunings(manifest: Manifest) -> list[FineTuning]:
    """Returns the fine-tunings of the backbone of a store, the first one first.

    Raises:
        DataError: The statement is damaged.
    """
    try:
        return [_checked(entry) for entry in manifest.computation.get(FINE_TUNED, ())]
    except READ_ERRORS as error:
        problem = f"What the features state of their fine-tuning is damaged ({one_line(error)})"
        raise DataError(problem, action="Remove the store and run msdn extract again.") from error


def trained_rows(manifest: Manifest, benchmark: str) -> NDArray[np.int64]:
    """Returns the rows of the store's images on which its backbone was fine-tuned.

    Args:
        manifest: Manifest of the store.
        benchmark: Name of its benchmark.

    Raises:
        LeakError: The backbone was fine-tuned on another list of images of a dataset of this name,
            so the rows are not known.
    """
    found = []
    for one in fine_tunings(manifest):
        if one.images_sha256 == manifest.images_sha256:
            found.append(unpack_rows(one.rows))
        elif one.benchmark == benchmark:
            problem = f"The backbone was fine-tuned on another list of images of {benchmark}"
            action = "Fine-tune again, or give other datasets another name (data.benchmark=NAME)."
            raise LeakError(problem, found=f"weights {one}", action=action)
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *found]))


def computation_in_words(manifest: Manifest) -> dict[str, Any]:
    """Returns the computation of a store as a record states it: fine-tunings as sentences."""
    stated = manifest.computation
    if FINE_TUNED not in stated:
        return stated
    return stated | {FINE_TUNED: [str(one) for one in fine_tunings(manifest)]}


def pack_rows(rows: NDArray[np.int64]) -> str:
    """Packs rows into a short text."""
    chosen = np.zeros(int(rows.max()) + 1, dtype=bool)
    chosen[rows] = True
    return base64.b64encode(zlib.compress(np.packbits(chosen).tobytes(), 9)).decode()


def unpack_rows(text: str) -> NDArray[np.int64]:
    """Returns the rows that `pack_rows` packed, ascending."""
    packed = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(packed)).astype(np.int64)


def _checked(entry: Mapping[str, Any]) -> FineTuning:
    made = FineTuning(**entry)
    unpack_rows(made.rows)
    return made
