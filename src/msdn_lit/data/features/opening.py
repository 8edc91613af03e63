"""Opening region features, whatever file they are in."""

import warnings
from pathlib import Path
from typing import Any

from msdn_lit.data.features.published_hdf5 import PUBLISHED_SUFFIXES, PublishedFeatures
from msdn_lit.data.features.store import FeatureStore
from msdn_lit.data.splits.xlsa17 import ProposedSplit


def open_regions(
    path: Path, source: dict[str, Any] | None, images_sha256: str, split: ProposedSplit
) -> FeatureStore | PublishedFeatures:
    """Opens a feature store or a published feature file, and checks that it is of the right images.

    Args:
        path: Folder of a store, or a published feature file (.hdf5).
        source: How the features must have been made; None accepts any way.
        images_sha256: Hash of the image list.
        split: Split of the images.

    Raises:
        DataError: The features are missing or damaged, of other images, or made in another way.
    """
    if path.suffix in PUBLISHED_SUFFIXES:
        published = PublishedFeatures(path, source or {}, images_sha256)
        published.check_split(split)
        if published.rows_per_block > 1:
            warnings.warn(
                f"{path} is compressed, {published.rows_per_block} images to a block, and every "
                f"batch decodes many of them. Convert it once: msdn extract features.hdf5={path}",
                stacklevel=2,
            )
        return published
    store = FeatureStore(path)
    store.check(source=source or store.manifest.source, images_sha256=images_sha256)
    return store
