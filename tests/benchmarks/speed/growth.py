"""Growth of time and memory with the numbers of images, regions, attributes and classes."""

import math
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from msdn_lit.data.batches import SplitDataset
from msdn_lit.data.feature_cache import gather_from_disk
from msdn_lit.data.samplers import ShuffledEpochs
from tests.benchmarks.speed import workload
from tests.benchmarks.speed.timing import (
    Stopwatch,
    TimedProcess,
    anonymous_gb,
    interleave,
    peak_gb,
)
from tests.benchmarks.speed.training import training_step

CPU = torch.device("cpu")
BASE = workload.Shape(R=49, D=512)
LETTERS = {"regions": "R", "attributes": "K", "classes": "C"}
AXES = {
    "images": (10_000, 100_000, 1_000_000),
    "regions": (49, 98, 196, 392, 784),
    "attributes": (125, 250, 500, 1_000),
    "classes": (200, 1_000, 5_000, 21_000),
}
REPETITIONS = 5


class Point(NamedTuple):
    """Results at one size: median seconds of each part, and memory in GB."""

    size: int
    seconds: dict[str, float]
    peak_gb: float


def step_of_size(axis, size):
    """Yields the seconds of a training step and of an evaluation, and the peak memory in GB."""
    shape = replace(BASE, **{LETTERS[axis]: size})
    steps = training_step(shape, CPU, "fp32")
    task = workload.make_task(shape).eval()
    batch = workload.make_batch(shape)
    while True:
        training = next(steps)["step"]
        watch = Stopwatch(CPU)
        with torch.inference_mode():
            task.validation_step(batch, 0)
            task.metric.compute()
        yield {"training step": training, "evaluation": watch.lap(), "peak_gb": peak_gb()}


def store_of_size(num_images):
    """Yields the seconds to open a sparse store and to read new images, and GB beyond files."""
    shape = workload.Shape()
    with TemporaryDirectory() as folder:
        watch = Stopwatch(CPU)
        store = workload.make_store(Path(folder), shape, num_images, num_filled=0)
        rows = np.arange(num_images)
        dataset = SplitDataset(gather_from_disk(store), rows, rows % shape.num_seen)
        batches = ShuffledEpochs(dataset.labels, shape.B, seed=0)
        opening = watch.lap()
        for step in count(1):
            watch = Stopwatch(CPU)
            dataset.__getitems__(batches(step).tolist())
            yield {"opening": opening, "batch": watch.lap(), "peak_gb": anonymous_gb()}


def measure_growth(axis):
    """Measures every size of an axis; returns their points."""
    points = []
    for size in AXES[axis]:
        measurement = (store_of_size,) if axis == "images" else (step_of_size, axis)
        process = TimedProcess(*measurement, size)
        results = interleave({axis: process}, REPETITIONS, consecutive=1)[axis]
        medians = {part: median(result[part] for result in results) for part in results[0]}
        points.append(Point(size, medians, medians.pop("peak_gb")))
    return points


def exponents(points):
    """Returns each part's exponent between the last two sizes: 0 constant, 1 proportional."""
    before, last = points[-2:]
    growth = math.log(last.size / before.size)
    return {
        part: math.log(seconds / before.seconds[part]) / growth
        for part, seconds in last.seconds.items()
    }


def draw_growth(axes, path):
    """Draws a panel of times and a panel of memory for each axis.

    Args:
        axes: Points of each axis by name.
        path: Image file.
    """
    figure = Figure(figsize=(3.4 * len(axes), 5.4), layout="constrained")
    panels = figure.subplots(2, len(axes), squeeze=False, sharex="col")
    for (times, memory), (axis, points) in zip(panels.T, axes.items(), strict=True):
        _draw_times(times, points)
        _draw_memory(memory, axis, points)
    panels[0, 0].set_ylabel("ms")
    panels[1, 0].set_ylabel("memory, GB")
    for panel in panels.flat:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _draw_times(panel, points):
    sizes = [point.size for point in points]
    for part in points[0].seconds:
        panel.loglog(sizes, [1e3 * point.seconds[part] for point in points], marker="o", label=part)
    panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.legend(frameon=False, fontsize="small")


def _draw_memory(panel, axis, points):
    sizes = [point.size for point in points]
    memory = [point.peak_gb for point in points]
    panel.semilogx(sizes, memory, marker="o", color="0.35")
    panel.set(xlabel=axis, ylim=(0, 1.1 * max(memory)))
    panel.set_xticks(sizes, [EngFormatter()(size) for size in sizes])
    panel.xaxis.set_minor_locator(NullLocator())
