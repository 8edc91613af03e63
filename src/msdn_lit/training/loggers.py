"""The loggers of a run: opened with what is known of the run, and closed in every case."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger

from msdn_lit.errors import UserError, print_error
from msdn_lit.runs.layout import EXPORT
from msdn_lit.runs.record import RunRecord

if TYPE_CHECKING:
    from msdn_lit.training.wandb_logger import ResumableWandbLogger


def open_loggers(trainer: Trainer, metadata: Mapping[str, Any]) -> None:
    """Opens the W&B run, if there is to be one, with what is known before the first step."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(dict(metadata))  # on the first rank only


def log_artifacts(
    trainer: Trainer, record: RunRecord, write_bundle: Callable[[Path], None] | None
) -> None:
    """Logs the result of a finished run, and its bundle if that is asked for, to W&B.

    Args:
        trainer: Trainer of the run.
        record: Record of the run, written.
        write_bundle: Function that writes the bundle of the run into a folder.
    """
    if not any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        return
    from msdn_lit.training.wandb_logger import ResumableWandbLogger

    for logger in trainer.loggers:
        if isinstance(logger, ResumableWandbLogger) and logger.log_result:
            logger.log_files("result", record.texts())
        if isinstance(logger, ResumableWandbLogger) and logger.log_bundle and write_bundle:
            _log_bundle(logger, record.folder / EXPORT / "bundle", write_bundle)


def _log_bundle(
    logger: "ResumableWandbLogger", folder: Path, write_bundle: Callable[[Path], None]
) -> None:
    """Writes and logs a bundle; one line is printed for a model that cannot become one."""
    try:
        write_bundle(folder)
    except UserError as error:
        print_error("msdn train", f"W&B gets no bundle: {error}")
        return
    logger.log_files("bundle", {}, folder)


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
