"""Variants of a benchmark's split files, and train and val for files that lack them.

Several editions of the Proposed Split circulate: the official one, whose train and val leak
test_seen images; an older one without train and val; corrected ones. Results on any other files are
not comparable with published results.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from msdn_lit.data.splits.holdout import split_classes
from msdn_lit.data.splits.xlsa17 import ABSENT, CLEAN, LEAKING, IntArray, ProposedSplit

VARIANTS = {LEAKING: "official", ABSENT: "official without train and val", CLEAN: "corrected"}


@dataclass(frozen=True)
class SplitFingerprints:
    """Hashes of a benchmark's official files; independent of the order within a split.

    Attributes:
        splits: Hash of class names and of the members of trainval, test_seen and test_unseen.
        train_val: Hash of the members of train and val, without the leak.
        images: Hash of relative image paths and labels; None if the official list is unknown.
    """

    splits: str
    train_val: str
    images: str | None


def fingerprints(split: ProposedSplit, relative_paths: Sequence[str]) -> SplitFingerprints:
    """Computes the hashes of a split.

    Args:
        split: Split as read.
        relative_paths: Paths of the N images below their image folder.
    """
    return SplitFingerprints(
        splits=_hash(split.class_names, *_sorted(split, "trainval", "test_seen", "test_unseen")),
        train_val=_hash((), *_sorted(split, "train", "val")),
        images=_hash(relative_paths, split.labels_N),
    )


def find_differences(
    split: ProposedSplit, relative_paths: Sequence[str], official: SplitFingerprints
) -> list[str]:
    """Describes how a split differs from all known variants; empty for a known variant."""
    found = fingerprints(split, relative_paths)
    differences = []
    if found.splits != official.splits:
        differences.append(
            "other classes or other images in trainval, test_seen or test_unseen (att_splits.mat)"
        )
    is_known_origin = split.train_val in VARIANTS
    if split.train_val != ABSENT and not (
        is_known_origin and found.train_val == official.train_val
    ):
        differences.append("other images in train or val (att_splits.mat)")
    if official.images not in (None, found.images):
        differences.append("other images or labels, or in another order (res101.mat)")
    return differences


def name_variant(split: ProposedSplit, *, is_known: bool) -> str:
    """Returns the name of a split's variant, for the run record."""
    return VARIANTS[split.train_val] if is_known else f"unknown {split.fingerprint()[:8]}"


def with_train_and_val(split: ProposedSplit, *, fraction: float, seed: int) -> ProposedSplit:
    """Divides trainval into train and val with disjoint classes, unless the split has both.

    Args:
        split: Split as read.
        fraction: Fraction of the seen classes that become classes of val.
        seed: Random seed.

    Returns:
        Split with train and val; its `train_val` says how they were chosen.

    Raises:
        ConfigError: The fraction is not between 0 and 1, or there is only one seen class.
    """
    if "train" in split.indices:
        return split
    trainval = split.indices["trainval"]
    val_classes = split_classes(split.classes_of("trainval"), fraction, seed)
    is_val = np.isin(split.labels_N[trainval], val_classes)
    chosen = {"train": trainval[~is_val], "val": trainval[is_val]}
    return replace(
        split,
        indices={**split.indices, **chosen},
        train_val=f"drawn, fraction {fraction}, seed {seed}",
    )


def _sorted(split: ProposedSplit, *names: str) -> list[IntArray]:
    return [np.sort(split.indices.get(name, np.empty(0, dtype=np.int64))) for name in names]


def _hash(names: Sequence[str], *arrays: IntArray) -> str:
    digest = sha256("\n".join(names).encode())
    for array in arrays:
        digest.update(f"\n{len(array)}\n".encode() + array.astype("<i8").tobytes())
    return digest.hexdigest()
