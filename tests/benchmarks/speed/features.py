"""Loading of region features, and extraction of them from images."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from msdn_lit.data.features.extraction import BackboneRegions, write_store
from msdn_lit.data.features.images import ImageFiles, ImageTransform
from msdn_lit.data.features.store import Manifest
from msdn_lit.data.samplers import UniformBatches
from msdn_lit.models.backbones.backbone import RegionBackbone
from tests.benchmarks.speed import workload
from tests.benchmarks.speed.timing import Stopwatch, TimedProcess, compare, interleave

CUB_IMAGE_SIZE = 500, 375  # the most frequent one
BATCH_SIZE = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def batch_loading(shape, device):
    """Yields the seconds of a random batch from a store in memory (page cache or GPU)."""
    batches = UniformBatches(np.zeros(workload.NUM_FILLED, dtype=np.int64), shape.B, seed=0)
    step = 0
    with TemporaryDirectory() as folder:
        gather = workload.make_gather(Path(folder), shape, device)
        while True:
            step += 1
            watch = Stopwatch(device)
            gather(batches(step))
            yield {"batch": watch.lap()}


def copy(shape, device):
    """Yields the seconds of a copy of as many bytes as the regions of a batch have."""
    source = torch.ones(shape.region_bytes(), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    while True:
        watch = Stopwatch(device)
        target.copy_(source)
        yield {"batch": watch.lap()}


def store_extraction(options, precision):
    """Yields the seconds of an extraction, and of the net alone for as many images.

    The images are generated and the net's weights are random.
    """
    device, number, size = options.device, options.images, options.image_size
    transform = ImageTransform(size, mean=MEAN, std=STD)
    backbone = RegionBackbone(options.backbone, pretrained=False).to(device)
    batch_B3HW = transform.standardise(torch.zeros(BATCH_SIZE, size, size, 3, device=device))
    with TemporaryDirectory() as folder:
        images = ImageFiles(write_images(Path(folder), number), transform)
        regions = BackboneRegions(
            images, backbone, device, precision, options.workers, skip_undecodable=False
        )
        D, H, W = regions.grid()
        manifest = Manifest({}, "", (number, H * W, D), (H, W), "")
        while True:
            watch = Stopwatch(device)
            with TemporaryDirectory() as store:
                write_store(Path(store), manifest, regions, BATCH_SIZE)
            seconds = watch.lap()
            for _ in range(-(-number // BATCH_SIZE)):
                with workload.autocast(device, precision):
                    backbone.feature_map(batch_B3HW)
            yield {"extraction": seconds, "net": watch.lap()}


def write_images(folder, number):
    """Writes JPEG files of CUB's usual size that decode as slowly as photographs: smooth noise."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.jpg" for index in range(number)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 255, (94, 125, 3), dtype=np.uint8))
        coarse.resize(CUB_IMAGE_SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def loading(options):
    """Compares the loading of a batch with a copy of as many bytes."""
    processes = {
        "ours": TimedProcess(batch_loading, options.shape, options.device),
        "limit": TimedProcess(copy, options.shape, options.device),
    }
    results = interleave(processes, options.repetitions)
    what = f"loading of a batch, {options.shape.region_bytes() / 1e6:.0f} MB"
    yield compare(what, "ms", results, "batch")


def extraction(options):
    """Compares extraction, from image files to a store, with the net alone."""
    for precision in options.precision:
        results = interleave({"ours": TimedProcess(store_extraction, options, precision)})
        results["limit"] = [{"extraction": result["net"]} for result in results["ours"]]
        what = f"extraction of {options.images} images, {options.backbone}"
        yield compare(f"{what}, {options.image_size} px, {precision}", "s", results, "extraction")
