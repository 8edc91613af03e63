"""Random inputs of real sizes, and the model that is measured on them."""

import json
from dataclasses import asdict, dataclass
from functools import partial

import lightning
import numpy as np
import torch

from msdn_lit.data.feature_cache import gather_from_disk, gather_from_gpu
from msdn_lit.data.features.store import MANIFEST, REGIONS, FeatureStore, Manifest
from msdn_lit.losses import MSDNLoss
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models import MSDN
from msdn_lit.tasks import ZSLTask

NUM_MAPS = 4  # bilinear maps of MSDN as released
NUM_FILLED = 200  # images of a store that have features; together they fit in memory
TRAINER_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed"}
# the release's optimizer on CUB
make_optimizer = partial(torch.optim.RMSprop, lr=1e-4, momentum=0.9, weight_decay=1e-4)


@dataclass(frozen=True)
class Shape:
    """Sizes of a training step; the defaults are CUB's with a ResNet-101 at 448 px."""

    B: int = 50
    R: int = 196
    D: int = 2048
    K: int = 312
    C: int = 200
    E: int = 300

    @property
    def num_seen(self):
        """Number of seen classes: three quarters, as on CUB."""
        return max(1, 3 * self.C // 4)

    def forward_flops(self):
        """FLOPs of a forward pass: the queries, and their products with the regions."""
        return 2.0 * NUM_MAPS * self.K * self.D * (self.E + self.B * self.R)

    def step_flops(self):
        """FLOPs of a training step: queries and weights need gradients, regions do not."""
        return 2.0 * NUM_MAPS * self.K * self.D * (3 * self.E + 2 * self.B * self.R)

    def region_bytes(self):
        """Bytes of the regions of one batch as stored, fp16."""
        return 2 * self.B * self.R * self.D


def class_ids(shape):
    """Returns the ids of the seen and of the unseen classes."""
    return torch.arange(shape.C).tensor_split([shape.num_seen])


def make_net(shape):
    """Returns MSDN as released, with random semantics."""
    return MSDN(torch.randn(shape.K, shape.E), torch.rand(shape.C, shape.K), shape.D)


def make_loss(shape):
    """Returns the release's loss on CUB."""
    return MSDNLoss(*class_ids(shape))


def make_task(shape):
    """Returns the net, loss, metric and optimizer of the release on CUB as one task."""
    return ZSLTask(
        make_net(shape),
        make_loss(shape),
        ZSLMetric(*class_ids(shape)),
        make_optimizer,
        fusion=(0.9, 0.1),
        calibration=1.0,
        stage="test",
    )


def make_batch(shape):
    """Returns regions as stored, fp16, (B, R, D), and labels of seen classes, (B,)."""
    regions_BRD = torch.rand(shape.B, shape.R, shape.D).half()
    return regions_BRD, torch.randint(0, shape.num_seen, (shape.B,))


def make_store(folder, shape, num_images, num_filled):
    """Writes a feature store with holes: a sparse file that reads as zeros after the first images.

    Args:
        folder: Folder of the store.
        shape: R and D of the regions.
        num_images: N.
        num_filled: Number of images that have features.
    """
    manifest = Manifest({}, "", (num_images, shape.R, shape.D), (1, shape.R), "")
    regions_NRD = np.lib.format.open_memmap(folder / REGIONS, "w+", np.float16, manifest.shape)
    rng = np.random.default_rng(0)
    for row in range(num_filled):
        regions_NRD[row] = rng.random((shape.R, shape.D), dtype=np.float32)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest)))
    return FeatureStore(folder)


def make_gather(folder, shape, device, num_images=NUM_FILLED):
    """Returns a function that gathers from a new store, cached where training would have it."""
    store = make_store(folder, shape, num_images, NUM_FILLED)
    store.gather(np.arange(NUM_FILLED))  # the first reading of a row checks that it is finite
    return gather_from_gpu(store, device) if device.type == "cuda" else gather_from_disk(store)


def make_trainer(device, precision, **arguments):
    """Returns a Lightning trainer on a device, in "fp32" or "bf16", that saves nothing."""
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision=TRAINER_PRECISION[precision],
        enable_checkpointing=False,
        deterministic=True,
        **arguments,
    )


def autocast(device, precision):
    """Computes in "fp32" or "bf16", as Lightning's 32-true and bf16-mixed do."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
