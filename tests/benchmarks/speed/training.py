"""Training steps: alone, of several seeds at once, and in a Lightning trainer."""

import statistics
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import CSVLogger

from msdn_lit.data.batches import SplitDataset, StepLoader
from msdn_lit.data.samplers import StepSampler, UniformBatches
from msdn_lit.tasks import StackedTask
from tests.benchmarks.speed import workload
from tests.benchmarks.speed.release import ReleaseOrder
from tests.benchmarks.speed.timing import (
    Stopwatch,
    TimedProcess,
    anonymous_gb,
    compare,
    interleave,
)

CUB_IMAGES = 11_788


def training_step(shape, device, precision, release=False):
    """Yields the seconds of a step without Lightning and of its parts, on a batch in memory."""
    net = workload.make_net(shape)
    inputs, labels_B = workload.make_batch(shape)
    if release:
        net, inputs = ReleaseOrder(net), inputs.float().transpose(1, 2).contiguous()
    net, inputs, labels_B = net.to(device), inputs.to(device), labels_B.to(device)
    loss_function = workload.make_loss(shape).to(device)
    optimizer = workload.make_optimizer(net.parameters())
    while True:
        watch = Stopwatch(device)
        optimizer.zero_grad()
        with workload.autocast(device, precision):
            loss = loss_function(net(inputs), labels_B).loss
        parts = {"forward": watch.lap()}
        loss.backward()
        parts["backward"] = watch.lap()
        optimizer.step()
        parts["optimizer"] = watch.lap()
        yield parts | {"step": sum(parts.values())}


def products(shape, device, precision):
    """Yields the seconds of a step's matrix products at the rate of the two large ones alone."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rows, columns = workload.NUM_MAPS * shape.K, shape.B * shape.R
    queries = torch.rand(rows, shape.D, device=device, dtype=dtype)
    regions = torch.rand(columns, shape.D, device=device, dtype=dtype)
    maps = torch.rand(rows, columns, device=device, dtype=dtype)
    gradient = torch.empty_like(queries)
    flops = 2 * rows * columns * shape.D  # of each of the two
    while True:
        watch = Stopwatch(device)
        torch.mm(queries, regions.T, out=maps)  # into memory that exists
        forward = watch.lap()
        torch.mm(maps, regions, out=gradient)
        both = forward + watch.lap()
        yield {
            "forward": forward * shape.forward_flops() / flops,
            "step": both * shape.step_flops() / (2 * flops),
        }


def stacked_step(shape, device, precision, number):
    """Yields the seconds of one step of several models, as with `protocol.seeds_in_parallel`."""
    task = StackedTask([workload.make_task(shape) for _ in range(number)]).to(device)
    batches = [workload.make_batch(shape) for _ in range(number)]
    batch = [torch.cat(parts).to(device) for parts in zip(*batches, strict=True)]
    optimizer = workload.make_optimizer(task.net.parameters())
    while True:
        watch = Stopwatch(device)
        optimizer.zero_grad()
        with workload.autocast(device, precision):
            loss = task.loss_of_batch(*batch).loss.sum()
        loss.backward()
        optimizer.step()
        yield {"step": watch.lap()}


def trainer_steps(shape, device, precision, num_images, num_steps=12):
    """Yields medians of a Lightning trainer's steps, and the memory of the process in GB.

    Args:
        shape: Shape of the step.
        device: Device of the trainer.
        precision: "fp32" or "bf16".
        num_images: Images in the feature store.
        num_steps: Steps of the trainer; the first two warm up.
    """
    rows = np.arange(workload.NUM_FILLED)
    task = workload.make_task(shape)
    with TemporaryDirectory() as folder:
        gather = workload.make_gather(Path(folder), shape, device, num_images)
        dataset = SplitDataset(gather, rows, rows % shape.num_seen)
        batches = UniformBatches(dataset.labels, shape.B, seed=0)
        while True:
            clock = StepClock()
            trainer = workload.make_trainer(
                device,
                precision,
                max_steps=num_steps,
                log_every_n_steps=1000,
                logger=CSVLogger(folder),
                callbacks=[clock, RichProgressBar(refresh_rate=1000)],
                enable_model_summary=False,
            )
            loader = StepLoader(dataset, batch_sampler=StepSampler(batches, 0, num_steps))
            with redirect_stdout(StringIO()):  # the progress bar prints
                trainer.fit(task, loader)
            result = clock.medians(skip=2)
            if device.type == "cuda":
                result["gpu_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
                del result["rest"]  # the GPU computes while the clock already counts the rest
            yield result | {"gb": anonymous_gb()}


class StepClock(Callback):
    """Divides the steps of a trainer into computation (net, loss, backward, optimizer) and rest."""

    def __init__(self):
        self.steps = []  # seconds of each: the "interval" until the next step, the "rest" in it
        self._watch = None  # until the first step

    def medians(self, skip):
        """Returns the medians over the steps after the first ones."""
        parts = ("interval", "rest")
        return {part: statistics.median(step[part] for step in self.steps[skip:]) for part in parts}

    def on_train_start(self, trainer, pl_module):
        for part in (pl_module.net, pl_module.loss):
            part.register_forward_pre_hook(self._begin_computation)
            part.register_forward_hook(self._end_computation)
        trainer.optimizers[0].register_step_post_hook(self._end_computation)

    def on_before_backward(self, *_):
        self._begin_computation()

    def on_after_backward(self, *_):
        self._end_computation()

    def on_before_optimizer_step(self, *_):
        self._begin_computation()

    def on_train_batch_start(self, *_):
        if self._watch:  # the previous step ends with the loading of this step's batch
            self._begin_computation()
            self.steps.append({"interval": self._computed + self._rest, "rest": self._rest})
        self._watch = Stopwatch(torch.device("cpu"))
        self._computed = 0.0
        self._rest = 0.0

    def _begin_computation(self, *_):
        self._rest += self._watch.lap()

    def _end_computation(self, *_):
        self._computed += self._watch.lap()


def step(options):
    """Compares a training step with the release's, and with its matrix products alone."""
    shape, device = options.shape, options.device
    release = (training_step, shape, device, "fp32", True)
    for precision in options.precision:
        processes = {
            "ours": TimedProcess(training_step, shape, device, precision),
            "release": TimedProcess(*release, keeps_memory=False),
            "keeping release": TimedProcess(*release),
            "limit": TimedProcess(products, shape, device, precision),
        }
        results = interleave(processes, options.repetitions)
        for part in ("step", "forward", "backward", "optimizer"):
            yield compare(f"{part}, {precision}", "ms", results, part)
        keeping = {"ours": results["ours"], "release": results["keeping release"]}
        what = f"step, {precision}; the release also retains freed memory"
        yield compare(what, "ms", keeping, "step")


def trainer(options):
    """Measures what a trainer adds to a step, and the memory of training on CUB's images."""
    rows = {
        "interval": ("step in the trainer", "ms"),
        "rest": ("of which Lightning and loader", "ms"),
        "gpu_gb": (f"memory of the GPU, {CUB_IMAGES:,} images", "GB"),
        "gb": (f"memory beyond files, {CUB_IMAGES:,} images", "GB"),
    }
    for precision in options.precision:
        measurement = (trainer_steps, options.shape, options.device, precision, CUB_IMAGES)
        results = interleave({"ours": TimedProcess(*measurement)})
        for part, (what, unit) in rows.items():
            if part in results["ours"][0]:
                yield compare(f"{what}, {precision}", unit, results, part)


def seeds(options):
    """Compares a step of several seeds at once with their steps one after the other."""
    shape, device, number = options.shape, options.device, options.seeds
    for precision in options.precision:
        processes = {
            "ours": TimedProcess(stacked_step, shape, device, precision, number),
            "alone": TimedProcess(training_step, shape, device, precision),
        }
        results = interleave(processes, options.repetitions)
        results["limit"] = [{"step": number * result["step"]} for result in results["alone"]]
        what = f"step of {number} seeds at once, {precision} (limit: {number} steps)"
        yield compare(what, "ms", results, "step")
