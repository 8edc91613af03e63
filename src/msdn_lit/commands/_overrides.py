"""Checks of the overrides on the command line, with hints for typing errors."""

import difflib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf

from msdn_lit.commands._words import Words, parse_override, quoted
from msdn_lit.errors import ConfigError
from msdn_lit.files import config_dir

_MAY_BE_NULL = ("trainer.", "hydra.")  # numbers that null sets to a default
_OPTIONAL = ("scheduler", "compile", "experiment", "debug")  # null in conf/train.yaml


def check_overrides(config_name: str, words: Words) -> None:
    """Refuses unknown keys, and values of another type than the value that they replace.

    Choices of config groups (`model=msdn_paper`), additions (`+key=...`) and deletions (`~key`) are
    left to Hydra.

    Args:
        config_name: Config of the command.
        words: Words of the command line.

    Raises:
        ConfigError: An override is wrong; the message names close keys, or the expected type.
    """
    overrides = [parse_override(word) for word in words.overrides]
    folders = [config_dir(), *words.folders]
    for override in overrides:
        _check_number_of_values(override, words)
        _check_choice(override, folders)
    values = [override for override in overrides if _replaces_value(override, folders)]
    if values:
        configs = list(_compose(config_name, overrides, values, words))
        for override in values:
            _check_key(override.key_or_group, configs)
            for value in _values(override):
                _check_type(override.key_or_group, value, configs[0])


def _check_number_of_values(override: Override, words: Words) -> None:
    """Refuses several values without a sweep."""
    if override.is_sweep_override() and not words.is_multirun:
        one = f"{override.get_key_element()}={quoted(override.get_value_string())}"
        action = f"Add -m for a sweep. If it is one value, quote it: {shlex.quote(one)}"
        raise ConfigError(f"{override.input_line} has several values", action=action)


def _check_choice(override: Override, folders: Sequence[Path]) -> None:
    """Refuses choices that Hydra 1.3 would answer with a traceback."""
    group = override.key_or_group
    if not _is_group(group, folders):
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


def _instead_of_null(group: str, folders: Sequence[Path]) -> str:
    """Returns the remedy for `GROUP=null`."""
    names = _choices(group, folders)
    if "none" in names:
        return f"Use {group}=none."
    if group in _OPTIONAL:
        return f"Omit it, or write ~{group}."
    return f"Use {group}={'|'.join(names)}."


def _choices(group: str, folders: Sequence[Path]) -> list[str]:
    """Returns the files of a group."""
    return sorted(path.stem for folder in folders for path in (folder / group).glob("[!_]*.yaml"))


def _compose(
    config_name: str,
    overrides: Sequence[Override],
    values: Sequence[Override],
    words: Words,
) -> Iterator[DictConfig]:
    """Composes the config without the values, once for each choice of a group in a sweep."""
    fixed = [o for o in overrides if o not in values]
    lines = [o.input_line for o in fixed if o.input_line and not o.is_sweep_override()]
    lines += words.search_path_override
    folders = [config_dir(), *words.folders]
    variants = [
        f"{o.key_or_group}={value}"
        for o in fixed
        if o.is_choice_sweep()
        and not isinstance(o.value(), Glob)  # GridSweeper expands them
        and _is_group(o.key_or_group, folders)
        for value in o.sweep_string_iterator()
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for more in [[variant] for variant in variants] or [[]]:
            yield compose(config_name, overrides=[*lines, *more], return_hydra_config=True)


def _is_group(name: str, folders: Sequence[Path]) -> bool:
    is_hydra = name in ("hydra/launcher", "hydra/sweeper")
    return is_hydra or any((folder / name).is_dir() for folder in folders)


def _replaces_value(override: Override, folders: Sequence[Path]) -> bool:
    name = override.key_or_group
    is_group = "/" in name or _is_group(name, folders)
    return not (is_group or override.package or override.is_add() or override.is_delete())


def _values(override: Override) -> Iterator[Any]:
    if not override.is_sweep_override():
        return iter([override.value()])
    is_choice = override.is_choice_sweep()
    return override.sweep_iterator() if is_choice else iter([])  # a range only holds numbers


def _check_key(key: str, configs: Sequence[DictConfig]) -> None:
    """Refuses a key that none of the configs has."""
    known = list(dict.fromkeys(name for config in configs for name in _leaf_keys(config)))
    if key in known or any(name.startswith(f"{key}.") for name in known):
        return
    parent = key.rpartition(".")[0]
    for config in configs:
        node = OmegaConf.select(config, parent) if parent else None
        if OmegaConf.is_dict(node) and not node:  # there to be filled
            raise ConfigError(f"{parent} is empty", action=f"Add a key with +{key}=VALUE.")
    same_ending = [name for name in known if name.endswith(f".{key.rpartition('.')[2]}")]
    close = same_ending or difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    meant = "See all keys with --cfg job; +KEY=VALUE adds a key."
    if close:
        meant = f"Did you mean {' or '.join(close[:3])}?"
    raise ConfigError(f"There is no config key {key!r}", action=meant)


def _check_type(key: str, value: Any, config: DictConfig) -> None:  # noqa: ANN401 - any value
    node = OmegaConf.to_container(config, resolve=False)
    for part in key.split("."):
        node = node[part] if isinstance(node, dict) else None
    kinds: dict[type, tuple[type, ...]] = {
        bool: (bool,),
        int: (int,),
        float: (int, float),
        list: (list,),
        dict: (dict,),
    }
    is_reference = isinstance(value, str) and value.startswith("${")
    is_free = key == "trainer.devices"  # a number, a list, or "auto"
    may_be_null = type(node) not in (int, float) or key.startswith(_MAY_BE_NULL)
    if (value is None and may_be_null) or type(node) not in kinds or is_reference or is_free:
        return
    fits = isinstance(value, kinds[type(node)]) and (
        isinstance(node, bool) or not isinstance(value, bool)
    )
    if not fits:
        expected = f"a value like {node!r} ({type(node).__name__})"
        raise ConfigError(f"{key} has the wrong type", expected=expected, found=f"{value!r}")


def _leaf_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        node = config._get_node(key)
        if (
            isinstance(node, DictConfig)
            and not node._is_none()
            and not node._is_interpolation()
            and len(node)
        ):
            yield from _leaf_keys(node, f"{prefix}{key!s}.")
        else:
            yield f"{prefix}{key!s}"
