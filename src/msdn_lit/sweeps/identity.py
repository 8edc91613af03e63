"""Identity of a trial: a hash of everything that can change its scores.

Trials of the same settings, code and data have the same identity, on any machine and in any order.
The names of trial folders are identities, so a repeated command finds its finished trials.
"""

import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from msdn_lit.files import PACKAGE
from msdn_lit.runs.layout import checkpoint_path
from msdn_lit.sweeps.own_code import source_files

# Packages of msdn_lit that can change a score.
CODE = ("build", "training", "tasks", "models", "losses", "metrics", "data")

# Settings that change no score: paths, checks, and what is written about a run.
WITHOUT_EFFECT = (
    "paths",
    "ckpt_path",
    "task_name",
    "name",
    "tags",
    "print_config",
    "sweep_name",
    "resume",
    "overwrite",
    "recipe_of",
    "callbacks",
    "logger",
    "debug",
    "hydra",
)

NUM_DIGITS = 12
_TOO_LARGE_TO_HASH = (".hdf5", ".h5")  # many GB


def trial_id(cfg: DictConfig) -> str:
    """Returns the identity of a trial: the first 12 hex digits of the hash.

    References between settings, and to paths, are not resolved, so that a trial has the same
    identity on another machine.
    """
    files = map(_digest, identifying_files(cfg))
    content = json.dumps([_settings(cfg), code_hash(), *files], sort_keys=True, default=str)
    return sha256(content.encode()).hexdigest()[:NUM_DIGITS]


def identifying_files(cfg: DictConfig) -> list[Path]:
    """Returns the files that identify the data of a config and the user's own code."""
    targets = sorted(set(_targets(_settings(cfg))))
    own = [target for target in targets if not target.startswith("msdn_lit.")]
    sources = dict.fromkeys(path for target in own for path in source_files(target))
    return [*_data_files(cfg), *sources]


def context_of_identities(config_folders: Sequence[Path]) -> list[str]:
    """Returns what decides, beside the overrides, the composed config and the identity of a trial.

    Args:
        config_folders: Folders of our configs and of the user's own.
    """
    environment = [
        f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("MSDN_")
    ]
    configs = [path for folder in config_folders for path in sorted(folder.rglob("*.yaml"))]
    return [code_hash(), _hash(configs), *environment]


@cache
def code_hash() -> str:
    """Returns the hash of the code that can change a score."""
    return _hash([path for name in CODE for path in sorted((PACKAGE / name).rglob("*.py"))])


def stamp(path: Path) -> list[int] | None:
    """Returns size and time of change of a file; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """Returns the settings that can change a score."""
    settings = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(settings, dict)
    return {str(name): node for name, node in settings.items() if name not in WITHOUT_EFFECT}


def _targets(node: object) -> Iterator[str]:
    """Returns every `_target_` of a config, at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _data_files(cfg: DictConfig) -> Iterator[Path]:
    """Returns the small files that change whenever the data do."""
    data_dir = Path(cfg.paths.data_dir).expanduser()
    store = Path(cfg.data.store_dir).expanduser()
    yield store if store.suffix else store / "manifest.json"
    yield data_dir / "xlsa17" / "data" / cfg.data.benchmark / "att_splits.mat"
    if cfg.data.semantics.word_vectors:
        yield data_dir / cfg.data.semantics.word_vectors
    if cfg.features.get("train") not in (None, "none") and cfg.features.backbone.weights_file:
        yield Path(cfg.features.backbone.weights_file).expanduser()
    if cfg.get("init_from"):
        yield checkpoint_path(Path(cfg.init_from).expanduser())
    if cfg.data.folder:
        folder = Path(cfg.data.folder).expanduser()
        yield from sorted(path for path in folder.glob("*") if path.is_file())


def _hash(paths: Sequence[Path]) -> str:
    return sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _digest(path: Path) -> str | None:
    """Returns the hash of a file, or size and time of a large one; None if it cannot be read."""
    if path.suffix in _TOO_LARGE_TO_HASH:
        return str(stamp(path))
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
