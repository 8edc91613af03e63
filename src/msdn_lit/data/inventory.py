"""Inventory of a machine: state of each benchmark's files and of each feature store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.download.checks import difference, silent
from msdn_lit.data.download.sources import SOURCES, Source
from msdn_lit.data.features.image_table import find_replaced, open_table, table_paths
from msdn_lit.data.features.store import MANIFEST, FeatureStore, hash_regions
from msdn_lit.data.features.writer import PLAN
from msdn_lit.data.splits.xlsa17 import SPLIT_FILES
from msdn_lit.errors import DataError

# Regions and channels of the configs in conf/features, to estimate the size of future stores.
SHAPES = {
    "resnet101_448": (196, 2048),
    "resnet101_224": (49, 2048),
    "vit_base_224": (196, 768),
    "efficientnet_lite2_448": (196, 1280),
    "efficientnet_lite2_260": (81, 1280),
    "mobilenetv2_448": (196, 1280),
    "mobilenetv2_224": (49, 1280),
}


@dataclass(frozen=True)
class BenchmarkState:
    """State of a published benchmark's files.

    Attributes:
        name: Name of the benchmark, e.g. "CUB".
        num_images: Number of images of the complete benchmark.
        split: Variant of the split files, or a description of the problem.
        images: Number of images found and expected, e.g. "11,788 of 11,788".
        word_vectors: "as published", "changed", "missing" or "none published".
        has_split: True if the split files can be read.
        is_complete: True if all files for extracting features exist.
    """

    name: str
    num_images: int
    split: str
    images: str
    word_vectors: str
    has_split: bool
    is_complete: bool


@dataclass(frozen=True)
class StoreState:
    """State of a feature store.

    Attributes:
        name: Name of its folder.
        shape: (N, R, D); None if it cannot be read.
        state: "complete", "running or interrupted", or a description of the problem.
    """

    name: str
    shape: tuple[int, int, int] | None
    state: str


def inspect_benchmark(name: str, data_dir: Path) -> BenchmarkState:
    """Inspects the files of a published benchmark without changing anything.

    Args:
        name: Name for msdn fetch, e.g. "cub".
        data_dir: Data folder.
    """
    benchmark = BENCHMARKS[name.upper()]
    assert benchmark.sizes is not None
    try:
        variant = benchmark.read_split(data_dir, allow_unknown=True).variant
        has_split = True
    except DataError as error:
        variant = _missing_splits(data_dir / "xlsa17" / "data" / benchmark.name) or str(error)
        has_split = False
    counts = [
        count
        for source in SOURCES[name]
        if "images" in source.gives
        for count in _counts(source, data_dir)
    ]
    found, wanted = (sum(numbers) for numbers in zip(*counts, strict=True))
    return BenchmarkState(
        name=benchmark.name,
        num_images=benchmark.sizes[3],
        split=variant,
        images=f"{found:,} of {wanted:,}",
        word_vectors=_word_vectors(name, data_dir),
        has_split=has_split,
        is_complete=has_split and all(has >= wants for has, wants in counts),
    )


def inspect_stores(feature_dir: Path, *, verify: bool) -> Iterator[StoreState]:
    """Inspects every feature store in a folder.

    Args:
        feature_dir: Folder of the stores.
        verify: If True, all features are read and their hash is compared with the manifest's.
    """
    for folder in sorted(feature_dir.iterdir()) if feature_dir.is_dir() else []:
        if (folder / MANIFEST).is_file():
            yield _inspect_store(folder, verify)
        elif (folder / PLAN).is_file():
            state = "running or interrupted: the same msdn extract command continues"
            yield StoreState(folder.name, None, state)


def _inspect_store(folder: Path, verify: bool) -> StoreState:
    try:
        manifest = FeatureStore(folder).manifest
    except DataError as error:
        return StoreState(folder.name, None, str(error))
    parts = ["complete"]
    if manifest.skipped:
        parts.append(f"{len(manifest.skipped)} images skipped")
    if verify and manifest.regions_sha256:
        is_same = hash_regions(folder) == manifest.regions_sha256
        damaged = f"but DAMAGED: remove {folder} and run msdn extract again"
        parts.append("verified" if is_same else damaged)
    table = open_table(folder, manifest.shape[0])
    replaced = [] if table is None else find_replaced(folder, table_paths(table))
    if replaced:
        parts.append(f"but images were replaced ({len(replaced)}): run msdn extract again")
    return StoreState(folder.name, manifest.shape, ", ".join(parts))


def _missing_splits(folder: Path) -> str:
    missing = [name for name in SPLIT_FILES if not (folder / name).exists()]
    return f"no {' and no '.join(missing)}" if missing else ""


def _counts(source: Source, data_dir: Path) -> list[tuple[int, int]]:
    return [count for pattern, count in source.inventory(data_dir).items() if ".jpg" in pattern]


def _word_vectors(name: str, data_dir: Path) -> str:
    source = next((source for source in SOURCES[name] if source.gives == "word vectors"), None)
    if source is None:
        return "none published"
    path = data_dir / source.into / source.name
    if not path.is_file():
        return "missing"
    return "changed" if difference(path, source.size, source.checksum, silent) else "as published"
