"""A training step: what it computes, and what Lightning and the loader add."""

import statistics
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from msdn_lit.data.batches import SplitDataset, StepLoader
from msdn_lit.data.samplers import StepSampler, UniformBatches
from msdn_lit.tasks import StackedTask
from msdn_lit.training.process import anonymous_gb
from tests.benchmarks.speed.contenders import Stopwatch, autocast
from tests.benchmarks.speed.release import ReleaseOrder
from tests.benchmarks.speed.shape import Shape
from tests.benchmarks.speed.workload import (
    NUM_STORED,
    make_batch,
    make_loss,
    make_net,
    make_optimizer,
    make_task,
    make_trainer,
    stored,
)


class TrainingStep:
    """One step without Lightning, on one batch that is there.

    Args:
        shape: Of the step.
        device: Where.
        precision: "fp32" or "bf16".
        release: Compute in the release's order instead of ours.
    """

    def __init__(
        self, shape: Shape, device: torch.device, precision: str, release: bool = False
    ) -> None:
        self.device, self.precision, self.release = device, precision, release
        net, (regions_BRD, labels_B) = make_net(shape), make_batch(shape)
        self.net = (ReleaseOrder(net) if release else net).to(device)
        self.loss, self.labels_B = make_loss(shape).to(device), labels_B.to(device)
        self.inputs = (
            regions_BRD.float().transpose(1, 2).contiguous() if release else regions_BRD
        ).to(device)
        self.optimizer = make_optimizer(self.net.parameters())

    def __call__(self) -> dict[str, float]:
        """Seconds of the whole step and of its parts."""
        watch = Stopwatch(self.device)
        self.optimizer.zero_grad()
        with autocast(self.device, self.precision):
            outputs = self.net(self.inputs)
            loss = self.loss(
                outputs if self.release else [output.logits_BC for output in outputs], self.labels_B
            ).loss
        forward = watch.lap()
        loss.backward()
        backward = watch.lap()
        self.optimizer.step()
        optimizer = watch.lap()
        return {
            "step": forward + backward + optimizer,
            "forward": forward,
            "backward": backward,
            "optimizer": optimizer,
        }


class StackedStep:
    """One step of several models at once, as `protocol.seeds_in_parallel` takes it.

    Args:
        shape: Of each model's step.
        device: Where.
        precision: "fp32" or "bf16".
        number: S.
    """

    def __init__(self, shape: Shape, device: torch.device, precision: str, number: int) -> None:
        self.device, self.precision = device, precision
        self.task = StackedTask([make_task(shape) for _ in range(number)]).to(device)
        batches = [make_batch(shape) for _ in range(number)]
        self.batch = tuple(torch.cat(parts).to(device) for parts in zip(*batches, strict=True))
        self.optimizer = make_optimizer(self.task.net.parameters())

    def __call__(self) -> float:
        """Seconds of the whole step."""
        watch = Stopwatch(self.device)
        self.optimizer.zero_grad()
        with autocast(self.device, self.precision):
            loss = self.task.loss_of_batch(*self.batch).loss.sum()
        loss.backward()
        self.optimizer.step()
        return watch.lap()


class TrainerSteps:
    """Steps of a Lightning trainer on a feature store, with the callbacks that take part in every step of msdn-train.

    Args:
        shape: Of the step.
        device: Where.
        precision: "fp32" or "bf16".
        num_steps: Steps of a measurement; the first two do not count.
        num_images: N of the store; on the CPU all but the first are holes in its file.
    """

    def __init__(
        self,
        shape: Shape,
        device: torch.device,
        precision: str,
        num_steps: int = 12,
        num_images: int = NUM_STORED,
    ) -> None:
        self.shape, self.device, self.precision, self.num_steps = (
            shape,
            device,
            precision,
            num_steps,
        )
        self.folder = TemporaryDirectory()
        self.gather = stored(Path(self.folder.name), shape, device, num_images)
        self.task = make_task(shape)

    def __call__(self) -> dict[str, float]:
        """Medians of a step: seconds of its whole "interval" and of the "rest" in it; GB beyond files, and of a GPU."""
        rows = np.arange(NUM_STORED)
        dataset = SplitDataset(self.gather, rows, rows % self.shape.num_seen)
        sampler = StepSampler(
            UniformBatches(dataset.labels, self.shape.B, seed=0), 0, self.num_steps
        )
        clock = ComputeClock()
        trainer = make_trainer(
            self.device,
            self.precision,
            max_steps=self.num_steps,
            log_every_n_steps=1000,
            logger=CSVLogger(self.folder.name),
            callbacks=[clock, RichProgressBar(refresh_rate=1000)],
            enable_model_summary=False,
        )
        with redirect_stdout(StringIO()):  # the progress bar's
            trainer.fit(self.task, StepLoader(dataset, batch_sampler=sampler))
        medians = {
            name: statistics.median(step[name] for step in clock.steps[2:])
            for name in clock.steps[0]
        }
        on_gpu = (
            torch.cuda.max_memory_allocated(self.device) / 1e9
            if self.device.type == "cuda"
            else 0.0
        )
        return medians | {"gb": anonymous_gb(), "gpu_gb": on_gpu}


class ComputeClock(Callback):
    """Divides the steps of a trainer on the CPU into computing (net, loss, backward, optimizer) and everything else.

    Attributes:
        steps: For each, seconds of the whole "interval" up to the next one, and of what is "rest".
    """

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self._computed, self._began, self._step_began = 0.0, 0.0, 0.0

    def start(self, *_: object) -> None:
        """Computing begins."""
        self._began = time.perf_counter()

    def stop(self, *_: object) -> None:
        """Computing ends."""
        self._computed += time.perf_counter() - self._began

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Listens to net, loss and optimizer."""
        for part in (pl_module.net, pl_module.loss):
            part.register_forward_pre_hook(self.start)  # type: ignore[union-attr]
            part.register_forward_hook(self.stop)  # type: ignore[union-attr]
        trainer.optimizers[0].register_step_post_hook(self.stop)

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Backward begins."""
        self.start()

    def on_after_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Backward ends."""
        self.stop()

    def on_before_optimizer_step(self, *_: object) -> None:
        """The optimizer begins."""
        self.start()

    def on_train_batch_start(self, *_: Any) -> None:
        """A step has ended with the loading of the next batch."""
        now = time.perf_counter()
        if self._step_began:
            interval = now - self._step_began
            self.steps.append({"interval": interval, "rest": interval - self._computed})
        self._computed, self._step_began = 0.0, now
