"""A callback that records each run of a stacked training, as the callbacks of a single run do."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning import __version__ as lightning_version
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from msdn_lit.callbacks.history import EvaluationHistory, evaluation_line
from msdn_lit.callbacks.score_cache_writer import ScoreCacheWriter
from msdn_lit.data.batches import Batch
from msdn_lit.files import link_atomically
from msdn_lit.runs.checkpoint import write_checkpoint
from msdn_lit.tasks import ZSLTask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeedRecorder:
    """The task of one seed in a stacked training, and the objects that record it.

    Attributes:
        task: Task of this seed.
        history: Scores of its evaluations.
        scores: Writer of its score caches.
        checkpoints: Folder of its checkpoints.
        loggers: Loggers of this seed.
    """

    task: ZSLTask
    history: EvaluationHistory
    scores: ScoreCacheWriter
    checkpoints: Path
    loggers: Sequence[Logger]


class SeedRuns(Callback):
    """Records scores, score caches, reported weights and logs of each run.

    Args:
        runs: The runs in the order of the stacked models.

    Attributes:
        cross_entropies: Cross-entropy of each model that was logged last; 0 if none was.
    """

    def __init__(self, runs: Sequence[SeedRecorder]) -> None:
        self.runs = tuple(runs)
        self.cross_entropies = [0.0] * len(self.runs)

    @property
    def histories(self) -> list[EvaluationHistory]:
        """The history of each run."""
        return [run.history for run in self.runs]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Logs the loss of each model and its terms."""
        terms = {
            f"train/{name}": value.tolist() for name, value in outputs.get("terms", {}).items()
        }
        self.cross_entropies = terms.get("train/cross_entropy", self.cross_entropies)
        for index, run in enumerate(self.runs if terms else ()):
            _log(
                run,
                {name: values[index] for name, values in terms.items()},
                trainer.global_step - 1,
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discards the results of an interrupted evaluation."""
        for run in self.runs:
            run.history.on_validation_start(trainer, run.task)
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
        """Keeps the logits of one batch."""
        for run, logits in zip(self.runs, outputs, strict=True):
            run.history.on_validation_batch_end(trainer, run.task, logits, batch)
            run.scores.on_validation_batch_end(trainer, run.task, logits, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the evaluation of each run."""
        if trainer.sanity_checking:
            return
        step = trainer.global_step
        for run in self.runs:
            computed = run.task.metric.compute()._asdict().items()
            scores = {
                name: float(value.float()) for name, value in computed if not torch.isnan(value)
            }
            run.history.record(trainer, step, scores)
            names = run.history.reported_at(step)
            run.scores.write(trainer, run.task, step, names)
            _save(run, step, names)
            logged = {f"{run.task.stage}/{name}": value for name, value in scores.items()}
            # Lightning counts the steps of evaluations during training from zero.
            _log(run, logged, step if trainer.state.fn == "validate" else step - 1)
        log.info("%s", evaluation_line(self.histories, step))

    def state_dict(self) -> dict[str, Any]:
        """Returns the histories for a checkpoint."""
        return {"histories": [run.history.state_dict() for run in self.runs]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the histories of a checkpoint."""
        for run, history in zip(self.runs, state_dict["histories"], strict=True):
            run.history.load_state_dict(history)


def _save(run: SeedRecorder, step: int, names: Sequence[str]) -> None:
    """Writes the weights under each name that is reported for this evaluation."""
    weights = {name: value.detach().cpu().clone() for name, value in run.task.state_dict().items()}
    content = {
        "state_dict": weights,
        "global_step": step,
        "pytorch-lightning_version": lightning_version,
    }
    first, *others = (run.checkpoints / f"{name}.ckpt" for name in names)
    write_checkpoint(first, content)
    link_atomically(first, *others)


def _log(run: SeedRecorder, values: dict[str, float], step: int) -> None:
    for logger in run.loggers:
        logger.log_metrics(values, step)
        logger.save()
