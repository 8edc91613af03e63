"""Made-up inputs of real sizes."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from msdn_lit.data.feature_store import MANIFEST, REGIONS, FeatureStore, Manifest
from msdn_lit.losses import MSDNLoss
from msdn_lit.losses import functional as terms
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models import MSDN, AttributeToVisual, VisualToAttribute
from msdn_lit.tasks import ZSLTask

NUM_MAPS = 4  # of MSDN as released


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a step; by default CUB's, with a ResNet-101 at 448 px. Letters as everywhere."""

    B: int = 50
    R: int = 196
    D: int = 2048
    K: int = 312
    C: int = 200
    E: int = 300

    @property
    def num_seen(self) -> int:
        """Three quarters of the classes, as on CUB."""
        return max(1, 3 * self.C // 4)

    def forward_flops(self) -> float:
        """Of the matrix products of one batch: the queries, and their product with the regions."""
        return 2.0 * NUM_MAPS * self.K * self.D * (self.E + self.B * self.R)

    def step_flops(self) -> float:
        """Of the matrix products of a training step: the regions need no gradient, queries and weights do."""
        return 2.0 * NUM_MAPS * self.K * self.D * (3 * self.E + 2 * self.B * self.R)

    def region_bytes(self) -> int:
        """Of the regions of one batch as they are stored, fp16."""
        return 2 * self.B * self.R * self.D


def make_net(shape: Shape) -> MSDN:
    """MSDN as released, for random semantics."""
    subnets = {"attribute_to_visual": AttributeToVisual, "visual_to_attribute": VisualToAttribute}
    return MSDN(torch.randn(shape.K, shape.E), torch.rand(shape.C, shape.K), shape.D, subnets=subnets)


def make_loss(shape: Shape) -> MSDNLoss:
    """The release's loss on CUB."""
    return MSDNLoss(
        torch.arange(shape.num_seen),
        torch.arange(shape.num_seen, shape.C),
        cross_entropy=terms.cross_entropy_release,
        self_calibration=terms.self_calibration_release,
        distillation=terms.distillation_release,
        lambda_cal=0.1,
        lambda_distill=0.001,
        calibration=1.0,
    )


def make_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    """The release's optimizer on CUB."""
    return torch.optim.RMSprop(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)


def make_batch(shape: Shape) -> tuple[Tensor, Tensor]:
    """Regions as stored, fp16, (B, R, D), and labels of seen classes, (B,)."""
    return torch.rand(shape.B, shape.R, shape.D).half(), torch.randint(0, shape.num_seen, (shape.B,))


def make_task(shape: Shape) -> ZSLTask:
    """Net, loss, metric and optimizer of the release on CUB."""
    seen, unseen = torch.arange(shape.num_seen), torch.arange(shape.num_seen, shape.C)
    return ZSLTask(
        make_net(shape),
        make_loss(shape),
        ZSLMetric(seen, unseen, shape.C),
        partial(torch.optim.RMSprop, lr=1e-4, momentum=0.9, weight_decay=1e-4),
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
    file = np.lib.format.open_memmap(folder / REGIONS, mode="w+", dtype=np.float16, shape=manifest.shape)
    rng = np.random.default_rng(0)
    for row in range(num_filled):
        file[row] = rng.random((shape.R, shape.D), dtype=np.float32)
    (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(manifest)))
    return FeatureStore(folder)


def anonymous_gb() -> float:
    """Memory that this process holds beyond the page cache, in GB; Linux tells it."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024 / 1e9
