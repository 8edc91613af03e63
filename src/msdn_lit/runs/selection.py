"""What msdn-select chose, held against the config of the run that uses it."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from msdn_lit.errors import ConfigError, LeakError


def read_selection(cfg: DictConfig) -> dict[str, Any] | None:
    """What msdn-select chose for this run, if the config names it.

    Raises:
        ConfigError: The file is missing or damaged.
        LeakError: A setting is not the chosen one.
    """
    if not cfg.protocol.selection:
        return None
    path = Path(cfg.protocol.selection)
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        settings = dict(content["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is no record of msdn-select ({error})", action="Write it again."
        ) from error
    for key, chosen in settings.items():
        found = OmegaConf.select(cfg, key)
        found = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
        if found != chosen:
            raise LeakError(
                f"{key} is not what {path} chose",
                expected=chosen,
                found=found,
                action="msdn-select says how.",
            )
    return content
