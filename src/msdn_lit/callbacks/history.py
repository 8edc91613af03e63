"""A callback that collects the scores of every evaluation."""

import logging
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.data.batches import Batch
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import ConfigError
from msdn_lit.runs.layout import SCORES

Scores = dict[str, float]
EVALUATED = "images evaluated"
log = logging.getLogger(__name__)


class EvaluationHistory(Callback):
    """Collects the scores of every evaluation by training step. Checkpoints contain them.

    Args:
        report_peaks: Also report the evaluations with the best H and with the best T1.
        objective: Score of which the best value is shown, e.g. "test/acc_czsl"; None for H.

    Attributes:
        scores_at: Step -> scores as fractions, by name without stage ("harmonic_mean").
        partial_at: Step -> how many of the images were evaluated, where that is not all of them.
    """

    def __init__(self, *, report_peaks: bool, objective: str | None = None) -> None:
        self.report_peaks = report_peaks
        self.leading_score = (objective or "harmonic_mean").rpartition("/")[2]
        self.scores_at: dict[int, Scores] = {}
        self.partial_at: dict[int, str] = {}
        self._num_evaluated = 0  # images of the current evaluation, on this process

    @classmethod
    def of(cls, trainer: Trainer) -> "EvaluationHistory":
        """Returns the history among the callbacks of a trainer.

        Raises:
            ConfigError: The trainer has none: `callbacks.history` was removed from the config.
        """
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, cls):
                return callback
        raise ConfigError(
            "callbacks.history is missing",
            action="Keep it in the config: every result is read from it.",
        )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts to count the images of an evaluation."""
        self._num_evaluated = 0

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        batch: Batch,
        *_: object,
        **__: object,
    ) -> None:
        """Counts the images of one batch."""
        self._num_evaluated += len(batch.rows)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the scores of this evaluation. They replace earlier ones of the same step."""
        if trainer.sanity_checking:
            return
        prefix = f"{pl_module.stage}/"
        metrics = trainer.callback_metrics.items()
        scores = {
            name.removeprefix(prefix): float(value)
            for name, value in metrics
            if name.startswith(prefix)
        }
        self.record(trainer, pl_module.global_step, scores)
        if trainer.is_global_zero:
            log.info("%s", evaluation_line([self], pl_module.global_step))

    def record(self, trainer: Trainer, step: int, scores: Scores) -> None:
        """Adds the scores of an evaluation, and whether every image was evaluated."""
        device = trainer.strategy.root_device
        number = torch.tensor(self._num_evaluated, device=device)
        number = trainer.strategy.reduce(number, reduce_op="sum")
        self.scores_at[step] = scores
        self.partial_at[step] = missing_images(int(number), trainer)

    @property
    def partial(self) -> str:
        """How many images were evaluated, if a reported evaluation is not of all; "" otherwise."""
        found = (self.partial_at.get(int(scores["step"])) for scores in self.summary().values())
        return next(filter(None, found), "")

    def state_dict(self) -> dict[str, Any]:
        """Returns the scores for a checkpoint."""
        return {"scores_at": self.scores_at, "partial_at": self.partial_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the scores of a checkpoint; those of version 0.1 do not know partial ones."""
        self.scores_at = dict(state_dict["scores_at"])
        self.partial_at = dict(state_dict.get("partial_at", {}))

    def best(self, name: str) -> float:
        """Returns the reported value of one score: its peak, or the last value without peaks.

        Raises:
            ConfigError: There is no such score.
        """
        reported = self.summary()
        scores = reported.get(f"peak_{name}", reported["last"])
        if name not in scores:
            raise ConfigError(
                "objective is wrong", expected="a score like val/harmonic_mean", found=name
            )
        return scores[name]

    def summary(self) -> dict[str, Scores]:
        """Returns the reported evaluations: the last one, and those with the best H and T1.

        The peaks of H and of T1 may lie at different steps. Of equal scores the earliest counts.

        Returns:
            Name ("last", "peak_harmonic_mean", "peak_acc_czsl") -> step and scores.
        """
        reported = {"last": max(self.scores_at)}
        for name in ("harmonic_mean", "acc_czsl") if self.report_peaks else ():
            measured = [step for step, scores in self.scores_at.items() if name in scores]
            if measured:
                reported[f"peak_{name}"] = max(
                    measured, key=lambda step: (self.scores_at[step][name], -step)
                )
        return {name: {"step": step, **self.scores_at[step]} for name, step in reported.items()}

    def reported_at(self, step: int) -> list[str]:
        """Returns the names in `summary` that stand for the evaluation at a step; maybe none."""
        return [name for name, scores in self.summary().items() if scores["step"] == step]


def evaluation_line(histories: Sequence[EvaluationHistory], step: int) -> str:
    """Returns the scores of an evaluation in percent, in at most 60 characters.

    The last of them is the leading score, whose best value so far follows where peaks are reported.

    Args:
        histories: Histories of the models that train at once; the line has their means.
        step: Training step.
    """
    parts = [f"step {step}", *scores_text(histories, step)]
    first = histories[0]
    name = first.leading_score
    if first.report_peaks and name in first.scores_at[step]:
        best = [max(s.get(name, 0.0) for s in h.scores_at.values()) for h in histories]
        parts.append(f"best {_percent(best)}")
    return "  ".join(parts)


def scores_text(histories: Sequence[EvaluationHistory], step: int) -> list[str]:
    """Returns the scores of a step as people read them, e.g. "H 33.8"; the leading one is last."""
    first = histories[0]
    names = [name for name in SCORES if name in first.scores_at[step]]
    names.sort(key=lambda name: name == first.leading_score)
    return [
        f"{SCORES[name]} {_percent([h.scores_at[step][name] for h in histories])}" for name in names
    ]


def _percent(values: Sequence[float]) -> str:
    return f"{100 * statistics.mean(values):.1f}"


def missing_images(number: int, trainer: Trainer) -> str:
    """Returns how many images were evaluated, if it was not every image once; "" if it was.

    Args:
        number: Number of images that were evaluated, on all processes.
        trainer: Trainer of the evaluation, which has the data.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ZSLDataModule)
    wanted = sum(len(data.indices[name]) for name in data.eval_splits)
    return "" if number == wanted else f"{number:,} of {wanted:,} {EVALUATED}"
