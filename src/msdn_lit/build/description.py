"""From a config to the description of a run: what its record says of the settings."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from msdn_lit.build.allowed import is_plain
from msdn_lit.runs.reader import recipe_of
from msdn_lit.runs.record import RunDescription
from msdn_lit.runs.selection import read_selection

# Benchmark -> the experiment with its settings.
RECIPES = {"CUB": "cub_gzsl", "SUN": "sun_gzsl", "AWA2": "awa2_gzsl", "SYNTHETIC": "demo"}


def describe(
    cfg: DictConfig,
    *,
    command: Sequence[str] | None = None,
    choices: Mapping[str, Any] | None = None,
) -> RunDescription:
    """Returns the description of the run of a config.

    Args:
        cfg: Config of the run.
        command: Words of the command; None takes those of the Hydra job.
        choices: Chosen files of the config groups; None takes those of the Hydra job.

    Raises:
        ConfigError: The selection file is missing or damaged.
        LeakError: A setting is not the one that the selection file chose.
    """
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    selection = cfg.protocol.selection
    return RunDescription(
        benchmark=cfg.data.benchmark,
        features=cfg.features.name,
        protocol=cfg.protocol.name,
        stage=cfg.protocol.stage,
        seed=cfg.seed,
        command=shlex.join(command) if command else command_line(),
        choices=_choices() if choices is None else choices,
        config_yaml=_config_yaml(cfg, config),
        config=config,
        selection=read_selection(Path(selection), config) if selection else None,
    )


def command_line() -> str:
    """Returns the command that repeats this run; in a sweep, that of this trial alone."""
    of_folder = ("paths.run_dir=", "overwrite=", "ckpt_path=last")
    words = [word for word in _overrides() if not word.startswith(of_folder)]
    job = HydraConfig.get().job.config_name if HydraConfig.initialized() else None
    return shlex.join(["msdn", job or "train", *words])


def experiments() -> str:
    """Returns the experiments on the command line, e.g. "cub_gzsl + ablation/none"; "" for none."""
    return recipe_of(_overrides())


def typed_keys() -> set[str]:
    """Returns the keys of the overrides on the command line."""
    return {override.partition("=")[0].lstrip("+~") for override in _overrides()}


def _config_yaml(cfg: DictConfig, resolved: Mapping[str, Any]) -> str:
    """Returns a config as text that can be read without running a resolver.

    References to other settings stay, so that a reader can replace a folder. What other resolvers
    return, e.g. the time or a variable of the environment, is written in their place.
    """
    return OmegaConf.to_yaml(
        OmegaConf.create(_with_references(OmegaConf.to_container(cfg), resolved))
    )


def _with_references(node: Any, resolved: Any) -> Any:  # noqa: ANN401 - any setting
    if isinstance(node, dict):
        return {name: _with_references(value, resolved[name]) for name, value in node.items()}
    if isinstance(node, list):
        return [_with_references(*pair) for pair in zip(node, resolved, strict=True)]
    return node if isinstance(node, str) and is_plain(node) else resolved


def _overrides() -> list[str]:
    if HydraConfig.initialized():
        return list(HydraConfig.get().overrides.task)
    return sys.argv[1:]


def _choices() -> dict[str, Any]:
    """Returns the chosen file of each config group."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {group: name for group, name in choices.items() if not group.startswith("hydra")}
