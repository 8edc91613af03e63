"""The launcher of every sweep: runs the trials that are not finished, by means of another one."""

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

_PARALLEL_WITHOUT_GPU = 2


class TrialLauncher(Launcher):
    """Skips finished trials, resumes interrupted ones, repeats failed ones.

    Args:
        base_launcher: Config of the launcher that runs the trials: Hydra's basic launcher, or that
            of joblib, submitit or Ray.
        max_parallel: Number of trials at the same time; None means one for each GPU of this
            machine, or two without a GPU.
        one_gpu_each: Give each process of the base launcher a GPU of this machine. Schedulers
            assign GPUs themselves.
    """

    def __init__(
        self, base_launcher: DictConfig, max_parallel: int | None = 1, one_gpu_each: bool = False
    ) -> None:
        self.base_config = base_launcher
        self.max_parallel = max_parallel
        self.one_gpu_each = one_gpu_each
        # Not cached_property: in Python 3.11 it has a lock, and submitit, which pickles this class
        # when it requeues a job, cannot pickle locks.
        self._devices: tuple[str, ...] | None = None
        self._base_launcher: Launcher | None = None
        # What the sweeper knows, for the lines that a person reads.
        self.num_trials: int | None = None  # of the whole sweep; None: those of the only batch
        self.num_done = 0  # trials of earlier batches
        self._is_introduced = False
        self.fixed: Sequence[str] | None = None  # overrides of all trials; None: found in the batch

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Prepares the trials in the folder of the sweep."""
        from msdn_lit.sweeps.lines import SweepLines
        from msdn_lit.sweeps.trials import Trials

        self.lines = SweepLines(total=0)
        self.context = hydra_context
        self.task = task_function
        self.config = config
        loader = hydra_context.config_loader
        self.trials = Trials(
            Path(str(config.hydra.sweep.dir)).expanduser().resolve(),
            lambda overrides: loader.load_sweep_config(config, list(overrides)),
            config_folders(config),
        )

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs to distribute. Reading this imports PyTorch, which takes seconds."""
        from msdn_lit.sweeps.worker import visible_devices

        if self._devices is None:
            self._devices = visible_devices() if self.one_gpu_each else ()
        return self._devices

    @property
    def num_parallel(self) -> int:
        """The number of trials at the same time."""
        configured = self.max_parallel or self.base_config.get("n_jobs")
        return configured or len(self.devices) or _PARALLEL_WITHOUT_GPU

    @property
    def _resumes(self) -> bool:
        return self.config.resume and not self.config.overwrite

    @property
    def base_launcher(self) -> Launcher:
        """The launcher that runs the trials."""
        from msdn_lit.sweeps.worker import TrialJob

        if self._base_launcher is None:
            config = self.config.copy()
            with open_dict(config):
                config.hydra.launcher = self.base_config
                if "n_jobs" in self.base_config:
                    config.hydra.launcher.n_jobs = self.num_parallel
                # a worker would resolve the time in the folder's name again
                config.hydra.sweep.dir = str(self.trials.folder)
            job = TrialJob(self.task, self.devices, self.lines)
            plugins = Plugins.instance()
            self._base_launcher = plugins.instantiate_launcher(self.context, job, config)
        return self._base_launcher

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs a batch of trials.

        Returns:
            One entry for each trial, with its objective, or None if it has none.
        """
        with self.trials.lock():
            trials = self.trials.identify(job_overrides)
            finished = [trial for trial in trials if self._resumes and trial.state == "finished"]
            unfinished = [trial for trial in trials if trial not in finished]
            self._introduce(trials, finished, initial_job_idx)
            self._run(unfinished, initial_job_idx)
            self.num_done += len(trials)
            return [_job_return(trial) for trial in trials]

    def _introduce(
        self, trials: "Sequence[Trial]", finished: "Sequence[Trial]", initial_job_idx: int
    ) -> None:
        """Prepares the lines of a batch, and prints one for the trials that are finished."""
        from msdn_lit import __version__
        from msdn_lit.files import short_path
        from msdn_lit.progress import print_line
        from msdn_lit.sweeps.lines import common_overrides, skipped_line

        self.lines.total = self.num_trials or len(trials)
        self.lines.fixed = common_overrides(trials) if self.fixed is None else self.fixed
        self.lines.first = self.num_done + len(finished) + 1 - initial_job_idx
        if not self._is_introduced:
            folder = short_path(self.trials.folder)
            print_line(f"msdn-lit {__version__}, sweep of {self.lines.total} trials, {folder}")
            if self.num_done:  # of a search that continues
                print_line(f"{self.num_done} of {self.lines.total} trials are finished and skipped")
        self._is_introduced = True
        if finished:
            print_line(skipped_line(finished, self.lines.total))

    def _run(self, trials: "Sequence[Trial]", initial_job_idx: int) -> None:
        from msdn_lit.errors import one_line, print_error
        from msdn_lit.progress import print_line
        from msdn_lit.sweeps.trials import RESUMABLE, prepare_trial

        jobs = []
        different = {trial.folder: trial for trial in trials}  # equal trials run once
        for trial in different.values():
            prepare_trial(trial, resume=self._resumes and trial.state in RESUMABLE)
            # quoted: Hydra would read an identity like 6e7681770811 as a number
            folder, name = (
                json.dumps(text, ensure_ascii=False)
                for text in (str(trial.folder), trial.folder.name)
            )
            folders = [f"paths.run_dir={folder}", f"hydra.sweep.subdir={name}"]
            jobs.append([*trial.overrides, *folders])
        if not jobs:
            return
        self.lines.parallel = self.num_parallel
        if "submitit_folder" in self.base_config:
            print_line(f"Each job has its log in {self.trials.folder / '.submitit'}")
        try:
            self.base_launcher.launch(jobs, initial_job_idx)
        except RuntimeError as error:  # of joblib and submitit: trials record their own failures
            problem = f"A worker died ({one_line(error)}). Repeat the command to resume the sweep."
            print_error("msdn train", problem)


def config_folders(config: DictConfig) -> list[Path]:
    """Returns the folders of all configs: of msdn-lit, --config-dir and hydra.searchpath."""
    sources = config.hydra.runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file"]


def _job_return(trial: "Trial") -> JobReturn:
    """Returns Hydra's record of a trial. It is always completed, so that the sweep continues."""
    return JobReturn(
        overrides=trial.overrides,
        working_dir=str(trial.folder),
        status=JobStatus.COMPLETED,
        _return_value=trial.objective,
    )
