"""What a machine has: which benchmarks and feature stores are there, and whether they are what they should be."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.download.checks import difference, silent
from msdn_lit.data.download.sources import SOURCES, Source
from msdn_lit.data.features.store import MANIFEST, FeatureStore
from msdn_lit.data.features.writer import PLAN, hash_regions
from msdn_lit.errors import DataError

# Regions and channels that the files of conf/features give, for the size of stores that are not there yet.
SHAPES = {
    "resnet101_448": (196, 2048),
    "resnet101_224": (49, 2048),
    "vit_base_224": (196, 768),
    "mobilenetv2_448": (196, 1280),
    "mobilenetv2_224": (49, 1280),
}


@dataclass(frozen=True)
class BenchmarkState:
    """What is there of a published benchmark.

    Attributes:
        name: E.g. "CUB".
        num_images: Of the whole benchmark.
        split: RunSettings of its split files, or what is wrong with them.
        images: "11,788 of 11,788", or which part is missing.
        word_vectors: "as published", "changed", "missing"; "none published".
        is_complete: Whether features can be extracted.
    """

    name: str
    num_images: int
    split: str
    images: str
    word_vectors: str
    is_complete: bool


@dataclass(frozen=True)
class StoreState:
    """A feature store.

    Attributes:
        name: Its folder.
        shape: (N, R, D); None where it cannot be read.
        state: "complete", "being made, or interrupted", or what is wrong.
    """

    name: str
    shape: tuple[int, int, int] | None
    state: str


def inspect_benchmark(name: str, data_dir: Path) -> BenchmarkState:
    """Looks at the files of a published benchmark without changing anything.

    Args:
        name: As msdn-fetch has it, e.g. "cub".
        data_dir: The data folder.
    """
    benchmark = BENCHMARKS[name.upper()]
    assert benchmark.sizes is not None
    try:
        variant, has_split = benchmark.read_split(data_dir, allow_unknown=True).variant, True
    except DataError as error:
        folder = data_dir / "xlsa17" / "data" / benchmark.name
        missing = [
            name for name in ("att_splits.mat", "res101.mat") if not (folder / name).exists()
        ]
        variant, has_split = f"no {' and no '.join(missing)}" if missing else str(error), False
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
        is_complete=has_split and all(has >= wants for has, wants in counts),
    )


def inspect_stores(feature_dir: Path, *, verify: bool) -> Iterator[StoreState]:
    """Looks at every feature store of a folder.

    Args:
        feature_dir: Holds the stores.
        verify: Read all features and compare their hash with the manifest's.
    """
    for folder in sorted(feature_dir.iterdir()) if feature_dir.is_dir() else []:
        if (folder / MANIFEST).is_file():
            yield _inspect_store(folder, verify)
        elif (folder / PLAN).is_file():
            yield StoreState(
                folder.name, None, "being made, or interrupted: the same msdn-extract continues"
            )


def _inspect_store(folder: Path, verify: bool) -> StoreState:
    try:
        manifest = FeatureStore(folder).manifest
    except DataError as error:
        return StoreState(folder.name, None, str(error))
    state = "complete" + f", {len(manifest.skipped)} images left out" * bool(manifest.skipped)
    if verify and manifest.regions_sha256:
        is_same = hash_regions(folder) == manifest.regions_sha256
        state += (
            ", verified"
            if is_same
            else f", but DAMAGED: remove {folder} and run msdn-extract again"
        )
    return StoreState(folder.name, manifest.shape, state)


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
