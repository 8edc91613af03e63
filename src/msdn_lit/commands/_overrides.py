"""Checks of the overrides on the command line, with hints for typing errors."""

import difflib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf

from msdn_lit.commands import _habits as habits
from msdn_lit.commands._choices import check_choice, instead_of_choice, is_group
from msdn_lit.commands._words import Words, parse_override, quoted
from msdn_lit.errors import ConfigError
from msdn_lit.files import config_dir

_MAY_BE_NULL = ("trainer.", "hydra.")  # numbers that null sets to a default


def check_overrides(config_name: str, words: Words) -> None:
    """Refuses unknown options, keys and choices, and values of another type than the replaced one.

    Additions (`+key=...`) and deletions (`~key`) are left to Hydra.

    Args:
        config_name: Config of the command.
        words: Words of the command line.

    Raises:
        ConfigError: An override is wrong; the message names close keys, or the expected type.
    """
    folders = [config_dir(), *words.folders]
    if words.foreign:
        _refuse_option(*words.foreign[0], config_name, words, folders)
    overrides = [parse_override(word) for word in words.overrides]
    for override in overrides:
        _check_number_of_values(override, words)
        check_choice(override, folders)
        _check_has_effect(override)
    values = [override for override in overrides if _replaces_value(override, folders)]
    if values:
        configs = list(_compose(config_name, overrides, values, words))
        for override in values:
            key, typed = override.key_or_group, override.get_value_string()
            _check_key(key, configs, _habit(key, typed, words, folders))
            for value in _values(override):
                _check_type(override.key_or_group, value, configs[0])


def _refuse_option(
    option: str, value: str | None, config_name: str, words: Words, folders: Sequence[Path]
) -> None:
    """Refuses an option that does not exist, and names the override with its meaning.

    Raises:
        ConfigError: Always.
    """
    key = option.lstrip("-").replace("-", "_")
    action = _habit(key, value, words, folders)
    if not action:
        (config,) = _compose(config_name, [], [], words)
        node = OmegaConf.select(config, key, default=None)
        shown = value or ("true" if isinstance(node, bool) else "VALUE")
        is_known = key in _leaf_keys(config) or is_group(key, folders)
        action = f"Type {key}={shown}." if is_known else "Settings are written KEY=VALUE."
        action += "" if is_known else f" Type msdn {config_name} --cfg job to see them."
    raise ConfigError(f"There is no option {option}", action=action)


def _habit(key: str, value: str | None, words: Words, folders: Sequence[Path]) -> str:
    """Returns what to type for a key of another program; "" if it is no known habit."""
    group = key if is_group(key, folders) else habits.group_of(key)
    if value and is_group(group, folders):
        return instead_of_choice(group, value, folders) or f"Type {group}={value}."
    action = habits.setting(key, value)
    checkpoints = [word.partition("=")[2] for word in words.overrides if "ckpt_path=" in word]
    run = habits.run_of(checkpoints[0]) if checkpoints else None
    return action.replace("RUN", f"{run[0]} --checkpoint {run[1]}") if run else action


def _check_has_effect(override: Override) -> None:
    """Refuses values and arguments of Lightning's trainer for which other settings stand."""
    if override.is_delete() or override.is_sweep_override():
        return
    key, value = override.key_or_group, override.value()
    action = habits.unwanted(key, value, is_added=override.is_add())
    if action:
        raise ConfigError(f"{key}={value} has no effect here", action=action)


def _check_number_of_values(override: Override, words: Words) -> None:
    """Refuses several values without a sweep."""
    if override.is_sweep_override() and not words.is_multirun:
        key = override.key_or_group
        if key in habits.NUMBERS:
            action = habits.setting(key, override.get_value_string())
            raise ConfigError(f"There is no config key {key!r}", action=action)
        one = f"{override.get_key_element()}={quoted(override.get_value_string())}"
        action = f"Add -m for a sweep. If it is one value, quote it: {shlex.quote(one)}"
        raise ConfigError(f"{override.input_line} has several values", action=action)


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
        and is_group(o.key_or_group, folders)
        for value in o.sweep_string_iterator()
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for more in [[variant] for variant in variants] or [[]]:
            yield compose(config_name, overrides=[*lines, *more], return_hydra_config=True)


def _replaces_value(override: Override, folders: Sequence[Path]) -> bool:
    name = override.key_or_group
    is_choice = "/" in name or is_group(name, folders)
    return not (is_choice or override.package or override.is_add() or override.is_delete())


def _values(override: Override) -> Iterator[Any]:
    if not override.is_sweep_override():
        return iter([override.value()])
    is_choice = override.is_choice_sweep()
    return override.sweep_iterator() if is_choice else iter([])  # a range only holds numbers


def _check_key(key: str, configs: Sequence[DictConfig], habit: str = "") -> None:
    """Refuses a key that none of the configs has, and says what to type for a known habit."""
    known = list(dict.fromkeys(name for config in configs for name in _leaf_keys(config)))
    if key in known or any(name.startswith(f"{key}.") for name in known):
        return
    if habit:
        raise ConfigError(f"There is no config key {key!r}", action=habit)
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


# The first may be a list, too.
_NUMBER_OR_AUTO = ("trainer.devices", "features.num_workers", "features.processes")


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
    is_free = key in _NUMBER_OR_AUTO
    may_be_null = type(node) not in (int, float) or key.startswith(_MAY_BE_NULL)
    if (value is None and may_be_null) or type(node) not in kinds or is_reference or is_free:
        return
    fits = isinstance(value, kinds[type(node)]) and (
        isinstance(node, bool) or not isinstance(value, bool)
    )
    if not fits:
        expected = f"a value like {node!r} ({type(node).__name__})"
        action = _instead_of_value(key, value, is_list=isinstance(node, list))
        problem = f"{key} has the wrong type"
        raise ConfigError(problem, expected=expected, found=f"{value!r}", action=action)


def _instead_of_value(key: str, value: object, *, is_list: bool) -> str:
    """Returns what to type for a value of the wrong type; "" if it is not known."""
    if is_list and isinstance(value, str | int | float):
        return f"Type {key}=[{value}]."
    several = habits.range_of(str(value))
    if several:
        return f"Type -m {shlex.quote(f'{key}={several}')}."
    return habits.setting(key, str(value)) if key == "resume" else ""


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
