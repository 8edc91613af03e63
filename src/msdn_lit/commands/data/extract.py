"""msdn extract: computes region features of images."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from msdn_lit import __version__
from msdn_lit.commands._hydra import command, is_multirun
from msdn_lit.commands.data._sharing import sharing
from msdn_lit.files import short_path
from msdn_lit.progress import IMAGES, ProgressLine, print_line

if TYPE_CHECKING:
    from msdn_lit.data.benchmarks.published import Benchmark
    from msdn_lit.data.features.store import FeatureStore, Manifest
    from msdn_lit.data.splits.xlsa17 import ProposedSplit

log = logging.getLogger(__name__)
EXAMPLES = (
    "msdn extract data=cub features=resnet101_448 paths.data_dir=DATA",
    "msdn extract data=folder data.folder=DIR data.benchmark=NAME",
)


def run(cfg: DictConfig) -> None:
    """Computes the region features of one dataset with one backbone.

    Features that exist are kept and an interrupted run is resumed. Images that were replaced since
    are extracted again. Several processes share the work: one for each core of a CPU, and with
    features.device=all one for each GPU. Any process with the same command joins them.
    """
    data_dir, folder = Path(cfg.paths.data_dir), Path(cfg.data.store_dir)
    # before the imports and the data, which take seconds
    print_line(f"msdn-lit {__version__}, features in {short_path(folder)}")
    from msdn_lit.analysis.output.tables import print_next, terminal
    from msdn_lit.build.features import benchmark
    from msdn_lit.data.features.store import FeatureStore

    dataset = benchmark(cfg)
    if dataset.make is not None:
        dataset.make(data_dir)
    split = dataset.read_split(data_dir, allow_unknown=cfg.data.allow_unknown_split)
    if not FeatureStore.exists(folder) or _count_replaced(cfg, dataset, split):
        with sharing(cfg, len(split.labels_N), _extract_share) as check:
            _extract(cfg, dataset, split, check)
    store = _checked_store(cfg, dataset, split)
    N, R, D = store.manifest.shape
    text = f"{N:,} images x {R} regions x {D} channels, fp16."
    if store.manifest.skipped:
        text += f" Left out: {len(store.manifest.skipped)} that did not decode."
    terminal().print(f"{text}\n{folder}", soft_wrap=True)
    if not is_multirun():
        print_next(_training_words(cfg))


def _checked_store(cfg: DictConfig, dataset: Benchmark, split: ProposedSplit) -> FeatureStore:
    from msdn_lit.build.features import check_weights, feature_source
    from msdn_lit.data.features.opening import check_store
    from msdn_lit.data.features.store import FeatureStore

    store = FeatureStore(Path(cfg.data.store_dir))
    check_store(store, feature_source(cfg), split, dataset, Path(cfg.paths.data_dir))
    check_weights(cfg, store.manifest, store.folder)
    return store


def _count_replaced(cfg: DictConfig, dataset: Benchmark, split: ProposedSplit) -> int:
    """Counts the images that were replaced since a complete store was made, and says so."""
    from msdn_lit.data.features.image_table import find_replaced
    from msdn_lit.errors import DataError

    store = _checked_store(cfg, dataset, split)
    if "backbone" not in store.manifest.source or "published_hdf5" in store.manifest.computation:
        return 0  # not made of images
    try:
        paths = dataset.image_paths(split, Path(cfg.paths.data_dir))
    except DataError:  # features need no images any more
        return 0
    replaced = find_replaced(store.folder, paths, record_times=True)
    if replaced is None:
        log.warning(
            "%s has no images.npy, as in version 0.1: replaced images are not noticed. To record "
            "the images, remove the folder and run msdn extract again.",
            store.folder,
        )
    elif replaced:
        log.warning(
            "%s of %s images were replaced since the extraction, first %s. They are extracted "
            "again.",
            len(replaced),
            len(paths),
            paths[replaced[0]],
        )
    return len(replaced or ())


def _extract_share(cfg: DictConfig, check: Callable[[], None]) -> None:
    """Extracts in a further process."""
    from msdn_lit.build.features import benchmark

    dataset = benchmark(cfg)
    split = dataset.read_split(Path(cfg.paths.data_dir), allow_unknown=cfg.data.allow_unknown_split)
    _extract(cfg, dataset, split, check)


def _extract(
    cfg: DictConfig, dataset: Benchmark, split: ProposedSplit, check: Callable[[], None]
) -> None:
    from msdn_lit.build.features import extraction
    from msdn_lit.data.features.extraction import BackboneRegions, write_store
    from msdn_lit.runs.environment import versions

    regions, manifest, batch_size = extraction(cfg, dataset, split, versions())
    print_line(_description(cfg, manifest, batch_size))
    images = regions.images.paths if isinstance(regions, BackboneRegions) else ()
    total = manifest.shape[0]
    with ProgressLine(IMAGES, total) as line:
        is_first = True

        def show(num_done: int) -> None:
            nonlocal is_first
            check()
            if is_first:  # what earlier or other processes did is no part of the speed
                line.restart("", total, num_done)
            is_first = False
            line.update(num_done, lambda: ["checksum"] if num_done == total else [])

        write_store(Path(cfg.data.store_dir), manifest, regions, batch_size, show, images)


def _description(cfg: DictConfig, manifest: Manifest, batch_size: int) -> str:
    """Returns what is computed: images, backbone, device and precision."""
    of = f"{cfg.data.benchmark}, {cfg.features.name}"
    parts = [f"{of}: {manifest.shape[0]:,} images"]
    if "backbone" in cfg.features:
        parts.append(str(cfg.features.backbone.model_name))
    computation = manifest.computation
    parts += [str(computation[name]) for name in ("device", "precision") if name in computation]
    return ", ".join([*parts, f"batch {batch_size}"])


def _training_words(cfg: DictConfig) -> list[str]:
    """Returns the words of the command that trains with these features: the typed ones.

    A published benchmark needs the experiment with its own settings.
    """
    from msdn_lit.build.description import RECIPES

    recipe, benchmark = cfg.recipe_of, cfg.data.benchmark
    words = sys.argv[1:]
    if recipe not in (None, benchmark) and not cfg.data.folder and benchmark in RECIPES:
        others = [word for word in words if not word.startswith("data=")]
        words = [f"experiment={RECIPES[benchmark]}", *others]
    return ["msdn", "train", *words]


main = command("extract", run, EXAMPLES)

if __name__ == "__main__":
    main()
