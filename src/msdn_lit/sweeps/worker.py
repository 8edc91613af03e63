"""The process that trains a trial, whichever launcher started it."""

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import IO

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from msdn_lit.errors import Pruned
from msdn_lit.files import is_first_process, make_folder
from msdn_lit.progress import ConsoleHandler, progress_among
from msdn_lit.runs.layout import LAST, SLOTS, checkpoint_path
from msdn_lit.sweeps.lines import SweepLines
from msdn_lit.sweeps.trials import Trial, lock_trial

_locked_files: list[IO[str]] = []  # open files keep their locks until the process ends


class TrialJob:
    """Runs a trial from its last checkpoint, if its folder has one.

    The folder decides, not the launcher. So a job that a scheduler requeues, or that Ray repeats on
    another machine, resumes. If a worker of a killed sweep still trains the trial, the job waits
    for it.

    Args:
        task: Function that trains the model of a config.
        devices: GPUs to distribute among the processes of this machine, by the names that CUDA has
            for them; none if a scheduler assigns them.
        lines: Lines that a person reads.
    """

    def __init__(
        self,
        task: Callable[[DictConfig], float | None],
        devices: Sequence[str] = (),
        lines: SweepLines | None = None,
    ) -> None:
        self.task = task
        self.devices = tuple(devices)
        self.lines = lines or SweepLines(total=1)
        self.directory = os.getcwd()

    def __call__(self, cfg: DictConfig) -> float | None:
        """Trains, unless another process has finished the trial in the meantime."""
        if self.directory not in sys.path:
            sys.path.append(self.directory)  # the command does so: a user's own modules are there
        hydra = HydraConfig.get()
        trial = Trial(Path(hydra.runtime.output_dir), tuple(hydra.overrides.task))
        if self.devices:
            slot = take_slot(trial.folder.parent / SLOTS)
            os.environ["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
        with lock_trial(trial):
            if trial.state == "finished":
                return trial.objective
            if checkpoint_path(trial.folder).is_file():
                cfg.ckpt_path = LAST
            else:
                cfg.overwrite = True  # what a failed or repeated trial left
            return self._run(cfg, trial, hydra.job.num)

    def _run(self, cfg: DictConfig, trial: Trial, job: int) -> float | None:
        """Runs the task between two lines; only train.log has what it logs."""
        for handler in logging.root.handlers:
            if isinstance(handler, ConsoleHandler):
                handler.setLevel(logging.WARNING)
        _say(self.lines.start(job, trial))
        try:
            with progress_among(self.lines.surroundings(job)):
                objective = self.task(cfg)
        except Pruned as error:
            _say(f"{self.lines.label(job)}  {error}  {trial.folder.name}")
            raise
        _say(self.lines.end(job, trial))
        return objective


def _say(line: str) -> None:
    """Prints a line, which a terminal wraps at words, on the first process."""
    from msdn_lit.analysis.output.tables import terminal

    if is_first_process():
        terminal().print(line)


def visible_devices() -> tuple[str, ...]:
    """Returns the GPUs that this process may use, by their names in CUDA_VISIBLE_DEVICES.

    Parts of a GPU (MIG) must be named there. CUDA shows a process only the first of them, and each
    worker gets one.
    """
    import torch

    number = torch.cuda.device_count()
    words = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    named = tuple(name for name in map(str.strip, words) if name)
    if named and all(name.startswith("MIG-") for name in named):
        return named if number else ()
    return named[:number] or tuple(map(str, range(number)))


@cache
def take_slot(folder: Path) -> int:
    """Takes the lowest number that no other living process has, until this process ends.

    Args:
        folder: Folder of the lock files, one for each number.
    """
    make_folder(folder)
    for slot in count():
        file = (folder / str(slot)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _locked_files.append(file)
        return slot
    raise AssertionError
