"""Training of one model or of several seeds at once: fit, evaluate, save, record."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException

from msdn_lit.callbacks import EvaluationHistory
from msdn_lit.data import ZSLDataModule
from msdn_lit.errors import ConfigError, one_line
from msdn_lit.files import write_atomically
from msdn_lit.runs.layout import BACKBONE, METRICS, RESULT, RUN_FILES, STATEMENTS, checkpoint_path
from msdn_lit.runs.record import Remarks, Resources, RunRecord
from msdn_lit.tasks import ZSLTask
from msdn_lit.training.backbone import write_backbone
from msdn_lit.training.checks import cross_entropies, limited_training, warning
from msdn_lit.training.loggers import closing_loggers, log_artifacts, open_loggers
from msdn_lit.training.process import passing_interrupts, peak_memory_gb
from msdn_lit.training.run_folder import clear, is_inside


@dataclass(frozen=True)
class SeedRun:
    """One seed of a training: its model, its record and its evaluations."""

    task: ZSLTask
    record: RunRecord
    history: EvaluationHistory


@dataclass(frozen=True)
class Training:
    """Everything that a training needs; `msdn_lit.build.training` makes one from a config.

    Attributes:
        module: Module that the trainer fits: the only task, or the stack of all tasks.
        data: Data, set up.
        trainer: Lightning trainer with its callbacks and loggers.
        runs: One entry for each seed.
        folder: Run folder; the folders of several seeds are inside it.
        checkpoint: Checkpoint from which the training continues; None starts from the first step.
        objective: Name of the score that a sweep maximises; "" for none.
        first_step: Training steps of the checkpoint.
        replaces: Whether it replaces the run that the folder holds.
        write_bundle: Function that writes the bundle of the finished run into a folder.
    """

    module: ZSLTask
    data: ZSLDataModule
    trainer: Trainer
    runs: Sequence[SeedRun]
    folder: Path
    checkpoint: Path | None = None
    objective: str = ""
    first_step: int = 0
    replaces: bool = False
    write_bundle: Callable[[Path], None] | None = None


class Outcome(NamedTuple):
    """What a training returns.

    Attributes:
        results: Content of each seed's result.json; empty on all ranks but the first.
        objective: Score that a sweep maximises, the mean over the seeds; None for none.
    """

    results: list[dict[str, Any]]
    objective: float | None


def fit(training: Training) -> Outcome:
    """Trains to the last step, evaluates there, and writes checkpoints and results.

    Raises:
        UserError: A setting is not valid, or training has diverged.
    """
    trainer = training.trainer
    if trainer.is_global_zero:
        clear(training.folder, _outdated(training))
        for run in training.runs:
            run.record.write_start(training.data)
    with closing_loggers(trainer), passing_interrupts():
        open_loggers(trainer, training.runs[0].record.metadata(training.data))
        losses = _fit(training)
        objectives = [
            run.history.best(training.objective) for run in training.runs if training.objective
        ]
        results = _write_results(training, objectives, losses) if trainer.is_global_zero else []
        if results:
            log_artifacts(trainer, training.runs[0].record, training.write_bundle)
    return Outcome(results, statistics.mean(objectives) if objectives else None)


def _fit(training: Training) -> list[float]:
    """Trains, evaluates and saves; returns the last cross-entropy of each model.

    Raises:
        ConfigError: A setting of the trainer does not fit the data.
    """
    trainer, module, data = training.trainer, training.module, training.data
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        trainer.fit(module, data, ckpt_path=training.checkpoint, weights_only=True)
    except MisconfigurationException as error:  # a setting that does not fit the data
        raise ConfigError(one_line(error), action="Correct that setting of trainer.") from error
    losses = cross_entropies(trainer)
    if any(trainer.global_step not in run.history.scores_at for run in training.runs):
        trainer.validate(module, data, verbose=False, weights_only=True)
    trainer.save_checkpoint(checkpoint_path(training.folder), weights_only=False)  # to resume
    return losses


def _outdated(training: Training) -> Sequence[str]:
    """Returns the files of an earlier run that would stand beside those of this training."""
    if is_inside(training.checkpoint, training.folder):
        return STATEMENTS
    return RUN_FILES if training.replaces else METRICS


def _write_results(
    training: Training, objectives: Sequence[float], losses: Sequence[float]
) -> list[dict[str, Any]]:
    resources = used_resources(training.trainer)
    results = []
    for index, run in enumerate(training.runs):
        scores = run.history.summary()
        seed, steps = run.record.description.seed, training.trainer.global_step
        path = run.record.folder / BACKBONE
        backbone = write_backbone(path, run.task, training.data, seed=seed, steps=steps)
        result = run.record.write_result(
            training.data,
            scores,
            resources,
            objectives[index] if objectives else None,
            Remarks(
                partial=_partial(training, run),
                warning=warning(scores["last"], training.data, run.task, losses[index]),
                first_step=training.first_step,
                backbone=backbone,
            ),
        )
        results.append(result)
    if len(results) > 1:
        _write_means(training.folder / RESULT, results)
    return results


def _partial(training: Training, run: SeedRun) -> str:
    about = run.record.description
    debug = about.choices.get("debug")
    max_steps = about.config["trainer"]["max_steps"]
    limited = limited_training(training.trainer, training.module, max_steps)
    reasons = (f"debug={debug}" if debug else "", limited, run.history.partial)
    return "; ".join(filter(None, reasons))


def used_resources(trainer: Trainer) -> Resources:
    """Returns the device of a trainer and the peak memory of this process."""
    device = trainer.strategy.root_device
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else device.type
    return Resources(name, peak_memory_gb())


def _write_means(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Writes the means over the seeds of the last scores and of the objective, for a sweep."""
    last = [result["scores"]["last"] for result in results]
    objectives = [result["objective"] for result in results if result["objective"] is not None]
    content = {
        "seeds": [result["seed"] for result in results],
        "partial": results[0]["partial"],
        "wall_time_s": results[0]["wall_time_s"],
        "scores": {"last": {name: statistics.mean(one[name] for one in last) for name in last[0]}},
        "objective": statistics.mean(objectives) if objectives else None,
    }
    write_atomically(path, json.dumps(content, indent=2) + "\n")
