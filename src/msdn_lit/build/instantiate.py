"""From one config to one object: the only file that calls Hydra's instantiate."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from msdn_lit.errors import ConfigError, UserError


def make(config: DictConfig, **arguments: Any) -> Any:  # noqa: ANN401 - whatever the config's target makes
    """Instantiates; a value that a constructor refuses is the user's fault."""
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, TypeError, ImportError, MisconfigurationException)):
            raise ConfigError(f"{config._target_} refuses its config ({cause})") from error
        raise


def finish(config: DictConfig, *arguments: Any) -> Any:  # noqa: ANN401 - as `make`
    """Instantiates a partial and calls it; a setting of another class's (an experiment's, say) is the user's fault."""
    try:
        return make(config)(*arguments)
    except TypeError as error:
        raise ConfigError(f"{config._target_} refuses its config ({error})") from error
