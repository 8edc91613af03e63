"""Time and memory as the images, regions, attributes and classes become more."""

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from msdn_lit.data.batches import SplitDataset
from msdn_lit.data.feature_cache import gather_from_disk
from msdn_lit.data.samplers import ShuffledEpochs
from msdn_lit.training.process import anonymous_gb, peak_gb
from tests.benchmarks.speed.contenders import Stopwatch, TimedProcess
from tests.benchmarks.speed.shape import Shape
from tests.benchmarks.speed.training import TrainingStep
from tests.benchmarks.speed.workload import make_batch, make_store, make_task

BASE = Shape(R=49, D=512)
AXES = {
    "images": (10_000, 100_000, 1_000_000),
    "regions": (49, 98, 196, 392, 784),
    "attributes": (125, 250, 500, 1_000),
    "classes": (200, 1_000, 5_000, 21_000),
}
REPETITIONS = 5


class Point(NamedTuple):
    """One size: median seconds of each part, and the process's peak memory in GB."""

    size: int
    seconds: dict[str, float]
    peak_gb: float


class StepAt:
    """A training step, and the evaluation of as many images, at one size of one axis.

    Args:
        axis: "regions", "attributes" or "classes".
        size: Of it.
    """

    def __init__(self, axis: str, size: int) -> None:
        letter = {"regions": "R", "attributes": "K", "classes": "C"}[axis]
        shape = replace(BASE, **{letter: size})
        cpu = torch.device("cpu")
        self.step = TrainingStep(shape, cpu, "fp32")
        self.task, self.batch = make_task(shape).eval(), make_batch(shape)

    def __call__(self) -> dict[str, float]:
        """Seconds of each, and the peak memory in GB."""
        training = self.step()["step"]
        watch = Stopwatch(torch.device("cpu"))
        with torch.inference_mode():
            self.task.validation_step(self.batch, 0)
            self.task.metric.compute()
        return {"training step": training, "evaluation": watch.lap(), "peak_gb": peak_gb()}


class StoreOf:
    """Batches out of a sparse store of many images.

    Args:
        num_images: N.
    """

    def __init__(self, num_images: int) -> None:
        self.folder, self.num_images = TemporaryDirectory(), num_images
        watch = Stopwatch(torch.device("cpu"))
        store = make_store(Path(self.folder.name), Shape(), num_images, num_filled=0)
        rows = np.arange(num_images)
        self.dataset = SplitDataset(gather_from_disk(store), rows, rows % 150)
        self.draw, self.step = ShuffledEpochs(self.dataset.labels, Shape().B, seed=0), 0
        self.opened = watch.lap()

    def __call__(self) -> dict[str, float]:
        """Seconds to open the store and to draw and read a batch, and the memory held beyond the page cache in GB."""
        self.step += 1
        watch = Stopwatch(torch.device("cpu"))
        self.dataset.__getitems__(self.draw(self.step).tolist())
        return {"opening": self.opened, "batch": watch.lap(), "peak_gb": anonymous_gb()}


def grow(axis: str) -> list[Point]:
    """Measures every size of an axis."""
    points = []
    for size in AXES[axis]:
        contender = (
            TimedProcess(StoreOf, size) if axis == "images" else TimedProcess(StepAt, axis, size)
        )
        with contender:
            results = [contender() for _ in range(REPETITIONS + 1)][1:]
        parts = {
            name: float(np.median([result[name] for result in results])) for name in results[0]
        }
        points.append(Point(size, parts, parts.pop("peak_gb")))
    return points


def exponents(points: list[Point]) -> dict[str, float]:
    """How each part grows between the last two sizes: 0 not at all, 1 in proportion."""
    before, last = points[-2:]
    times = math.log(last.size / before.size)
    return {
        name: math.log(last.seconds[name] / before.seconds[name]) / times for name in last.seconds
    }


def draw_growth(grown: dict[str, list[Point]], path: Path) -> None:
    """Draws a panel of times and one of memory for each axis."""
    figure = Figure(figsize=(3.4 * len(grown), 5.4), layout="constrained")
    panels = figure.subplots(2, len(grown), squeeze=False, sharex="col")
    for (times, memory), (axis, points) in zip(panels.T, grown.items(), strict=True):
        sizes = [point.size for point in points]
        for name in points[0].seconds:
            times.loglog(
                sizes, [1e3 * point.seconds[name] for point in points], marker="o", label=name
            )
        memory.semilogx(sizes, [point.peak_gb for point in points], marker="o", color="0.35")
        memory.set(xlabel=axis, ylim=(0, 1.1 * max(point.peak_gb for point in points)))
        memory.set_xticks(sizes, [EngFormatter()(size) for size in sizes])
        memory.xaxis.set_minor_locator(NullLocator())
        times.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        times.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        times.yaxis.set_minor_locator(NullLocator())
        times.legend(frameon=False, fontsize="small")
    panels[0, 0].set_ylabel("ms")
    panels[1, 0].set_ylabel("memory, GB")
    for panel in panels.flat:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
