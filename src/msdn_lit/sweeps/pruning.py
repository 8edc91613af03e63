"""Lets a search give up a trial whose evaluations are worse than those of others."""

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
    """Reports each evaluation to the study and ends the trial when the pruner says so.

    The study is a file, so it works in whatever process a launcher runs the trial. Stands after the history.

    Args:
        study: The search's journal.
        number: The trial's number in it, which the sweeper gives.
        objective: The score that the search maximises, e.g. val/harmonic_mean.
        pruner: Says whether a trial is hopeless.

    Raises:
        ConfigError: It is no search that runs.
    """

    def __init__(
        self, *, study: str, number: int | None, objective: str, pruner: "optuna.pruners.BasePruner"
    ) -> None:
        if number is None:
            raise ConfigError(
                "This is a single run, and hparams_search a search", action="Use msdn-train -m."
            )
        self.path = Path(study)
        self.number = number
        self.pruner = pruner
        self.score = objective.partition("/")[2]

    @cached_property
    def trial(self) -> "optuna.Trial":
        """The trial as Optuna has it."""
        import optuna

        study = open_study(self.path, self.pruner)
        return optuna.Trial(study, study.trials[self.number]._trial_id)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports, and ends what is hopeless; the evaluation at the last step is the result and ends nothing.

        Raises:
            Pruned: The pruner gives the trial up.
        """
        step = pl_module.global_step
        value = EvaluationHistory.of(trainer).scores_at[step].get(self.score)
        if value is None or step >= trainer.max_steps:
            return
        is_hopeless = trainer.is_global_zero and self._report(step, value)
        if trainer.strategy.reduce_boolean_decision(is_hopeless, all=False):
            raise Pruned(f"pruned at step {step}: {self.score} {100 * value:.1f}")

    def _report(self, step: int, value: float) -> bool:
        known = self.trial.study.trials[self.number].intermediate_values
        if step not in known:  # else the trial went on from before this evaluation
            self.trial.report(value, step)
        return self.trial.should_prune()
