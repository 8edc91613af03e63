"""Kills extraction at random moments and compares every byte with an uninterrupted run.

    python -m tests.benchmarks.kill_extract [--kills 200] [--seed 0]

Each round extracts a store of 96 generated images with a small random network. One or two processes
share the work. They are killed by SIGKILL at random moments and started again until the store is
complete. Every other round starts with a complete store, of which some images are replaced.
"""

import argparse
import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import torch

from msdn_lit.data.features import extraction
from msdn_lit.data.features import writer as store_writer
from msdn_lit.data.features.extraction import BackboneRegions, write_store
from msdn_lit.data.features.image_table import IMAGES, find_replaced
from msdn_lit.data.features.images import ImageFiles, ImageTransform
from msdn_lit.data.features.store import MANIFEST, REGIONS, FeatureStore, Manifest
from msdn_lit.models.backbones.backbone import RegionBackbone
from tests import miniature

FORK = multiprocessing.get_context("fork")
BATCH_SIZE = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    store_writer.SECONDS_BETWEEN_SYNCS = 0.0  # a kill loses one batch at most, so that rounds end
    extraction.POLL_SECONDS = 0.02
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        miniature.write_split(root)
        miniature.write_images(root)
        split = miniature.MINI.read_split(root)
        images = ImageFiles(
            miniature.MINI.image_paths(split, root), ImageTransform(64, (0.5,) * 3, (0.5,) * 3)
        )
        backbone = RegionBackbone("resnet10t", pretrained=False)
        regions = BackboneRegions(images, backbone, torch.device("cpu"), "fp32", 1, False)
        D, H, W = regions.grid()
        manifest = Manifest({}, "", (len(images), H * W, D), (H, W), "")

        def make(target):
            write_store(target, manifest, regions, BATCH_SIZE, images=images.paths)

        def make_in_group(target):
            os.setpgrp()  # to kill the decoding processes of a killed parent
            make(target)

        make(root / "older")
        replace_some(images.paths)
        make(root / "truth")
        names = (REGIONS, MANIFEST, IMAGES)
        truth = {name: (root / "truth" / name).read_bytes() for name in names}
        kills = rounds = wrong = 0
        rng, target = np.random.default_rng(args.seed), root / "store"
        while kills < args.kills:
            workers = [
                FORK.Process(target=make_in_group, args=(target,))
                for _ in range(rng.integers(1, 3))
            ]
            kills += start_and_kill(workers, rng)
            if FeatureStore.exists(target) and find_replaced(target, images.paths) == []:
                rounds += 1
                wrong += sum((target / name).read_bytes() != data for name, data in truth.items())
                shutil.rmtree(target)
                if rounds % 2:
                    shutil.copytree(root / "older", target)
    print(f"{kills} kills, {rounds} stores finished, {wrong} files with lost or wrong bytes")


def start_and_kill(workers, rng):
    """Kills processes at random moments; returns how many were still alive."""
    kills = 0
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(rng.uniform(0.02, 0.3))
        kills += worker.is_alive()
        worker.kill()
        worker.join()
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
    return kills


def replace_some(paths):
    """Gives every seventh image the content of the image after it."""
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths[::7], contents[1::7], strict=False):
        path.write_bytes(content)


if __name__ == "__main__":
    main()
