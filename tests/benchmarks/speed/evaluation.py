"""An evaluation of all test images, and scores from cached logits."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from msdn_lit.data.batches import BatchLoader, SplitDataset
from msdn_lit.metrics.curve import scores_at, seen_unseen_curve
from msdn_lit.metrics.functional import fuse_logits
from tests.benchmarks.speed.contenders import Stopwatch
from tests.benchmarks.speed.release import ReleaseOrder
from tests.benchmarks.speed.shape import Shape
from tests.benchmarks.speed.workload import (
    NUM_STORED,
    make_net,
    make_task,
    make_trainer,
    roles,
    stored,
)

BATCH_SIZE = 64
NUM_GAMMAS = 100


class Evaluation:
    """A Lightning evaluation of `num_images` images; the store is in memory and smaller, its images come again.

    Args:
        shape: Of an image, and of the classes.
        device: Where.
        precision: "fp32" or "bf16".
        num_images: N; CUB's test splits have 4,731.
    """

    def __init__(self, shape: Shape, device: torch.device, precision: str, num_images: int) -> None:
        self.device, self.folder = device, TemporaryDirectory()
        gather = stored(Path(self.folder.name), shape, device)
        rows = np.arange(num_images) % NUM_STORED
        dataset = SplitDataset(gather, rows, np.arange(NUM_STORED) % shape.C)
        self.loader = BatchLoader(dataset, batch_size=BATCH_SIZE)
        self.task = make_task(shape)
        self.trainer = make_trainer(device, precision, logger=False, enable_progress_bar=False)

    def __call__(self) -> float:
        """Seconds of one evaluation."""
        watch = Stopwatch(self.device)
        self.trainer.validate(self.task, self.loader, verbose=False)
        return watch.lap()


class ReleaseEvaluation:
    """The forward passes of an evaluation in the release's order, on one batch that is there.

    Args:
        shape: Of an image, and of the classes.
        device: Where.
        num_images: N.
    """

    def __init__(self, shape: Shape, device: torch.device, num_images: int) -> None:
        self.device, self.num_batches = device, -(-num_images // BATCH_SIZE)
        self.net = ReleaseOrder(make_net(shape)).to(device)
        self.maps_BDR = torch.rand(BATCH_SIZE, shape.D, shape.R).to(device)

    @torch.inference_mode()
    def __call__(self) -> float:
        """Seconds of all batches."""
        watch = Stopwatch(self.device)
        for _ in range(self.num_batches):
            self.net(self.maps_BDR)
        return watch.lap()


class CachedScores:
    """U, S and H at many calibrations, and T1, from logits that were kept.

    Args:
        shape: Of the classes.
        num_images: N.
    """

    def __init__(self, shape: Shape, num_images: int) -> None:
        self.logits = [torch.randn(num_images, shape.C) for _ in range(2)]
        self.labels_N = torch.arange(num_images) % shape.C
        self.seen, self.unseen = roles(shape)

    def __call__(self) -> float:
        """Seconds of all of them."""
        watch = Stopwatch(torch.device("cpu"))
        fused_NC = fuse_logits(self.logits, (0.9, 0.1), self.unseen, calibration=0.0)
        curve = seen_unseen_curve(fused_NC, self.labels_N, self.seen, self.unseen)
        scores_at(curve, torch.linspace(-2, 2, NUM_GAMMAS))
        scores_at(curve, torch.tensor([torch.inf]))  # T1: every image is taken for an unseen class
        return watch.lap()
