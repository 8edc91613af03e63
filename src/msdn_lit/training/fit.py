"""What every training does, of one model or of several at once: begin or go on, fit, evaluate, save."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from msdn_lit.errors import LeakError
from msdn_lit.runs.checkpoint import FOLDER, find_checkpoint, load_checkpoint

if TYPE_CHECKING:
    from lightning import Trainer

    from msdn_lit.callbacks import EvaluationHistory
    from msdn_lit.data.datamodule import ZSLDataModule
    from msdn_lit.tasks import ZSLTask


def start_of(cfg: DictConfig, folder: Path, task: "ZSLTask") -> Path | None:
    """The checkpoint that the config continues, held to the task; None where training begins.

    Raises:
        CheckpointError: There is none, or it does not fit.
        LeakError: It was chosen by a score that must not choose.
    """
    if not cfg.ckpt_path:
        return None
    checkpoint = find_checkpoint(cfg.ckpt_path, folder)
    if checkpoint.stem.startswith("peak_") and not cfg.protocol.allow_test_selection:
        raise LeakError(f"{checkpoint} was chosen by its score", action="Continue from last.ckpt.")
    load_checkpoint(checkpoint, task)
    return checkpoint


def fit(
    trainer: "Trainer",
    task: "ZSLTask",
    datamodule: "ZSLDataModule",
    checkpoint: Path | None,
    histories: Sequence["EvaluationHistory"],
    folder: Path,
) -> None:
    """Trains to the last step, evaluates there if training has not, and leaves last.ckpt.

    Args:
        trainer: Of the run.
        task: To train.
        datamodule: Set up.
        checkpoint: Where to go on.
        histories: That must hold the last step in the end.
        folder: Of the run.
    """
    trainer.fit(task, datamodule, ckpt_path=checkpoint, weights_only=True)
    if any(trainer.global_step not in history.scores_at for history in histories):
        trainer.validate(task, datamodule, verbose=False, weights_only=True)
    trainer.save_checkpoint(
        folder / FOLDER / "last.ckpt", weights_only=False
    )  # all that a resume needs
