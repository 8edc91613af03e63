"""Opening region features, whatever file they are in."""

import logging
import warnings
from pathlib import Path
from typing import Any

from msdn_lit.data.benchmarks.published import Benchmark
from msdn_lit.data.features.image_table import open_table, other_stamps, table_paths
from msdn_lit.data.features.images import is_rotated_or_transparent
from msdn_lit.data.features.published_hdf5 import PUBLISHED_SUFFIXES, PublishedFeatures
from msdn_lit.data.features.store import DECODING, FeatureStore, hash_image_list
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.errors import DataError

log = logging.getLogger(__name__)


def open_regions(
    path: Path,
    source: dict[str, Any] | None,
    split: ProposedSplit,
    benchmark: Benchmark,
    data_dir: Path,
) -> FeatureStore | PublishedFeatures:
    """Opens a feature store or a published feature file, and checks that it is of the right images.

    Args:
        path: Folder of a store, or a published feature file (.hdf5).
        source: Source of the features that is accepted; None accepts any source.
        split: Split of the images.
        benchmark: Benchmark of the images.
        data_dir: Data folder.

    Raises:
        DataError: The features are missing or damaged, of other images, or made in another way.
    """
    if path.suffix in PUBLISHED_SUFFIXES:
        images_sha256 = hash_image_list(benchmark.relative_paths(split))
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
    check_store(store, source or store.manifest.source, split, benchmark, data_dir)
    _warn_of_other_images(store)
    return store


def check_store(
    store: FeatureStore,
    source: dict[str, Any],
    split: ProposedSplit,
    benchmark: Benchmark,
    data_dir: Path,
) -> None:
    """Checks that a store was made from a source and the images of a split.

    A store that version 0.1 made of the user's own images is accepted if it decoded all of them as
    they are decoded now.

    Raises:
        DataError: The store was made of other images or in another way.
    """
    if DECODING in source and DECODING not in store.manifest.source:
        paths = benchmark.image_paths(split, data_dir)
        changed = [path for path in paths if is_rotated_or_transparent(path)]
        if changed:
            raise DataError(
                f"{store.folder} was made by version 0.1, which ignored EXIF orientation and "
                "transparency",
                found=f"{len(changed)} of {len(paths)} images with them, first {changed[0]}",
                action=f"Remove {store.folder} and run msdn extract again.",
            )
        source = {key: value for key, value in source.items() if key != DECODING}
    store.check(source=source, images_sha256=hash_image_list(benchmark.relative_paths(split)))


def _warn_of_other_images(store: FeatureStore) -> None:
    """Logs how many image files have another size or time than at the extraction.

    Their content is not read here: `msdn extract` compares it.
    """
    table = open_table(store.folder, len(store))
    paths = [] if table is None else table_paths(table)
    rows = [] if table is None else other_stamps(table, paths)
    if rows:
        log.warning(
            "%s: %s images have another size or time than at the extraction, first %s. "
            "msdn extract with the same overrides compares them and extracts what was replaced.",
            store.folder,
            len(rows),
            paths[rows[0]],
        )
