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
    from msdn_lit.sweeps.trials import Trial


class TrialLauncher(Launcher):
    """Skips finished trials, continues interrupted ones, repeats failed ones.

    Args:
        inner: The launcher that runs the others: Hydra's own, joblib's, submitit's or Ray's.
        slots: Trials at once; without a number one for each GPU of this machine, or two on CPU.
        pins: Give each process of the inner launcher a GPU of this machine for its own. Schedulers do so themselves.
    """

    def __init__(self, inner: DictConfig, slots: int | None = 1, pins: bool = False) -> None:
        self.inner_config = inner
        self.asked_slots = slots
        self.pins = pins
        # Not cached_property: its lock, in Python 3.11, keeps submitit from pickling this class when it requeues a job.
        self._devices: tuple[str, ...] | None = None
        self._inner: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Takes the sweep's folder."""
        from msdn_lit.sweeps.trials import Trials

        loader, self.config = hydra_context.config_loader, config
        self.context = hydra_context
        self.task = task_function
        folder = Path(str(config.hydra.sweep.dir)).expanduser().resolve()
        self.trials = Trials(
            folder, lambda overrides: loader.load_sweep_config(config, list(overrides))
        )

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs to give away; asking for them imports torch, so only where something is left to run."""
        from msdn_lit.sweeps.worker import visible_devices

        if self._devices is None:
            self._devices = visible_devices() if self.pins else ()
        return self._devices

    @property
    def slots(self) -> int:
        """Trials at once."""
        return self.asked_slots or self.inner_config.get("n_jobs") or len(self.devices) or 2

    @property
    def inner(self) -> Launcher:
        """The launcher that runs trials."""
        from msdn_lit.sweeps.worker import TrialJob

        if self._inner is None:
            config = self.config.copy()
            with open_dict(config):
                config.hydra.launcher = self.inner_config
                if "n_jobs" in self.inner_config:
                    config.hydra.launcher.n_jobs = self.slots
                config.hydra.sweep.dir = str(
                    self.trials.folder
                )  # a worker would read a clock of its own
            job = TrialJob(self.task, self.devices)
            self._inner = Plugins.instance().instantiate_launcher(self.context, job, config)
        return self._inner

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs a batch; every job of it has a return, with the objective, or None where there is none."""
        with self.trials.held():
            trials = self.trials.of(job_overrides)
            self._run(
                [
                    trial
                    for trial in trials
                    if not (self.config.resume and trial.state == "finished")
                ],
                initial_job_idx,
            )
            return [_returned(trial) for trial in trials]

    def _run(self, trials: "Sequence[Trial]", initial_job_idx: int) -> None:
        from msdn_lit.errors import one_line, print_error
        from msdn_lit.sweeps.trials import RESUMABLE, prepare_trial

        jobs = []
        for trial in {
            trial.folder: trial for trial in trials
        }.values():  # one of those that come to the same
            prepare_trial(trial, resume=self.config.resume and trial.state in RESUMABLE)
            folder, name = (
                json.dumps(str(trial.folder)),
                json.dumps(trial.folder.name),
            )  # 6e7681770811 is no number
            place = [f"paths.run_dir={folder}", f"hydra.sweep.subdir={name}"]
            jobs.append([*trial.overrides, *place])
        try:
            if jobs:
                self.inner.launch(jobs, initial_job_idx)
        except RuntimeError as error:  # joblib's, submitit's: trials write their own failures down
            print_error(
                "msdn-train",
                f"A worker died ({one_line(error)}). The same command goes on from what is done.",
            )


def _returned(trial: "Trial") -> JobReturn:
    """As Hydra has it, from what the trial left; Hydra's own sweeper goes on after a failure."""
    folder, status = str(trial.folder), JobStatus.COMPLETED
    return JobReturn(
        overrides=trial.overrides, working_dir=folder, status=status, _return_value=trial.objective
    )
