"""The loggers of a run: opened with what is known of it, closed whatever happens."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger


def open_loggers(trainer: Trainer, facts: Mapping[str, Any]) -> None:
    """Opens W&B's run, if there is one to be, with what is known of it before the first step."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(dict(facts))  # on the first rank alone


@contextmanager
def closing(trainer: Trainer) -> Iterator[None]:
    """Ends W&B's run and the group of processes, so that the next job of a multirun begins its own.

    The run of a training that broke off ends as failed.
    """
    try:
        yield
    finally:
        if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
            import wandb

            if wandb.run is not None:
                wandb.run.finish(exit_code=int(trainer.interrupted))
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
