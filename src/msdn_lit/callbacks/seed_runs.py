"""Keeps the runs of a stacked training apart: what the callbacks of a run do, for each of its models."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning import __version__ as lightning_version
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.callbacks.score_cache_writer import ScoreCacheWriter
from msdn_lit.data.batches import Batch
from msdn_lit.tasks import ZSLTask


@dataclass(frozen=True)
class SeedRecorder:
    """What records one of several models that train at once.

    Attributes:
        task: Its model.
        history: Its evaluations.
        scores: Its score caches.
        checkpoints: Folder of its weights.
        loggers: Its own.
    """

    task: ZSLTask
    history: EvaluationHistory
    scores: ScoreCacheWriter
    checkpoints: Path
    loggers: Sequence[Logger]


class SeedRuns(Callback):
    """Records every run as if it were alone: scores, caches, the weights that a result would report, logs.

    Args:
        runs: In the order of the stacked models.
    """

    def __init__(self, runs: Sequence[SeedRecorder]) -> None:
        self.runs = tuple(runs)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Logs each model's loss and its terms."""
        terms = {
            f"train/{name}": value.tolist() for name, value in outputs.get("terms", {}).items()
        }
        for index, run in enumerate(self.runs if terms else ()):
            _log(
                run,
                {name: values[index] for name, values in terms.items()},
                trainer.global_step - 1,
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets an evaluation that was broken off."""
        for run in self.runs:
            run.scores.on_validation_start(trainer, run.task)
            run.task.metric.reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        batch: Batch,
        *_: object,
    ) -> None:
        """Takes the logits of one batch."""
        for run, logits in zip(self.runs, outputs, strict=True):
            run.scores.on_validation_batch_end(trainer, run.task, logits, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the evaluation to each run."""
        step = trainer.global_step
        for run in self.runs:
            computed = run.task.metric.compute()._asdict().items()
            scores = {
                name: float(value.float()) for name, value in computed if not torch.isnan(value)
            }
            run.history.scores_at[step] = scores
            names = run.history.reported_at(step)
            run.scores.write(trainer, run.task, step, names)
            _save(run, step, names)
            logged = {f"{run.task.stage}/{name}": value for name, value in scores.items()}
            _log(
                run, logged, step if trainer.state.fn == "validate" else step - 1
            )  # as Lightning counts

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"histories": [run.history.state_dict() for run in self.runs]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues a checkpoint's histories."""
        for run, history in zip(self.runs, state_dict["histories"], strict=True):
            run.history.load_state_dict(history)


def _save(run: SeedRecorder, step: int, names: Sequence[str]) -> None:
    """Writes the weights under every name under which they would be reported now."""
    weights = {name: value.detach().cpu().clone() for name, value in run.task.state_dict().items()}
    content = {
        "state_dict": weights,
        "global_step": step,
        "pytorch-lightning_version": lightning_version,
    }
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.save(content, run.checkpoints / f"{name}.ckpt")


def _log(run: SeedRecorder, values: dict[str, float], step: int) -> None:
    for logger in run.loggers:
        logger.log_metrics(values, step)
        logger.save()
