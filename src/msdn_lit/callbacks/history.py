"""Remembers the scores of every evaluation, across resumes."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

Scores = dict[str, float]


class EvaluationHistory(Callback):
    """Collects `{stage}/...` scores with the step at which they were measured.

    Attributes:
        scores_at: Step -> scores as fractions, without the stage's prefix.
    """

    def __init__(self) -> None:
        self.scores_at: dict[int, Scores] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the evaluation that just ended; one at the same step replaces it."""
        prefix = f"{pl_module.stage}/"
        metrics = trainer.callback_metrics.items()
        scores = {name.removeprefix(prefix): float(value) for name, value in metrics if name.startswith(prefix)}
        self.scores_at[pl_module.global_step] = scores

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scores_at": self.scores_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues a checkpoint's history."""
        self.scores_at = dict(state_dict["scores_at"])

    def last(self) -> tuple[int, Scores]:
        """The last evaluation: (step, scores)."""
        step = max(self.scores_at)
        return step, self.scores_at[step]

    def peak(self, score: str) -> tuple[int, Scores]:
        """The evaluation with the highest value of one score, the earliest of equals: (step, scores)."""
        step = max(self.scores_at, key=lambda step: (self.scores_at[step].get(score, -1.0), -step))
        return step, self.scores_at[step]
