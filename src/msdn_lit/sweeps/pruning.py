"""Stops trials of a search whose evaluations are worse than those of others."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.errors import ConfigError, Pruned
from msdn_lit.sweeps.study import open_study

if TYPE_CHECKING:
    import optuna


class Pruning(Callback):
    """Reports each evaluation to the study, and ends the trial if the pruner decides so.

    The study is a file, so this works in the process of any launcher. In the config, this callback
    comes after the evaluation history.

    Args:
        study: Journal of the search.
        number: Number of the trial in the study, set by the sweeper.
        objective: Score that the search maximises, e.g. val/harmonic_mean.
        pruner: Optuna pruner.

    Raises:
        ConfigError: This is not a trial of a search.
    """

    def __init__(
        self, *, study: str, number: int | None, objective: str, pruner: "optuna.pruners.BasePruner"
    ) -> None:
        if number is None:
            problem = "hparams_search needs a sweep, and this is a single run"
            raise ConfigError(problem, action="Use msdn train -m.")
        self.path = Path(study)
        self.number = number
        self.pruner = pruner
        self.score = objective.partition("/")[2]

    @cached_property
    def trial(self) -> "optuna.Trial":
        """The trial in the study."""
        import optuna

        study = open_study(self.path, self.pruner)
        return optuna.Trial(study, study.trials[self.number]._trial_id)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports the evaluation. The one at the last step is the result, and never ends a trial.

        Raises:
            Pruned: The pruner decides to stop the trial.
        """
        if trainer.sanity_checking:
            return
        step = pl_module.global_step
        value = EvaluationHistory.of(trainer).scores_at[step].get(self.score)
        if value is None or step >= trainer.max_steps:
            return
        is_hopeless = trainer.is_global_zero and self._report(step, value)
        if trainer.strategy.reduce_boolean_decision(is_hopeless, all=False):
            raise Pruned(f"pruned at step {step}: {self.score} {100 * value:.1f}")

    def _report(self, step: int, value: float) -> bool:
        known = self.trial.study.trials[self.number].intermediate_values
        if step not in known:  # a resumed trial repeats evaluations after its checkpoint
            self.trial.report(value, step)
        return self.trial.should_prune()
