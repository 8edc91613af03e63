"""The measurements of `msdn-bench`: one function a section, called by its name."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from tests.benchmarks.speed.contenders import TimedProcess, interleave
from tests.benchmarks.speed.evaluation import (
    NUM_GAMMAS,
    CachedScores,
    Evaluation,
    ReleaseEvaluation,
)
from tests.benchmarks.speed.limits import Copies, Products
from tests.benchmarks.speed.outcome import Comparison, of_parts
from tests.benchmarks.speed.reading import Extraction, Loading
from tests.benchmarks.speed.shape import Shape
from tests.benchmarks.speed.startup import Startup
from tests.benchmarks.speed.training import StackedStep, TrainerSteps, TrainingStep

CUB = 11_788  # images
IN_A_ROW = 3
LONG_REPETITIONS = 3


class Settings(NamedTuple):
    """What is measured, and how often.

    Attributes:
        shape: Of a step.
        device: Where.
        precisions: "fp32", "bf16".
        repetitions: n of everything that takes less than a second; 3 of the rest.
        test_images: Of an evaluation.
        seeds: That train at once.
        backbone: timm's name, and the side of its images.
        images: To extract.
        workers: Processes that decode.
    """

    shape: Shape
    device: torch.device
    precisions: tuple[str, ...]
    repetitions: int
    test_images: int
    seeds: int
    backbone: tuple[str, int]
    images: int
    workers: int


def step(settings: Settings) -> Iterator[Comparison]:
    """A training step against the release's and against its matrix products alone."""
    shape, device = settings.shape, settings.device
    for precision in settings.precisions:
        results = interleave(
            {
                "ours": TimedProcess(TrainingStep, shape, device, precision),
                "release": TimedProcess(
                    TrainingStep, shape, device, "fp32", True, keeps_memory=False
                ),
                "kept": TimedProcess(TrainingStep, shape, device, "fp32", True),
                "products": TimedProcess(Products, shape, device, precision),
            },
            settings.repetitions,
            IN_A_ROW,
        )
        for part in ("step", "forward", "backward", "optimizer"):
            limit = of_parts(results["products"], part) if part in ("step", "forward") else []
            ours, release = of_parts(results["ours"], part), of_parts(results["release"], part)
            yield Comparison(f"{part}, {precision}", "ms", ours, release, limit)
        ours, release = of_parts(results["ours"], "step"), of_parts(results["kept"], "step")
        yield Comparison(
            f"step, {precision}; the release keeps freed memory, too", "ms", ours, release
        )


def trainer(settings: Settings) -> Iterator[Comparison]:
    """What a Lightning trainer adds to a step, with loading and logging, and the memory that training needs."""
    for precision in settings.precisions:
        contender = TimedProcess(TrainerSteps, settings.shape, settings.device, precision, 12, CUB)
        results = interleave({"ours": contender}, LONG_REPETITIONS)["ours"]
        yield Comparison(f"step in the trainer, {precision}", "ms", of_parts(results, "interval"))
        if settings.device.type == "cpu":
            yield Comparison(
                f"of which Lightning and loader, {precision}", "ms", of_parts(results, "rest")
            )
        else:
            yield Comparison(
                f"memory of the GPU, {CUB:,} images, {precision}",
                "GB",
                of_parts(results, "gpu_gb", 1),
            )
        yield Comparison(
            f"memory beyond files, {CUB:,} images, {precision}", "GB", of_parts(results, "gb", 1)
        )


def seeds(settings: Settings) -> Iterator[Comparison]:
    """Several seeds at once against one after the other."""
    shape, device, number = settings.shape, settings.device, settings.seeds
    for precision in settings.precisions:
        results = interleave(
            {
                "ours": TimedProcess(StackedStep, shape, device, precision, number),
                "alone": TimedProcess(TrainingStep, shape, device, precision),
            },
            settings.repetitions,
            IN_A_ROW,
        )
        limit = of_parts(results["alone"], "step", 1e3 * number)
        what = f"step of {number} seeds at once, {precision} (limit: {number} steps)"
        yield Comparison(what, "ms", [1e3 * seconds for seconds in results["ours"]], limit=limit)


def evaluation(settings: Settings) -> Iterator[Comparison]:
    """An evaluation of all test images, and scores of cached logits."""
    shape, device, N = settings.shape, settings.device, settings.test_images
    for precision in settings.precisions:
        results = interleave(
            {
                "ours": TimedProcess(Evaluation, shape, device, precision, N),
                "release": TimedProcess(ReleaseEvaluation, shape, device, N, keeps_memory=False),
                "products": TimedProcess(Products, shape, device, precision),
            },
            LONG_REPETITIONS,
        )
        limit = [N / shape.B * result["forward"] for result in results["products"]]
        yield Comparison(
            f"evaluation of {N:,} images, {precision}",
            "s",
            results["ours"],
            results["release"],
            limit,
        )
    seconds = interleave({"ours": TimedProcess(CachedScores, shape, N)}, settings.repetitions)[
        "ours"
    ]
    yield Comparison(
        f"T1, and U, S, H at {NUM_GAMMAS} gammas, from cached logits",
        "ms",
        [1e3 * s for s in seconds],
    )


def loading(settings: Settings) -> Iterator[Comparison]:
    """A batch against a copy of as many bytes."""
    shape, device = settings.shape, settings.device
    results = interleave(
        {"ours": TimedProcess(Loading, shape, device), "copy": TimedProcess(Copies, shape, device)},
        settings.repetitions,
        IN_A_ROW,
    )
    ours, limit = ([1e3 * seconds for seconds in results[name]] for name in ("ours", "copy"))
    yield Comparison(
        f"loading of a batch, {shape.region_bytes() / 1e6:.0f} MB", "ms", ours, limit=limit
    )


def extraction(settings: Settings) -> Iterator[Comparison]:
    """The whole way from files to a store against the bare net."""
    name, size = settings.backbone
    for precision in settings.precisions:
        measured = (name, size, settings.images, settings.device, precision, settings.workers)
        results = interleave({"ours": TimedProcess(Extraction, *measured)}, LONG_REPETITIONS)[
            "ours"
        ]
        ours, limit = of_parts(results, "whole", 1), of_parts(results, "bare", 1)
        yield Comparison(
            f"extraction of {settings.images} images, {name}, {size} px, {precision}",
            "s",
            ours,
            limit=limit,
        )


def startup(settings: Settings) -> Iterator[Comparison]:
    """What a user waits for first."""
    results = interleave({"ours": TimedProcess(Startup)}, LONG_REPETITIONS)["ours"]
    limit = of_parts(results, "torch", 1)
    yield Comparison("msdn-train --help", "s", of_parts(results, "help", 1))
    what = "first training step after the command (limit: import torch)"
    yield Comparison(what, "s", of_parts(results, "first_step", 1), limit=limit)
