"""The launcher that every sweep goes through: it runs what is not finished, by means of another launcher."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from msdn_lit.trials import Trial


class TrialLauncher(Launcher):
    """Skips finished trials, continues interrupted ones, repeats failed ones.

    Args:
        inner: The launcher that runs the others: Hydra's own, joblib's, submitit's or Ray's.
    """

    def __init__(self, inner: DictConfig) -> None:
        self.inner_config = inner

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes the sweep's folder, and sets up the inner launcher."""
        from msdn_lit.trials import Trials

        loader, self.config = hydra_context.config_loader, config
        folder = Path(str(config.hydra.sweep.dir)).expanduser().resolve()
        self.trials = Trials(folder, lambda overrides: loader.load_sweep_config(config, list(overrides)))
        inner = config.copy()
        with open_dict(inner):
            inner.hydra.launcher = self.inner_config
            inner.hydra.sweep.dir = str(folder)  # a worker would read a clock of its own
        self.inner = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=inner
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch; every job of it has a return, with the objective, or None where it failed."""
        with self.trials.held():
            trials = self.trials.of(job_overrides)
            self._run(
                [trial for trial in trials if not (self.config.resume and trial.state == "finished")], initial_job_idx
            )
            return [_returned(trial) for trial in trials]

    def _run(self, trials: "Sequence[Trial]", initial_job_idx: int) -> None:
        from msdn_lit.trials import open_trial

        jobs = []
        for trial in {trial.folder: trial for trial in trials}.values():  # one of those that come to the same
            goes_on = ["ckpt_path=last"] if self.config.resume and trial.state == "interrupted" else []
            open_trial(trial)
            place = [f"paths.run_dir={json.dumps(str(trial.folder))}", f"hydra.sweep.subdir={trial.folder.name}"]
            jobs.append([*trial.overrides, *goes_on, *place])
        if jobs:
            self.inner.launch(jobs, initial_job_idx)


def _returned(trial: "Trial") -> JobReturn:
    """As Hydra has it, from what the trial left; Optuna takes None for a failure, Hydra's own sweeper goes on."""
    return JobReturn(overrides=trial.overrides, status=JobStatus.COMPLETED, _return_value=trial.objective)
