"""Memory of training on stores of the sizes of CUB and AWA2 (N x 196 x 2,048 fp16: sparse files, which take no disk).

    python -m tests.benchmarks.memory [--steps 10] [--images 11788 37322]

Prints the process's anonymous memory (what it holds beyond the page cache), in GB, each size in a process of its own.
"""

import argparse
import dataclasses
import json
import multiprocessing
import tempfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning import Trainer

from msdn_lit.data.batches import SplitDataset, StepLoader
from msdn_lit.data.feature_store import MANIFEST, REGIONS, FeatureStore, Manifest
from msdn_lit.data.residence import from_disk
from msdn_lit.data.samplers import StepSampler, UniformDraw
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models import MSDN, AttributeToVisual, VisualToAttribute
from msdn_lit.tasks import ZSLTask
from tests.benchmarks.train_step import release_loss

B, R, D, K, C, E = 50, 196, 2048, 312, 200, 300


def sparse_store(folder, num_images):
    manifest = Manifest({}, "", (num_images, R, D), (14, 14), "")
    np.lib.format.open_memmap(folder / REGIONS, mode="w+", dtype=np.float16, shape=manifest.shape)  # zeros: holes
    (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(manifest)))
    return FeatureStore(folder)


def make_task():
    seen, unseen = torch.arange(150), torch.arange(150, C)
    subnets = {"attribute_to_visual": AttributeToVisual, "visual_to_attribute": VisualToAttribute}
    return ZSLTask(
        MSDN(torch.randn(K, E), torch.rand(C, K), D, subnets=subnets),
        release_loss(),
        ZSLMetric(seen, unseen, C),
        partial(torch.optim.RMSprop, lr=1e-4, momentum=0.9, weight_decay=1e-4),
        fusion=(0.9, 0.1),
        calibration=1.0,
        stage="test",
    )


def anonymous_gb():
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024 / 1e9


def measure(num_images, num_steps):
    samples, done = [], threading.Event()

    def watch():
        while not done.wait(0.02):
            samples.append(anonymous_gb())

    with tempfile.TemporaryDirectory() as folder:
        before = anonymous_gb()
        gather = from_disk(sparse_store(Path(folder), num_images))
        dataset = SplitDataset(gather, np.arange(num_images), np.arange(num_images) % 150)
        sampler = StepSampler(UniformDraw(dataset.labels, B, seed=0), 0, num_steps)
        loader = StepLoader(dataset, batch_sampler=sampler, collate_fn=lambda batch: batch)
        trainer = Trainer(max_steps=num_steps, accelerator="cpu", logger=False, enable_checkpointing=False,
                          enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
        threading.Thread(target=watch, daemon=True).start()
        trainer.fit(make_task(), loader)
        done.set()
    result = {
        "images": num_images,
        "store_gb": num_images * R * D * 2 / 1e9,
        "before_gb": before,
        "peak_gb": max(samples),
    }
    print(json.dumps({name: round(value, 3) for name, value in result.items()}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--images", type=int, nargs="*", default=[11_788, 37_322])
    options = parser.parse_args()
    for num_images in options.images:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(num_images, options.steps))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
