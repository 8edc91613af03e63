"""The trials of a sweep: who each is, how far it came, and that only one sweep works on them.

A trial is named by twelve digits of the hash of its settings, the code and the data. Its run folder, below the sweep's,
bears that name; so the same command finds what it has done, whatever order or machine did it.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from msdn_lit.errors import ConfigError
from msdn_lit.files import PACKAGE, config_dir

TRIAL, FAILURE, RESULT, CHECKPOINT = (
    "trial.json",
    "failure.txt",
    "result.json",
    "checkpoints/last.ckpt",
)
PRUNED = "pruned.txt"
RESUMABLE = ("interrupted", "pruned")  # states in which the last checkpoint is worth something
_LOCK, _NAMES = ".lock", ".names.json"
# Changes no score: where things are, and what is written about a run.
_NO_IDENTITY = (
    "paths",
    "ckpt_path",
    "task_name",
    "sweep_name",
    "resume",
    "callbacks",
    "logger",
    "debug",
    "hydra",
)


class Trial(NamedTuple):
    """One trial of a sweep.

    Attributes:
        folder: Its run folder, called as the trial.
        overrides: What was typed, or searched, for it.
    """

    folder: Path
    overrides: tuple[str, ...]

    @property
    def state(self) -> str:
        """finished, pruned (a search gave it up), failed (its sweep said so), interrupted, or new."""
        if self.result is not None:
            return "finished"
        for state, mark in (("pruned", PRUNED), ("failed", FAILURE)):
            if (self.folder / mark).is_file():
                return state
        return "interrupted" if (self.folder / CHECKPOINT).is_file() else "new"

    @property
    def result(self) -> dict[str, Any] | None:
        """The content of its result.json; None before there is a whole one."""
        return _read(self.folder / RESULT)

    @property
    def objective(self) -> float | None:
        """What its sweep maximises, as a fraction; None before it has finished."""
        return (self.result or {}).get("objective")

    @property
    def settings(self) -> tuple[str, ...]:
        """Its overrides that can change a score."""
        return tuple(
            o
            for o in self.overrides
            if re.split(r"[.=]", o.lstrip("+~"), maxsplit=1)[0] not in _NO_IDENTITY
        )

    @property
    def failure(self) -> str:
        """What its failure says last; "" without one."""
        path = self.folder / FAILURE
        return path.read_text().strip().rpartition("\n")[2] if path.is_file() else ""


class Trials:
    """The trials of one sweep's folder.

    Args:
        folder: The sweep's.
        compose: Makes the config of a trial's overrides.
    """

    def __init__(self, folder: Path, compose: Callable[[Sequence[str]], DictConfig]) -> None:
        self.folder = folder
        self.compose = compose
        self._names: dict[str, dict[str, Any]] = _read(folder / _NAMES) or {}
        self._is_held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other sweeps out of the folder; a search holds it around its batches, each of which asks again.

        Raises:
            ConfigError: Another one works there, or the folder is not a sweep's.
        """
        if self._is_held:
            yield
            return
        _make_folder(self.folder)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                action = "Wait for it, or give this one another sweep_name."
                raise ConfigError(f"Another sweep works in {self.folder}", action=action) from None
            self._is_held = True
            try:
                yield
            finally:
                self._is_held = False

    def of(self, all_overrides: Sequence[Sequence[str]]) -> list[Trial]:
        """The trials of some lists of overrides; names are remembered, since composing a config takes 0.1 s."""
        around = _surroundings()
        trials = [
            Trial(self.folder / self._name(overrides, around), tuple(overrides))
            for overrides in all_overrides
        ]
        _write(self.folder / _NAMES, self._names)
        return trials

    def _name(self, overrides: Sequence[str], around: Sequence[str]) -> str:
        key = sha256("\0".join([*sorted(overrides), *around]).encode()).hexdigest()
        entry = self._names.get(key)
        if entry is None or any(
            _stamp(Path(path)) != stamp for path, stamp in entry["data"].items()
        ):
            cfg = self.compose(overrides)
            data = {str(path): _stamp(path) for path in data_files(cfg)}
            entry = self._names[key] = {"trial": trial_id(cfg), "data": data}
        return str(entry["trial"])


def prepare_trial(trial: Trial, *, resume: bool) -> None:
    """Makes a trial's folder and forgets how it ended before.

    Args:
        trial: The trial.
        resume: Keep its last checkpoint, from which a worker goes on (see worker.py); else it begins anew.
    """
    trial.folder.mkdir(parents=True, exist_ok=True)
    for name in (FAILURE, PRUNED) if resume else (FAILURE, PRUNED, RESULT, CHECKPOINT):
        (trial.folder / name).unlink(missing_ok=True)
    _write(trial.folder / TRIAL, {"overrides": list(trial.overrides)})


@contextmanager
def alone(trial: Trial) -> Iterator[None]:
    """Waits until no other process works on a trial: a killed sweep's workers may still be at it."""
    trial.folder.mkdir(parents=True, exist_ok=True)
    with (trial.folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def trials_in(folder: Path) -> list[Trial]:
    """Every trial that was begun in a sweep's folder."""
    found = [(path.parent, _read(path)) for path in sorted(folder.glob(f"*/{TRIAL}"))]
    return [Trial(place, tuple(content["overrides"])) for place, content in found if content]


def trial_id(cfg: DictConfig) -> str:
    """Names a trial; equal for the same settings, code and data.

    Settings refer to one another and to paths by name, so that a trial keeps its name on another machine.
    """
    settings = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(settings, dict)
    kept = {name: value for name, value in settings.items() if name not in _NO_IDENTITY}
    content = json.dumps(
        [kept, _code(), *map(_digest, data_files(cfg))], sort_keys=True, default=str
    )
    return sha256(content.encode()).hexdigest()[:12]


def data_files(cfg: DictConfig) -> Iterator[Path]:
    """The small files that tell one state of the data from another."""
    data_dir, store = Path(cfg.paths.data_dir), Path(cfg.data.store_dir)
    yield store if store.suffix else store / "manifest.json"
    yield data_dir / "xlsa17" / "data" / cfg.data.benchmark / "att_splits.mat"
    if cfg.data.semantics.word_vectors:
        yield data_dir / cfg.data.semantics.word_vectors
    if cfg.data.folder:
        yield from sorted(path for path in Path(cfg.data.folder).iterdir() if path.is_file())


def _make_folder(folder: Path) -> None:
    """Makes a sweep's folder; refuses one that holds something else."""
    action = "Give this sweep another sweep_name, or the folder another name."
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"{folder} is a file", expected="a sweep's folder, or none", action=action
        )
    foreign = sorted(
        {path.name for path in folder.glob("*")} - {"multirun.yaml"}
    )  # Hydra has written that by now
    if foreign and not (folder / _LOCK).exists():
        raise ConfigError(
            f"{folder} is no sweep's folder: it holds {', '.join(foreign[:3])}", action=action
        )
    folder.mkdir(parents=True, exist_ok=True)


def _surroundings() -> list[str]:
    """What else a trial's config follows from: code, configs, environment."""
    environment = [
        f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("MSDN_")
    ]
    return [_code(), _hash(config_dir(), "*.yaml"), *environment]


@cache
def _code() -> str:
    return _hash(PACKAGE, "*.py")


def _hash(folder: Path, pattern: str) -> str:
    return sha256(
        b"\0".join(path.read_bytes() for path in sorted(folder.rglob(pattern)))
    ).hexdigest()


def _digest(path: Path) -> str | None:
    """Hash of a file; of one of many GB, of its size and time."""
    try:
        is_large = path.suffix in (".hdf5", ".h5")
        return str(_stamp(path)) if is_large else sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON file's content; None where it is missing or half written."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: Path, content: object) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)
