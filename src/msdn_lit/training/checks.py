"""What a reader of a result should know: whether it is partial, and whether the model learned."""

import math
from collections.abc import Mapping

from lightning import Trainer

from msdn_lit.callbacks.seed_runs import SeedRuns
from msdn_lit.data import ZSLDataModule
from msdn_lit.tasks import ZSLTask
from msdn_lit.tasks.zsl import ClosedForm

_STANDARD_ERRORS = 2  # above the score of guessing
_TIMES_LN_C = 3  # loss of a model that is far worse than guessing
_ACTION = "Try another optimizer.lr, or more steps."


def limited_training(trainer: Trainer, module: ZSLTask, max_steps: int) -> str:
    """Returns on how many batches a trainer has trained, if not on those of each step; or "".

    Args:
        trainer: Trainer, after training.
        module: Module that was trained.
        max_steps: Number of steps in the config.
    """
    number = trainer.num_training_batches
    if isinstance(module.net, ClosedForm) or number >= max_steps:
        return ""
    return f"trained on {number:,.0f} of {max_steps:,} batches"


def cross_entropies(trainer: Trainer) -> list[float]:
    """Returns each model's cross-entropy that was logged last, summed over outputs; 0 for none."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SeedRuns):
            return callback.cross_entropies
    return [float(trainer.callback_metrics.get("train/cross_entropy", 0.0))]


def warning(scores: Mapping[str, float], data: ZSLDataModule, task: ZSLTask, loss: float) -> str:
    """Returns a sentence if a model is not better than guessing; "" if it is.

    Args:
        scores: Scores of the last evaluation, as fractions.
        data: Data of the evaluation.
        task: Task with the model.
        loss: Cross-entropy of the model that was logged last, from `cross_entropies`.
    """
    num_seen, num_unseen = len(data.seen), len(data.unseen)
    in_seen, in_unseen = (len(data.indices[name]) for name in data.eval_splits)
    limits = {
        "acc_czsl": _most_by_chance(num_unseen, in_unseen),
        "acc_seen": _most_by_chance(num_seen, in_seen),
    }
    if all(scores.get(name, 0.0) <= limit for name, limit in limits.items()):
        t1, s = (100 * scores.get(name, 0.0) for name in limits)
        return f"The last scores are those of guessing (T1 {t1:.1f}, S {s:.1f}). {_ACTION}"
    guessing = len(task.fusion) * math.log(num_seen + num_unseen)
    if not loss <= _TIMES_LN_C * guessing:
        stated = f"train/cross_entropy is {loss:.3g}, and at most {guessing:.3g} for guessing"
        return f"{stated}. {_ACTION}"
    return ""


def _most_by_chance(num_classes: int, num_images: int) -> float:
    """Returns the accuracy that guessing among some classes rarely exceeds."""
    p = 1 / num_classes
    return p + _STANDARD_ERRORS * math.sqrt(p * (1 - p) / max(1, num_images))
