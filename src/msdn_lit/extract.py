"""msdn-extract: images -> region features."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from msdn_lit.cli import command


def run(cfg: DictConfig) -> None:
    """Extracts the region features of one benchmark with one backbone; does nothing where they are there already."""
    from rich.progress import track

    from msdn_lit import build, record
    from msdn_lit.data.benchmarks import find_benchmark
    from msdn_lit.data.extraction import extract_store
    from msdn_lit.data.feature_store import FeatureStore, hash_image_list
    from msdn_lit.data.images import ImageFiles

    benchmark = find_benchmark(cfg.data.benchmark)
    data_dir, folder, source = Path(cfg.paths.data_dir), Path(cfg.data.store_dir), build.feature_source(cfg)
    if benchmark.make is not None:
        benchmark.make(data_dir)
    split = benchmark.read_split(data_dir)
    relative_paths = benchmark.relative_paths(split)
    if FeatureStore.exists(folder):
        FeatureStore(folder).check(source=source, images_sha256=hash_image_list(relative_paths))
        print(f"{folder} is complete.")
        return

    images = ImageFiles(benchmark.image_paths(split, data_dir), build.transform(cfg))
    device = build.device(cfg.features.device)
    extract_store(
        folder,
        images,
        build.backbone(cfg).to(device),
        relative_paths=relative_paths,
        source=source,
        versions=record.versions(),
        batch_size=cfg.features.batch_size,
        num_workers=cfg.features.num_workers,
        device=device,
        progress=partial(
            track,
            description=f"{cfg.data.benchmark}, {cfg.features.name}",
            total=-(-len(images) // cfg.features.batch_size),
        ),
    )
    manifest = FeatureStore(folder).manifest
    print(f"{folder}: {manifest.shape[0]:,} images x {manifest.shape[1]} regions x {manifest.shape[2]} channels, fp16.")


main = command("extract", run)

if __name__ == "__main__":
    main()
