"""Choices of files of the config groups, such as `model=msdn_paper`."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Glob, Override

from msdn_lit.commands import _habits as habits
from msdn_lit.errors import ConfigError
from msdn_lit.files import config_dir

_OPTIONAL = ("scheduler", "compile", "experiment", "debug")  # null in conf/train.yaml


def check_choice(override: Override, folders: Sequence[Path]) -> None:
    """Refuses choices that do not exist, or that Hydra 1.3 would answer with a traceback.

    Raises:
        ConfigError: The message names what to type.
    """
    group = override.key_or_group
    if not is_group(group, folders):
        return
    if override.is_delete():
        if (config_dir() / group).is_dir() and group not in _OPTIONAL:
            problem = f"Every run has settings of the group {group}"
            raise ConfigError(problem, action=_instead_of_null(group, folders))
        return
    if group == "hydra/launcher" and override.value() != "trials":
        launchers = _choices("trial_launcher", folders)
        name = override.value() if override.value() in launchers else "|".join(launchers)
        problem = f"hydra/launcher={override.value()} would bypass the trials of a sweep"
        raise ConfigError(problem, action=f"Use trial_launcher={name}.")
    if override.value() is None:
        problem = f"{group}=null is not supported by Hydra 1.3"
        raise ConfigError(problem, action=_instead_of_null(group, folders))
    for name in [] if group.startswith("hydra") else _names(override):
        action = instead_of_choice(group, name, folders)
        if action:
            raise ConfigError(f"There is no {group}={name}", action=action)


def is_group(name: str, folders: Sequence[Path]) -> bool:
    """Whether a name is that of a config group."""
    is_hydra = name in ("hydra/launcher", "hydra/sweeper")
    return is_hydra or any((folder / name).is_dir() for folder in folders if name)


def instead_of_choice(group: str, name: str, folders: Sequence[Path]) -> str:
    """Returns what to type instead of a file that a group does not have; "" if it has it."""
    file = name if name.endswith(".yaml") else f"{name}.yaml"
    if any((folder / group / file).is_file() for folder in folders):
        return ""
    names = _choices(group, folders)
    folder, _, last = name.rpartition("/")
    beside = _in_folder(folder, names)
    if same := habits.closest(name, names):
        return f"Type {group}={same}."
    if close := _close(last, beside) if beside else _close(name, names, of=str):
        return f"Did you mean {group}={close}?"
    if habit := habits.choice(group, name):
        return habit
    inside = [each for each in names if each.startswith(f"{name}/")]
    elsewhere = [each for each in names if _last(each) == last]
    if not (inside or elsewhere) and (close := _close(last, names)):
        return f"Did you mean {group}={close}?"
    known = inside or elsewhere or beside or _in_folder("", names)
    return f"Type {group}={'|'.join(known)}."


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _close(typed: str, names: Sequence[str], of: Callable[[str], str] = _last) -> str:
    """Returns the name whose last part, or `of(name)`, is spelt like what was typed; or ""."""
    spellings = {of(name): name for name in reversed(names)}  # the first of several names
    found = difflib.get_close_matches(typed, spellings, n=1, cutoff=0.75)
    return spellings[found[0]] if found else ""


def _in_folder(folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name.rpartition("/")[0] == folder]


def _names(override: Override) -> Iterator[str]:
    """Yields the names of the files that an override chooses, as far as they are written out."""
    value = override.value()
    if override.is_sweep_override():
        is_choice = override.is_choice_sweep() and not isinstance(value, Glob)
        found: list[object] = [*override.sweep_string_iterator()] if is_choice else []
    else:
        found = [*value] if isinstance(value, list) else [value]
    for name in found:
        text = str(name).lower() if isinstance(name, bool) else str(name)
        if not text.startswith("[") and "${" not in text:
            yield text


def _instead_of_null(group: str, folders: Sequence[Path]) -> str:
    """Returns the remedy for `GROUP=null`."""
    names = _choices(group, folders)
    if "none" in names:
        return f"Use {group}=none."
    if group in _OPTIONAL:
        return f"Omit it, or write ~{group}."
    return f"Use {group}={'|'.join(names)}."


def _choices(group: str, folders: Sequence[Path]) -> list[str]:
    """Returns the files of a group, e.g. `demo`; of experiments also those of their folders."""
    pattern = "**/[!_]*.yaml" if group == "experiment" else "[!_]*.yaml"
    paths = (
        (folder / group, path) for folder in folders for path in (folder / group).glob(pattern)
    )
    return sorted(path.relative_to(top).with_suffix("").as_posix() for top, path in paths)
