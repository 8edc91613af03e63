"""From one config to one object: the only module that calls Hydra's instantiate."""

import copy
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from msdn_lit.errors import ConfigError, UserError


def instantiate(config: DictConfig, **arguments: Any) -> Any:  # noqa: ANN401 - any object
    """Makes the object of a config, which is not changed.

    Raises:
        ConfigError: A constructor rejects a value.
    """
    try:
        return hydra_instantiate(_copy(config), **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, TypeError, ImportError, MisconfigurationException)):
            raise _invalid(config, cause) from error
        raise


def instantiate_partial(config: DictConfig, *arguments: Any) -> Any:  # noqa: ANN401 - any object
    """Makes a partial object and calls it with the arguments.

    Raises:
        ConfigError: A setting does not exist, for example because it belongs to another class.
    """
    try:
        return instantiate(config)(*arguments)
    except TypeError as error:
        raise _invalid(config, error) from error


def _invalid(config: DictConfig, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())  # Hydra adds a line with the key
    return ConfigError(f"{config._target_}: invalid config ({reason})")


def _copy(config: DictConfig) -> DictConfig:
    """Copies a config with its root: Hydra resolves the references in the nodes they refer to."""
    root = copy.deepcopy(config._get_root())
    key = config._get_full_key(None)
    copied = OmegaConf.select(root, key) if key else root
    assert isinstance(copied, DictConfig)
    return copied
