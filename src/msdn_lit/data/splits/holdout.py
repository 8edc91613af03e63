"""Random hold-outs: part of the images of each class, and part of the classes."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.splits.xlsa17 import IntArray, ProposedSplit
from msdn_lit.errors import ConfigError, DataError


def split_images(
    labels_N: IntArray, fraction: float, seed: int, *, keep_some: bool = False
) -> NDArray[np.bool_]:
    """Chooses a random part of the images of each class.

    Args:
        labels_N: Class of each image, (N,).
        fraction: Fraction of each class, rounded to whole images.
        seed: Random seed; the choice in a class does not depend on the other classes.
        keep_some: If True, at least one image of a class is chosen and at least one is not; the
            only image of a class is not chosen.

    Returns:
        True for the chosen images, (N,).

    Raises:
        ConfigError: The fraction is not between 0 and 1.
    """
    if not 0 <= fraction < 1 or (keep_some and not fraction):
        raise ConfigError(
            "A hold-out fraction is wrong", expected="between 0 and 1", found=fraction
        )
    chosen_N = np.zeros(len(labels_N), dtype=bool)
    for label in np.unique(labels_N):
        images = np.flatnonzero(labels_N == label)
        count = round(fraction * len(images))
        if keep_some:
            count = min(max(1, count), len(images) - 1)
        chosen_N[np.random.default_rng([seed, int(label)]).permutation(images)[:count]] = True
    return chosen_N


def split_classes(classes: IntArray, fraction: float, seed: int) -> IntArray:
    """Chooses a random part of the classes: at least one, and not all.

    Args:
        classes: Class ids.
        fraction: Fraction of the classes, rounded to whole classes.
        seed: Random seed.

    Returns:
        Chosen ids, ascending.

    Raises:
        ConfigError: The fraction is not between 0 and 1, or there is only one class.
    """
    if not 0 < fraction < 1 or len(classes) < 2:
        raise ConfigError(
            "data.val_classes leaves no validation classes",
            expected="a fraction of two or more seen classes",
            found=f"{fraction} of {len(classes)}",
        )
    count = min(max(1, round(fraction * len(classes))), len(classes) - 1)
    return np.sort(np.random.default_rng(seed).permutation(classes)[:count])


def split_indices(
    split: ProposedSplit,
    val_seen: Callable[[IntArray], NDArray[np.bool_]],
    needed: Sequence[str],
) -> dict[str, IntArray]:
    """Returns the images of each split by name, with `val_seen` held out from `train`.

    Args:
        split: Split files of a benchmark.
        val_seen: Marks the images of train that are held out, given their labels.
        needed: Names of the splits that must exist.

    Raises:
        DataError: A needed split is missing.
    """
    indices = dict(split.indices)
    if "train" in indices:
        train = indices["train"]
        held = val_seen(split.labels_N[train])
        indices |= {"train": train[~held], "val_seen": train[held]}
    for name in needed:
        if name not in indices:
            raise DataError(
                f"{split.folder} has no split {name!r}",
                expected="one of " + ", ".join(indices),
                action="Set protocol.train_split and protocol.eval_splits.",
            )
    return indices
