"""Speed of the data layer, each figure next to the machine's own limit, in one run.

    python -m tests.benchmarks.data [--data-dir DIR] [--images 320]

Extraction: images a second of the whole way from files to a store, next to the bare forward pass of the same backbone
at the same batch size, in turn. Loading: GB/s of random batches (50 x 196 x 2,048 fp16, page cache warm) next to a copy
of as many bytes in memory, and the time from an opened store to the first batch.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from msdn_lit import build
from msdn_lit.cli import config_dir
from msdn_lit.data.batches import SplitDataset, StepLoader
from msdn_lit.data.extraction import BackboneRegions, RegionBatch, write_store
from msdn_lit.data.feature_store import FeatureStore, Manifest
from msdn_lit.data.images import ImageFiles
from msdn_lit.data.residence import from_ram
from msdn_lit.data.samplers import StepSampler, UniformDraw

B, R, D = 50, 196, 2048
NUM_IMAGES_TO_LOAD, NUM_BATCHES, REPETITIONS = 1500, 40, 5


def extraction_speeds(data_dir, features, num_images):
    """Images/s of the bare forward pass and of extraction, in turn."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("extract", [f"features={features}", f"paths.data_dir={data_dir}"])
    benchmark = build.benchmark(cfg)
    split = benchmark.read_split(Path(data_dir))
    chosen = np.random.default_rng(0).permutation(len(split.labels_N))[:num_images]
    paths = [benchmark.image_paths(split, Path(data_dir))[row] for row in chosen]
    device, batch_size = build.device(cfg.features.device), cfg.features.batch_size
    images = ImageFiles(paths, build.transform(cfg))
    backbone = build.backbone(cfg).to(device)
    regions = BackboneRegions(images, backbone, device, cfg.features.precision, cfg.features.num_workers, False)
    depth, height, width = regions.grid()
    manifest = Manifest({}, "", (num_images, height * width, depth), (height, width), "")
    batch = torch.stack([images[row] for row in range(batch_size)])
    bare_input = images.transform.standardise(batch.to(device))
    bare, whole = [], []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for _ in range(max(1, num_images // batch_size)):
            backbone.feature_map(bare_input).cpu()
        bare.append(max(1, num_images // batch_size) * batch_size / (time.perf_counter() - start))
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            write_store(Path(folder), manifest, regions, batch_size)
            whole.append(num_images / (time.perf_counter() - start))
    return bare, whole


def loading_speeds(folder):
    """GB/s of batches and of plain copies, in turn, and seconds to the first batch."""
    shape = (NUM_IMAGES_TO_LOAD, R, D)
    rng = np.random.default_rng(0)

    class Noise:
        def batches(self, claims):
            for rows in claims:
                yield RegionBatch(rows, rng.random((len(rows), R, D), dtype=np.float32).astype(np.float16))

    write_store(folder, Manifest({}, "", shape, (14, 14), ""), Noise(), 50)
    start = time.perf_counter()
    gather = from_ram(FeatureStore(folder))
    labels_N = np.zeros(NUM_IMAGES_TO_LOAD, dtype=np.int64)
    dataset = SplitDataset(gather, np.arange(shape[0]), labels_N)
    sampler = StepSampler(UniformDraw(labels_N, B, seed=0), 0, NUM_BATCHES)
    next(iter(StepLoader(dataset, batch_sampler=sampler, collate_fn=lambda batch: batch)))
    first = time.perf_counter() - start
    gather(np.arange(shape[0])[: shape[0] // 2])  # every page has been touched once
    gather(np.arange(shape[0])[shape[0] // 2 :])
    source, target = np.ones(B * R * D, np.float16), np.ones(B * R * D, np.float16)
    loads, copies = [], []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for batch in StepLoader(dataset, batch_sampler=sampler, collate_fn=lambda batch: batch):
            assert len(batch.labels_B) == B
        loads.append(NUM_BATCHES * source.nbytes / (time.perf_counter() - start) / 1e9)
        start = time.perf_counter()
        for _ in range(NUM_BATCHES):
            np.copyto(target, source)
        copies.append(NUM_BATCHES * source.nbytes / (time.perf_counter() - start) / 1e9)
    return loads, copies, first


def show(name, values, limits, unit):
    ratios = [value / limit for value, limit in zip(values, limits, strict=True)]
    print(
        f"{name}: {statistics.median(values):.1f} {unit}, limit {statistics.median(limits):.1f}, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, n={len(ratios)})",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--features", nargs="*", default=["mobilenetv2_224", "mobilenetv2_448"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        loads, copies, first = loading_speeds(Path(folder))
    show("loading", loads, copies, "GB/s")
    print(f"first batch of an epoch: {first:.2f} s")
    has_images = (Path(args.data_dir) / "CUB_200_2011" / "images").is_dir()
    if not has_images:
        print(f"extraction: not measured, {args.data_dir} has no CUB_200_2011; name a folder with --data-dir")
    for features in args.features if has_images else []:
        bare, whole = extraction_speeds(args.data_dir, features, args.images)
        show(f"extraction, {features}", whole, bare, "images/s")


if __name__ == "__main__":
    main()
