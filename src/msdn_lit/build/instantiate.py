"""From one config to one object: the only module that calls Hydra's instantiate."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from msdn_lit.errors import ConfigError, UserError


def instantiate(config: DictConfig, **arguments: Any) -> Any:  # noqa: ANN401 - any object
    """Makes the object of a config.

    Raises:
        ConfigError: A constructor rejects a value.
    """
    try:
        return hydra_instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, TypeError, ImportError, MisconfigurationException)):
            raise ConfigError(f"{config._target_}: invalid config ({cause})") from error
        raise


def instantiate_partial(config: DictConfig, *arguments: Any) -> Any:  # noqa: ANN401 - any object
    """Makes a partial object and calls it with the arguments.

    Raises:
        ConfigError: A setting does not exist, for example because it belongs to another class.
    """
    try:
        return instantiate(config)(*arguments)
    except TypeError as error:
        raise ConfigError(f"{config._target_}: invalid config ({error})") from error
