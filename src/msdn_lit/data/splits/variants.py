"""Which variant of a benchmark's split files this is, and train and val where its file has none.

Several editions of the Proposed Split circulate: the official one, whose train and val leak test_seen images; an older
one without train and val; corrected ones. Results on any other files compare with nothing.
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
    """What the official files of a benchmark hash to; the order within a split does not matter.

    Attributes:
        splits: Class names, and members of trainval, test_seen and test_unseen.
        train_val: Members of train and val, without the leak.
        images: Image paths below their root, and labels; None where the official list is not known.
    """

    splits: str
    train_val: str
    images: str | None


def fingerprints(split: ProposedSplit, relative_paths: Sequence[str]) -> SplitFingerprints:
    """Hashes a split as `SplitFingerprints` says."""
    return SplitFingerprints(
        splits=_hash(split.class_names, *_sorted(split, "trainval", "test_seen", "test_unseen")),
        train_val=_hash((), *_sorted(split, "train", "val")),
        images=_hash(relative_paths, split.labels_N),
    )


def find_differences(
    split: ProposedSplit, relative_paths: Sequence[str], official: SplitFingerprints
) -> list[str]:
    """Says in which respects a split is none of the known variants; nothing where it is one."""
    found = fingerprints(split, relative_paths)
    differences = []
    if found.splits != official.splits:
        differences.append(
            "other classes or other images in trainval, test_seen or test_unseen (att_splits.mat)"
        )
    if split.train_val != ABSENT and (
        split.train_val not in VARIANTS or found.train_val != official.train_val
    ):
        differences.append("other images in train or val (att_splits.mat)")
    if official.images not in (None, found.images):
        differences.append("other images or labels, or in another order (res101.mat)")
    return differences


def name_variant(split: ProposedSplit, *, is_known: bool) -> str:
    """The name of a split's variant for the record."""
    return VARIANTS[split.train_val] if is_known else f"unknown {split.fingerprint()[:8]}"


def with_train_and_val(split: ProposedSplit, *, fraction: float, seed: int) -> ProposedSplit:
    """Draws train and val from trainval where the split has none; their classes are disjoint.

    Args:
        split: As read.
        fraction: Part of the seen classes that become those of val.
        seed: Of the choice.

    Returns:
        A split that has both; `train_val` says how.
    """
    if "train" in split.indices:
        return split
    trainval = split.indices["trainval"]
    is_val = np.isin(
        split.labels_N[trainval], split_classes(split.classes_of("trainval"), fraction, seed)
    )
    drawn = {"train": trainval[~is_val], "val": trainval[is_val]}
    return replace(
        split,
        indices={**split.indices, **drawn},
        train_val=f"drawn, fraction {fraction}, seed {seed}",
    )


def _sorted(split: ProposedSplit, *names: str) -> list[IntArray]:
    return [np.sort(split.indices.get(name, np.empty(0, dtype=np.int64))) for name in names]


def _hash(names: Sequence[str], *arrays: IntArray) -> str:
    digest = sha256("\n".join(names).encode())
    for array in arrays:
        digest.update(f"\n{len(array)}\n".encode() + array.astype("<i8").tobytes())
    return digest.hexdigest()
