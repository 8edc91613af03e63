"""From a config to the Lightning trainer, its callbacks and its loggers."""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch.utils.deterministic
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from msdn_lit.build.description import experiments
from msdn_lit.build.instantiate import instantiate
from msdn_lit.build.precision import FLOAT32_SETTINGS, set_float32_precision
from msdn_lit.callbacks import EvaluationHistory, Progress, ScoreCacheWriter
from msdn_lit.errors import ConfigError
from msdn_lit.runs.layout import SCORES_FOLDER
from msdn_lit.training.checkpoint_io import AtomicCheckpointIO

_EXPECTED_WARNINGS = (
    r".*does not have many workers",  # a batch is one gather from a memory map
    r"Checkpoint directory .* exists and is not empty",  # a resumed run continues in its folder
    r"The dirpath has changed from",  # it continues in another folder than its checkpoint's
    r"It is recommended to use `self.log\(.*sync_dist=True",  # the metric has summed over the ranks
    r"Found \d+ module\(s\) in eval mode",  # a backbone that is trained, by intention
    r"The number of training batches .* is smaller than the logging interval",  # a short run
    r"GPU available but not used",  # trainer=cpu, by intention
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on torch >= 2.12
)
# Loggers whose informations are devices, ranks and tips; the header has what matters of them.
_TELL_OF_DEVICES = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
)

_OTHER_LENGTHS = ("max_epochs", "min_epochs", "min_steps", "max_time")


def trainer(cfg: DictConfig, callbacks: Sequence[Callback], loggers: Sequence[Logger]) -> Trainer:
    """Returns the trainer of a run.

    Raises:
        ConfigError: A setting is not valid, or the processes of trainer.strategy=ddp cannot be
            started.
    """
    if cfg.trainer.strategy == "ddp" and _is_in_a_worker():
        problem = "trainer.strategy=ddp needs the command line, which a worker does not have"
        action = "Use trial_launcher=serial, or give each trial one device."
        raise ConfigError(problem, action=action)
    _check_length(cfg.trainer)
    every = cfg.trainer.val_check_interval
    if not every > 0:
        problem = "trainer.val_check_interval is wrong"
        raise ConfigError(problem, expected="a positive number of steps", found=every)
    return _make_trainer(
        cfg.trainer,
        callbacks=list(callbacks),
        logger=list(loggers) or False,
        plugins=[AtomicCheckpointIO()],
        **_without_defaults(callbacks),
        default_root_dir=cfg.paths.run_dir,
        val_check_interval=every if cfg.protocol.report_peaks else cfg.trainer.max_steps,
    )


def check_trainer(cfg: DictConfig) -> None:
    """Makes a trainer before any data are read, so that a wrong setting is found at once.

    Raises:
        ConfigError: A setting is not valid.
    """
    _make_trainer(
        cfg.trainer,
        logger=False,
        max_steps=1,
        val_check_interval=1,
        **_without_defaults([]),
    )


def _without_defaults(callbacks: Sequence[Callback]) -> dict[str, bool]:
    """Returns arguments so that Lightning adds no callback of its own for one that is left out."""
    kinds = {"enable_checkpointing": Checkpoint, "enable_progress_bar": ProgressBar}
    return {
        name: False
        for name, kind in kinds.items()
        if not any(isinstance(callback, kind) for callback in callbacks)
    }


def evaluator(cfg: DictConfig, accelerator: str, folder: Path, name: str) -> Trainer:
    """Returns a trainer that evaluates with the precision of the run and writes the score cache.

    Args:
        cfg: Config of the run.
        accelerator: Accelerator of Lightning.
        folder: Folder of the evaluation.
        name: Name of the evaluation.
    """
    kept = ("precision", "deterministic", *FLOAT32_SETTINGS)
    arguments = {name: cfg.trainer[name] for name in kept if name in cfg.trainer}
    arguments |= {"accelerator": accelerator, "devices": 1}
    arguments |= {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    config = OmegaConf.create({"_target_": cfg.trainer._target_, **arguments})
    scores = ScoreCacheWriter(str(folder / SCORES_FOLDER), name=name)
    callbacks = [EvaluationHistory(report_peaks=False), scores, Progress()]
    return _make_trainer(config, callbacks=callbacks)


def callback_names(cfg: DictConfig) -> list[str]:
    """Returns the callbacks of a run."""
    names = [str(name) for name in cfg.callbacks]
    if cfg.trainer.get("enable_progress_bar") is False and "progress" in names:
        names.remove("progress")
    return names


def callback(cfg: DictConfig, name: str) -> Callback:
    """Returns one callback of the config."""
    made: Callback = instantiate(cfg.callbacks[name])
    return made


def loggers(cfg: DictConfig) -> list[Logger]:
    """Returns the loggers of the config, without W&B's if WANDB_MODE is "disabled".

    The default group of a W&B run is its experiments. Its tags are also those of the run.
    """
    made = []
    for logger in cfg.logger.values():
        arguments: dict[str, Any] = {}
        if "group" in logger and logger.group is None:
            arguments["group"] = experiments() or None
        if "tags" in logger:
            arguments["tags"] = list(dict.fromkeys(map(str, [*logger.tags, *cfg.tags])))
        made.append(instantiate(logger, **arguments))
    if os.environ.get("WANDB_MODE") == "disabled":
        return [logger for logger in made if not isinstance(logger, WandbLogger)]
    return made


def _check_length(config: DictConfig) -> None:
    """Refuses arguments of the trainer that would end a training otherwise than its record says.

    Raises:
        ConfigError: There is one.
    """
    for name in _OTHER_LENGTHS:
        if config.get(name) not in (None, -1):
            problem = f"trainer.{name}={config[name]}: a training ends after a number of steps"
            raise ConfigError(problem, action="Set trainer.max_steps or passes instead.")
    if config.get("check_val_every_n_epoch") is not None:
        problem = "trainer.check_val_every_n_epoch: evaluations are counted in steps"
        raise ConfigError(problem, action="Set trainer.val_check_interval instead.")
    steps = config.max_steps
    if not isinstance(steps, int) or steps < 1:
        expected = "a whole number above 0"
        raise ConfigError("trainer.max_steps is wrong", expected=expected, found=steps)
    if config.get("limit_val_batches", 1.0) == 0:
        problem = "trainer.limit_val_batches=0 evaluates nothing"
        raise ConfigError(problem, action="Use 1.0 for all batches.")
    if config.get("accumulate_grad_batches", 1) != 1:
        action = "Set sampler.batch_size, not trainer.accumulate_grad_batches."
        raise ConfigError("A step is one batch here", action=action)


def _is_in_a_worker() -> bool:
    """Whether this job of a sweep runs in a process that was not started by the command."""
    is_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    workers = ("JoblibLauncher", "RayLauncher")
    return is_sweep and str(HydraConfig.get().launcher._target_).endswith(workers)


def _make_trainer(config: DictConfig, **arguments: Any) -> Trainer:  # noqa: ANN401 - Lightning's
    for name in _TELL_OF_DEVICES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    set_float32_precision(config)
    # what a deterministic step allocates is written before it is read, so it needs no filling
    memory: Any = torch.utils.deterministic
    memory.fill_uninitialized_memory = False
    # FLOAT32_SETTINGS are of PyTorch, not of Lightning's trainer
    return cast(Trainer, instantiate(config, left_out=FLOAT32_SETTINGS, **arguments))
