"""msdn-extract: images -> region features."""

from pathlib import Path

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command


def run(cfg: DictConfig) -> None:
    """Extracts the region features of one benchmark with one backbone; does nothing where they are there already.

    An interrupted run continues; the same command in several processes, on one GPU each, shares the work.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from msdn_lit.build import training as build
    from msdn_lit.data.features.extraction import write_store
    from msdn_lit.data.features.store import FeatureStore, hash_image_list
    from msdn_lit.runs.record import versions

    benchmark = build.benchmark(cfg)
    data_dir, folder = Path(cfg.paths.data_dir), Path(cfg.data.store_dir)
    if benchmark.make is not None:
        benchmark.make(data_dir)
    split = benchmark.read_split(data_dir, allow_unknown=cfg.data.allow_unknown_split)
    names = benchmark.relative_paths(split)
    if not FeatureStore.exists(folder):
        regions, manifest, batch_size = build.extraction(cfg, benchmark, split, versions())
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, speed_estimate_period=60) as progress:
            task = progress.add_task(
                f"{cfg.data.benchmark}, {cfg.features.name}, images", total=len(names)
            )
            write_store(
                folder,
                manifest,
                regions,
                batch_size,
                lambda num_done: progress.update(task, completed=num_done),
            )
    store = FeatureStore(folder)
    store.check(source=build.feature_source(cfg), images_sha256=hash_image_list(names))
    N, R, D = store.manifest.shape
    skipped = f" Left out: {len(store.manifest.skipped)} that did not decode." * bool(
        store.manifest.skipped
    )
    Console().print(
        f"{folder}: {N:,} images x {R} regions x {D} channels, fp16.{skipped}", soft_wrap=True
    )


main = command("extract", run)

if __name__ == "__main__":
    main()
