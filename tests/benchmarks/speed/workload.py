"""Made-up inputs of real sizes."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor

from msdn_lit.data.feature_cache import Gather, gather_from_disk, gather_from_gpu
from msdn_lit.data.features.store import MANIFEST, REGIONS, FeatureStore, Manifest
from msdn_lit.losses import MSDNLoss
from msdn_lit.losses import functional as terms
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models import MSDN, AttributeToVisual, VisualToAttribute
from msdn_lit.tasks import ZSLTask
from tests.benchmarks.speed.shape import Shape

NUM_STORED = 200  # images of a store that is to be in memory
make_optimizer = partial(
    torch.optim.RMSprop, lr=1e-4, momentum=0.9, weight_decay=1e-4
)  # of parameters; release, CUB
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def roles(shape: Shape) -> tuple[Tensor, Tensor]:
    """Ids of the seen and of the unseen classes."""
    seen, unseen = torch.arange(shape.C).tensor_split([shape.num_seen])
    return seen, unseen


def make_net(shape: Shape) -> MSDN:
    """MSDN as released, for random semantics."""
    subnets = {"attribute_to_visual": AttributeToVisual, "visual_to_attribute": VisualToAttribute}
    return MSDN(
        torch.randn(shape.K, shape.E), torch.rand(shape.C, shape.K), shape.D, subnets=subnets
    )


def make_loss(shape: Shape) -> MSDNLoss:
    """The release's loss on CUB."""
    return MSDNLoss(
        *roles(shape),
        cross_entropy=terms.cross_entropy_release,
        self_calibration=terms.self_calibration_release,
        distillation=terms.distillation_release,
        lambda_cal=0.1,
        lambda_distill=0.001,
        calibration=1.0,
    )


def make_batch(shape: Shape) -> tuple[Tensor, Tensor]:
    """Regions as stored, fp16, (B, R, D), and labels of seen classes, (B,)."""
    return torch.rand(shape.B, shape.R, shape.D).half(), torch.randint(
        0, shape.num_seen, (shape.B,)
    )


def make_task(shape: Shape) -> ZSLTask:
    """Net, loss, metric and optimizer of the release on CUB."""
    return ZSLTask(
        make_net(shape),
        make_loss(shape),
        ZSLMetric(*roles(shape)),
        make_optimizer,
        fusion=(0.9, 0.1),
        calibration=1.0,
        stage="test",
    )


def make_store(folder: Path, shape: Shape, num_images: int, num_filled: int) -> FeatureStore:
    """A store of which only the first images hold numbers: the others are holes of a sparse file, which read as zeros.

    Args:
        folder: Where it goes.
        shape: R and D of it.
        num_images: N.
        num_filled: How many take space on the disk.
    """
    manifest = Manifest({}, "", (num_images, shape.R, shape.D), (1, shape.R), "")
    file = np.lib.format.open_memmap(
        folder / REGIONS, mode="w+", dtype=np.float16, shape=manifest.shape
    )
    rng = np.random.default_rng(0)
    for row in range(num_filled):
        file[row] = rng.random((shape.R, shape.D), dtype=np.float32)
    (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(manifest)))
    return FeatureStore(folder)


def stored(
    folder: Path, shape: Shape, device: torch.device, num_images: int = NUM_STORED
) -> Gather:
    """Gathers from a new store where training would have it; only the first images, read once, hold numbers."""
    store = make_store(folder, shape, num_images, NUM_STORED)
    store.gather(np.arange(NUM_STORED))  # looked through for infinities
    return gather_from_gpu(store, device) if device.type == "cuda" else gather_from_disk(store)


def make_trainer(device: torch.device, precision: str, **arguments: Any) -> Trainer:
    """A Lightning trainer on a device, in "fp32" or "bf16", that saves nothing."""
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    return Trainer(
        accelerator=accelerator,
        devices=1,
        precision=_PRECISIONS[precision],  # type: ignore[arg-type]
        enable_checkpointing=False,
        **arguments,
    )
