"""Remembers the scores of every evaluation."""

import logging
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.errors import ConfigError

Scores = dict[str, float]
log = logging.getLogger(__name__)


class EvaluationHistory(Callback):
    """Collects `{stage}/...` scores with the step at which they were measured, in a checkpoint too.

    Args:
        report_peaks: Report the best evaluations beside the last one.

    Attributes:
        scores_at: Step -> scores as fractions, without the stage's prefix.
    """

    def __init__(self, *, report_peaks: bool) -> None:
        self.report_peaks = report_peaks
        self.scores_at: dict[int, Scores] = {}

    @classmethod
    def of(cls, trainer: Trainer) -> "EvaluationHistory":
        """The history that a trainer keeps.

        Raises:
            ConfigError: `callbacks.history` was removed from the config.
        """
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, cls):
                return callback
        raise ConfigError(
            "callbacks.history is missing",
            action="Every result is read from it; keep it in the config.",
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the evaluation that just ended; one at the same step replaces it."""
        prefix = f"{pl_module.stage}/"
        metrics = trainer.callback_metrics.items()
        scores = {
            name.removeprefix(prefix): float(value)
            for name, value in metrics
            if name.startswith(prefix)
        }
        self.scores_at[pl_module.global_step] = scores
        readable = ", ".join(f"{name} {100 * value:.1f}" for name, value in scores.items())
        if trainer.is_global_zero:
            log.info("step %d: %s", pl_module.global_step, readable)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scores_at": self.scores_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues a checkpoint's history."""
        self.scores_at = dict(state_dict["scores_at"])

    def best(self, name: str) -> float:
        """One score as it is reported: its peak, or the last one where there are no peaks.

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
        """What is reported: the last evaluation, and the peaks of H and of T1, which may lie at different steps."""
        reported = {"last": max(self.scores_at)}
        for name in ("harmonic_mean", "acc_czsl") if self.report_peaks else ():
            measured = [step for step, scores in self.scores_at.items() if name in scores]
            if measured:
                reported[f"peak_{name}"] = max(
                    measured, key=lambda step: (self.scores_at[step][name], -step)
                )
        return {name: {"step": step, **self.scores_at[step]} for name, step in reported.items()}

    def reported_at(self, step: int) -> list[str]:
        """The names under which the evaluation at a step would be reported now; none when others are better."""
        return [name for name, scores in self.summary().items() if scores["step"] == step]
