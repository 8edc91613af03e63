"""Trials of a sweep: their states, and locks so that one process works on a trial at a time.

The folder of a trial is named after its identity (see identity.py), inside the folder of its sweep.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from msdn_lit.errors import ConfigError, some
from msdn_lit.files import is_first_process, locked, make_folder, write_atomically
from msdn_lit.runs.layout import (
    CONFIG,
    FAILURE,
    KNOWN_IDENTITIES,
    LOCK,
    PRUNED,
    RESULT,
    TRIAL,
    checkpoint_path,
)
from msdn_lit.sweeps.identity import (
    WITHOUT_EFFECT,
    context_of_identities,
    identifying_files,
    stamp,
    trial_id,
)
from msdn_lit.texts import read_json

RESUMABLE = ("interrupted", "pruned")  # states of a trial that resumes from its last checkpoint
_LONGEST_WAIT, _BETWEEN_LOOKS = 1800.0, 0.2  # seconds that a task of a job waits for the first
_MULTIRUN = "multirun.yaml"  # Hydra writes it before the sweep is locked


class Trial(NamedTuple):
    """One trial of a sweep.

    Attributes:
        folder: Run folder, named after the trial's identity.
        overrides: Overrides of the trial, from the command line or a search.
    """

    folder: Path
    overrides: tuple[str, ...]

    @property
    def state(self) -> str:
        """The state: finished, partial, pruned (by a search), failed, interrupted or new."""
        if self.result is not None:
            return "partial" if self.result.get("partial") else "finished"
        if (self.folder / PRUNED).is_file():
            return "pruned"
        if (self.folder / FAILURE).is_file():
            return "failed"
        return "interrupted" if checkpoint_path(self.folder).is_file() else "new"

    @property
    def result(self) -> dict[str, Any] | None:
        """The content of result.json; None if it is missing or incomplete."""
        return read_json(self.folder / RESULT)

    @property
    def objective(self) -> float | None:
        """The score that the sweep maximises, as a fraction; None before the trial has finished."""
        return (self.result or {}).get("objective")

    @property
    def settings(self) -> tuple[str, ...]:
        """The overrides that can change a score."""
        return tuple(override for override in self.overrides if _can_change_score(override))

    @property
    def failure(self) -> str:
        """The last line of failure.txt; "" if there is none."""
        path = self.folder / FAILURE
        if not path.is_file():
            return ""
        return path.read_text(encoding="utf-8").strip().rpartition("\n")[2]


class Trials:
    """The trials in the folder of one sweep.

    Args:
        folder: Folder of the sweep.
        compose: Function that makes the config of a list of overrides.
        config_folders: Folders of the configs: ours and the user's own.
    """

    def __init__(
        self,
        folder: Path,
        compose: Callable[[Sequence[str]], DictConfig],
        config_folders: Sequence[Path],
    ) -> None:
        self.folder = folder
        self.compose = compose
        self.config_folders = config_folders
        self._known: dict[str, dict[str, Any]] = read_json(folder / KNOWN_IDENTITIES) or {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other sweeps out of the folder.

        May be entered again inside itself: a search locks the folder for all its batches, and the
        launcher for each batch.

        Raises:
            ConfigError: Another sweep works in the folder, or it is not the folder of a sweep.
        """
        _make_folder(self.folder)
        problem = f"Another sweep works in {self.folder}"
        action = "Wait until it ends, or use another sweep_name."
        with locked(self.folder / LOCK, ConfigError(problem, action=action)):
            yield

    def identify(self, all_overrides: Sequence[Sequence[str]]) -> list[Trial]:
        """Returns the trials of several lists of overrides.

        Identities are stored, since composing a config takes 0.1 s.
        """
        context = context_of_identities(self.config_folders)
        trials = [
            Trial(self.folder / self._identity(overrides, context), tuple(overrides))
            for overrides in all_overrides
        ]
        _write_json(self.folder / KNOWN_IDENTITIES, self._known)
        return trials

    def _identity(self, overrides: Sequence[str], context: Sequence[str]) -> str:
        key = sha256("\0".join([*sorted(overrides), *context]).encode()).hexdigest()
        known = self._known.get(key)
        if known is None or _has_changed(known["data"]):
            cfg = self.compose(overrides)
            stamps = {str(path): stamp(path) for path in identifying_files(cfg)}
            known = self._known[key] = {"trial": trial_id(cfg), "data": stamps}
        return str(known["trial"])


def prepare_trial(trial: Trial, *, resume: bool) -> None:
    """Makes the folder of a trial and removes the marks of its previous end.

    Args:
        trial: Trial that will run.
        resume: Keep the last checkpoint, from which a worker resumes (see worker.py).
    """
    make_folder(trial.folder)
    outdated = [trial.folder / FAILURE, trial.folder / PRUNED]
    if not resume:
        outdated += [trial.folder / RESULT, checkpoint_path(trial.folder)]
    for path in outdated:
        path.unlink(missing_ok=True)
    _write_json(trial.folder / TRIAL, {"overrides": list(trial.overrides)})


@contextmanager
def lock_trial(trial: Trial) -> Iterator[None]:
    """Waits until no other process works on a trial; workers of a killed sweep may still run.

    Of the tasks of a SLURM job, the first one locks. It writes the job into the file of the lock,
    for which the others wait, so that all of them find the trial in the same state.

    Raises:
        ConfigError: The first task did not lock within half an hour.
    """
    make_folder(trial.folder)
    lock, job = trial.folder / LOCK, _job_of_several_tasks()
    if job and not is_first_process():
        _wait_for(lock, job)
    with locked(lock):
        if job and is_first_process():
            lock.write_text(job, encoding="utf-8")
        yield


def _job_of_several_tasks() -> str:
    """Returns what identifies this start of a SLURM job of several tasks; "" without one."""
    if int(os.environ.get("SLURM_NTASKS", 1)) < 2:
        return ""
    return f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_RESTART_COUNT', 0)}"


def _wait_for(lock: Path, job: str) -> None:
    end = time.monotonic() + _LONGEST_WAIT
    while not lock.is_file() or lock.read_text(encoding="utf-8") != job:
        if time.monotonic() > end:
            problem = f"The first task of SLURM job {job} does not begin with {lock.parent}"
            raise ConfigError(problem, action="Look at its log.")
        time.sleep(_BETWEEN_LOOKS)


def trials_in(folder: Path) -> list[Trial]:
    """Returns all trials that were started in the folder of a sweep."""
    found = [(path.parent, read_json(path)) for path in sorted(folder.glob(f"*/{TRIAL}"))]
    return [Trial(parent, tuple(content["overrides"])) for parent, content in found if content]


def _can_change_score(override: str) -> bool:
    key = re.split(r"[.=]", override.lstrip("+~"), maxsplit=1)[0]
    return key not in WITHOUT_EFFECT


def _has_changed(stamps: dict[str, Any]) -> bool:
    """Whether a file has another size or time than when the identity was computed."""
    return any(stamp(Path(path)) != known for path, known in stamps.items())


def _make_folder(folder: Path) -> None:
    """Makes the folder of a sweep.

    Raises:
        ConfigError: The folder contains files of something else.
    """
    action = "Use another sweep_name, or rename the folder."
    if folder.exists() and not folder.is_dir():
        problem = f"{folder} is a file"
        raise ConfigError(problem, expected="the folder of a sweep, or nothing", action=action)
    foreign = sorted({path.name for path in folder.glob("*")} - {_MULTIRUN})
    is_sweep = (folder / LOCK).exists() and not (folder / CONFIG).exists()  # a run has both
    if foreign and not is_sweep:
        problem = f"{folder} is not the folder of a sweep: it contains {some(foreign)}"
        raise ConfigError(problem, action=action)
    make_folder(folder)


def _write_json(path: Path, content: object) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n")
