"""From one config to one object: the only module that calls Hydra's instantiate."""

import copy
import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import get_object
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from msdn_lit.errors import ConfigError, UserError, one_line, some
from msdn_lit.files import PACKAGE, config_dir

_SETTINGS_OF_HYDRA = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


def instantiate(
    config: DictConfig,
    *,
    left_out: Sequence[str] = (),
    **arguments: Any,  # noqa: ANN401 - any arguments
) -> Any:  # noqa: ANN401 - any object
    """Makes the object of a config, which is not changed.

    Args:
        config: Config of the object.
        left_out: Settings of the config that the object does not get, if they are there.
        **arguments: Arguments in the place of settings, or beside them.

    Raises:
        ConfigError: A constructor rejects a value, or has no such argument.
    """
    config = _copy(config)
    with open_dict(config):
        for name in left_out:
            config.pop(name, None)
    try:
        made = hydra_instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, TypeError, ImportError, _error_of_lightning())):
            raise _invalid(config._target_, cause) from error
        raise
    for partial in _partials(config):
        _check_arguments(partial)
    return made


def instantiate_partial(config: DictConfig, *arguments: Any, **offers: Any) -> Any:  # noqa: ANN401
    """Makes a partial object and calls it with the arguments.

    Args:
        config: Config of the partial object.
        *arguments: Positional arguments.
        **offers: Facts of the data; the object gets those that its signature names.

    Raises:
        ConfigError: A setting does not exist, for example because it belongs to another class, or
            the constructor rejects a value.
    """
    partial = instantiate(config)
    names = inspect.signature(partial).parameters if offers else ()
    known = {name: value for name, value in offers.items() if name in names}
    return call(config._target_, partial, *arguments, **known)


def call(name: str, partial: Callable[..., Any], *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
    """Calls a partial object of a config.

    Args:
        name: Its `_target_`, for the message.
        partial: Partial object.
        *arguments: Positional arguments that the config does not have.
        **named: Keyword arguments that the config does not have.

    Raises:
        ConfigError: The constructor rejects a value.
    """
    try:
        return partial(*arguments, **named)
    except (TypeError, ValueError) as error:
        raise _invalid(name, error) from error


def _error_of_lightning() -> type[Exception]:
    """Returns Lightning's error of a wrong setting; Lightning is slow to import."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    error: type[Exception] = MisconfigurationException
    return error


def _invalid(name: str, error: BaseException) -> ConfigError:
    """Returns the error of a constructor that rejects its settings; names a line of own code."""
    *_, last = traceback.extract_tb(error.__traceback__)
    path = Path(last.filename)
    is_own = "site-packages" not in path.parts and not path.is_relative_to(PACKAGE)
    place = f", {path.name} line {last.lineno}" if is_own else ""
    return ConfigError(f"{name}: invalid config ({one_line(error)}{place})")


def _partials(config: Any) -> Iterator[DictConfig]:  # noqa: ANN401 - any node
    """Yields the configs of partial objects, which Hydra does not call, in a config."""
    if isinstance(config, DictConfig) and config.get("_partial_"):
        yield config
    if isinstance(config, DictConfig | ListConfig) and not config._is_none():
        nodes: Any = config
        for key in nodes if isinstance(config, DictConfig) else range(len(config)):
            if not OmegaConf.is_missing(config, key):
                yield from _partials(nodes[key])


def _check_arguments(config: DictConfig) -> None:
    """Refuses keys that the constructor of a partial object does not take.

    Raises:
        ConfigError: There are such keys.
    """
    try:
        known = inspect.signature(get_object(config._target_)).parameters.values()
    except ValueError:  # a built-in function without a signature
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        return
    unknown = [
        str(key)
        for key in config
        if key not in _SETTINGS_OF_HYDRA and key not in {parameter.name for parameter in known}
    ]
    if unknown:
        key = config._get_full_key(None)
        problem = f"{config._target_} has no argument {some(f'{key}.{name}' for name in unknown)}"
        removed = " ".join(f"~{key}.{name}" for name in unknown)
        fitting = _other_choice(key, config._target_)
        action = f"Use {key}={fitting}, or add {removed}" if fitting else f"Add {removed}"
        raise ConfigError(problem, action=action)


def _other_choice(group: str, target: str) -> str:
    """Returns the file of a config group that has a target, if another one was chosen."""
    if not HydraConfig.initialized():  # not a command
        return ""
    chosen = HydraConfig.get().runtime.choices.get(group)
    files = sorted((config_dir() / group).glob("[!_]*.yaml"))
    fitting = [path.stem for path in files if _target(path) == target]
    return "" if chosen in fitting or not fitting else fitting[0]


def _target(path: Path) -> str | None:
    """Returns the `_target_` of a config file: its own, or that of the file it extends."""
    content: Any = OmegaConf.load(path)
    bases = [path.with_name(f"{name}.yaml") for name in content.get("defaults", [])]
    inherited = (_target(base) for base in bases if base.is_file())
    return content.get("_target_") or next(inherited, None)


def _copy(config: DictConfig) -> DictConfig:
    """Copies a config with its root: Hydra resolves the references in the nodes they refer to."""
    root = copy.deepcopy(config._get_root())
    key = config._get_full_key(None)
    copied = OmegaConf.select(root, key) if key else root
    assert isinstance(copied, DictConfig)
    return copied
