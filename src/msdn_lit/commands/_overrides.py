"""Checks what was typed on the command line before Hydra acts on it, and says what may have been meant."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from msdn_lit.errors import ConfigError


def check_overrides(config_dir: Path, config_name: str, arguments: Sequence[str]) -> None:
    """Refuses a key that the config does not have, and a value of another type than the one it replaces.

    Choices of config groups (`model=msdn_paper`), additions (`+key=...`) and deletions (`~key`) are left to Hydra.

    Args:
        config_dir: Where the configs are.
        config_name: The entry point's config.
        arguments: The overrides on the command line.

    Raises:
        ConfigError: An override is wrong; the message names close keys, or the expected type.
    """
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    for override in overrides:
        if (
            (config_dir / override.key_or_group).is_dir()
            and not override.is_delete()
            and override.value() is None
        ):
            action = f"Leave it out, or write ~{override.key_or_group}."
            raise ConfigError(
                f"{override.key_or_group}=null chooses no file of the group", action=action
            )
    values = [override for override in overrides if _replaces_value(override, config_dir)]
    if not values:
        return
    others = [
        o.input_line
        for o in overrides
        if o not in values and not o.is_sweep_override() and o.input_line
    ]
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        config = compose(config_name, overrides=others, return_hydra_config=True)
    for override in values:
        _check_key(override.key_or_group, config)
        for value in _values(override):
            _check_type(override.key_or_group, value, config)


def _replaces_value(override: Override, config_dir: Path) -> bool:
    is_group = "/" in override.key_or_group or (config_dir / override.key_or_group).is_dir()
    return not (is_group or override.package or override.is_add() or override.is_delete())


def _values(override: Override) -> Iterator[Any]:
    if not override.is_sweep_override():
        return iter([override.value()])
    return (
        override.sweep_iterator() if override.is_choice_sweep() else iter([])
    )  # a range holds numbers only


def _check_key(key: str, config: DictConfig) -> None:
    known = list(_leaf_keys(config))
    if key in known or any(name.startswith(f"{key}.") for name in known):
        return
    parent = key.rpartition(".")[0]
    if (
        parent
        and OmegaConf.is_dict(OmegaConf.select(config, parent))
        and not OmegaConf.select(config, parent)
    ):
        return  # an empty dictionary is there to be filled
    same_ending = [name for name in known if name.endswith(f".{key.rpartition('.')[2]}")]
    close = same_ending or difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    meant = f"Did you mean {' or '.join(close[:3])}?" if close else "See all keys with --cfg job."
    raise ConfigError(f"There is no config key {key!r}", action=meant)


def _check_type(key: str, value: Any, config: DictConfig) -> None:  # noqa: ANN401 - whatever Hydra parsed
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
    if value is None or type(node) not in kinds or is_reference or is_free:
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
