"""The loggers of a run: opened with what is known of the run, and closed in every case."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger


def open_loggers(trainer: Trainer, metadata: Mapping[str, Any]) -> None:
    """Opens the W&B run, if there is to be one, with what is known before the first step."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(dict(metadata))  # on the first rank only


@contextmanager
def closing_loggers(trainer: Trainer) -> Iterator[None]:
    """Ends the W&B run and the process group, so that the next job of a multirun starts its own.

    The W&B run of a training that was interrupted is marked as failed.
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
