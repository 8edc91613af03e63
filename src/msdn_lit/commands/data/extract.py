"""msdn extract: computes region features of images."""

from pathlib import Path

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command

EXAMPLES = (
    "msdn extract data=cub features=resnet101_448 paths.data_dir=DATA",
    "msdn extract data=folder data.folder=DIR data.benchmark=NAME",
)


def run(cfg: DictConfig) -> None:
    """Computes the region features of one dataset with one backbone.

    Features that exist are kept and an interrupted run is resumed. Several processes with the same
    command, for example on one GPU each, share the work.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from msdn_lit.analysis.output.tables import terminal
    from msdn_lit.build.features import benchmark, extraction, feature_source
    from msdn_lit.data.features.extraction import write_store
    from msdn_lit.data.features.store import FeatureStore, hash_image_list
    from msdn_lit.runs.environment import versions

    dataset = benchmark(cfg)
    data_dir, folder = Path(cfg.paths.data_dir), Path(cfg.data.store_dir)
    if dataset.make is not None:
        dataset.make(data_dir)
    split = dataset.read_split(data_dir, allow_unknown=cfg.data.allow_unknown_split)
    names = dataset.relative_paths(split)
    if not FeatureStore.exists(folder):
        regions, manifest, batch_size = extraction(cfg, dataset, split, versions())
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, speed_estimate_period=60) as progress:
            title = f"{cfg.data.benchmark}, {cfg.features.name}, images"
            task = progress.add_task(title, total=len(names))

            def show(num_done: int) -> None:
                progress.update(task, completed=num_done)

            write_store(folder, manifest, regions, batch_size, show)
    store = FeatureStore(folder)
    store.check(source=feature_source(cfg), images_sha256=hash_image_list(names))
    N, R, D = store.manifest.shape
    text = f"{folder}: {N:,} images x {R} regions x {D} channels, fp16."
    if store.manifest.skipped:
        text += f" Left out: {len(store.manifest.skipped)} that did not decode."
    terminal().print(text, soft_wrap=True)


main = command("extract", run, EXAMPLES)

if __name__ == "__main__":
    main()
