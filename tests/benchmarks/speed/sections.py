"""The measurements of `msdn-bench`: one function a section, called by its name."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from tests.benchmarks.speed.contenders import Contender, in_turn
from tests.benchmarks.speed.evaluation import NUM_GAMMAS, CachedScores, Evaluation, ReleaseEvaluation
from tests.benchmarks.speed.limits import Copies, Products
from tests.benchmarks.speed.outcome import Outcome, of_parts
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


def step(settings: Settings) -> Iterator[Outcome]:
    """A training step against the release's and against its matrix products alone."""
    shape, device = settings.shape, settings.device
    for precision in settings.precisions:
        results = in_turn(
            {
                "ours": Contender(TrainingStep, shape, device, precision),
                "release": Contender(TrainingStep, shape, device, "fp32", True, keeps_memory=False),
                "kept": Contender(TrainingStep, shape, device, "fp32", True),
                "products": Contender(Products, shape, device, precision),
            },
            settings.repetitions,
            IN_A_ROW,
        )
        for part in ("step", "forward", "backward", "optimizer"):
            limit = of_parts(results["products"], part) if part in ("step", "forward") else []
            ours, release = of_parts(results["ours"], part), of_parts(results["release"], part)
            yield Outcome(f"{part}, {precision}", "ms", ours, release, limit)
        ours, release = of_parts(results["ours"], "step"), of_parts(results["kept"], "step")
        yield Outcome(f"step, {precision}; the release keeps freed memory, too", "ms", ours, release)


def trainer(settings: Settings) -> Iterator[Outcome]:
    """What a Lightning trainer adds to a step, with loading and logging, and the memory that training needs."""
    for precision in settings.precisions:
        contender = Contender(TrainerSteps, settings.shape, settings.device, precision, 12, CUB)
        results = in_turn({"ours": contender}, LONG_REPETITIONS)["ours"]
        yield Outcome(f"step in the trainer, {precision}", "ms", of_parts(results, "interval"))
        if settings.device.type == "cpu":
            yield Outcome(f"of which Lightning and loader, {precision}", "ms", of_parts(results, "rest"))
        else:
            yield Outcome(f"memory of the GPU, {CUB:,} images, {precision}", "GB", of_parts(results, "gpu_gb", 1))
        yield Outcome(f"memory beyond files, {CUB:,} images, {precision}", "GB", of_parts(results, "gb", 1))


def seeds(settings: Settings) -> Iterator[Outcome]:
    """Several seeds at once against one after the other."""
    shape, device, number = settings.shape, settings.device, settings.seeds
    for precision in settings.precisions:
        results = in_turn(
            {
                "ours": Contender(StackedStep, shape, device, precision, number),
                "alone": Contender(TrainingStep, shape, device, precision),
            },
            settings.repetitions,
            IN_A_ROW,
        )
        limit = of_parts(results["alone"], "step", 1e3 * number)
        what = f"step of {number} seeds at once, {precision} (limit: {number} steps)"
        yield Outcome(what, "ms", [1e3 * seconds for seconds in results["ours"]], limit=limit)


def evaluation(settings: Settings) -> Iterator[Outcome]:
    """An evaluation of all test images, and scores of cached logits."""
    shape, device, N = settings.shape, settings.device, settings.test_images
    for precision in settings.precisions:
        results = in_turn(
            {
                "ours": Contender(Evaluation, shape, device, precision, N),
                "release": Contender(ReleaseEvaluation, shape, device, N, keeps_memory=False),
                "products": Contender(Products, shape, device, precision),
            },
            LONG_REPETITIONS,
        )
        limit = [N / shape.B * result["forward"] for result in results["products"]]
        yield Outcome(f"evaluation of {N:,} images, {precision}", "s", results["ours"], results["release"], limit)
    seconds = in_turn({"ours": Contender(CachedScores, shape, N)}, settings.repetitions)["ours"]
    yield Outcome(f"T1, and U, S, H at {NUM_GAMMAS} gammas, from cached logits", "ms", [1e3 * s for s in seconds])


def loading(settings: Settings) -> Iterator[Outcome]:
    """A batch against a copy of as many bytes."""
    shape, device = settings.shape, settings.device
    results = in_turn(
        {"ours": Contender(Loading, shape, device), "copy": Contender(Copies, shape, device)},
        settings.repetitions,
        IN_A_ROW,
    )
    ours, limit = ([1e3 * seconds for seconds in results[name]] for name in ("ours", "copy"))
    yield Outcome(f"loading of a batch, {shape.region_bytes() / 1e6:.0f} MB", "ms", ours, limit=limit)


def extraction(settings: Settings) -> Iterator[Outcome]:
    """The whole way from files to a store against the bare net."""
    name, size = settings.backbone
    for precision in settings.precisions:
        measured = (name, size, settings.images, settings.device, precision, settings.workers)
        results = in_turn({"ours": Contender(Extraction, *measured)}, LONG_REPETITIONS)["ours"]
        ours, limit = of_parts(results, "whole", 1), of_parts(results, "bare", 1)
        yield Outcome(f"extraction of {settings.images} images, {name}, {size} px, {precision}", "s", ours, limit=limit)


def startup(settings: Settings) -> Iterator[Outcome]:
    """What a user waits for first."""
    results = in_turn({"ours": Contender(Startup)}, LONG_REPETITIONS)["ours"]
    limit = of_parts(results, "torch", 1)
    yield Outcome("msdn-train --help", "s", of_parts(results, "help", 1))
    what = "first training step after the command (limit: import torch)"
    yield Outcome(what, "s", of_parts(results, "first_step", 1), limit=limit)
