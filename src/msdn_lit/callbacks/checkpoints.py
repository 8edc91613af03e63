"""Callbacks that save checkpoints during a training, and what makes them continue exactly."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import distributed

from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.errors import ConfigError
from msdn_lit.files import link_atomically
from msdn_lit.runs.layout import LAST


class Checkpoints(Checkpoint):
    """Saves last.ckpt after every evaluation, and peak_*.ckpt if it is the best one so far.

    The checkpoint is written once: the peaks are further names of the same file.

    Args:
        folder: Folder of the checkpoints.
        every_n_steps: Also save last.ckpt every n training steps; None does not.

    Raises:
        ConfigError: `every_n_steps` is not above 0.
    """

    def __init__(self, folder: str, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and (not isinstance(every_n_steps, int) or every_n_steps < 1):
            problem = "callbacks.checkpoints.every_n_steps is wrong"
            expected = "a whole number above 0, or null"
            raise ConfigError(problem, expected=expected, found=every_n_steps)
        self.last = Path(folder) / f"{LAST}.ckpt"
        self.every_n_steps = every_n_steps

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:  # noqa: ANN401 - Lightning's
        """Saves last.ckpt every n steps."""
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            trainer.save_checkpoint(self.last, weights_only=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the checkpoint under each name that is reported for this evaluation."""
        if trainer.sanity_checking:
            return
        trainer.save_checkpoint(self.last, weights_only=False)
        if trainer.is_global_zero:
            peaks = _peaks(trainer, pl_module.global_step)
            link_atomically(self.last, *(self.last.with_name(f"{name}.ckpt") for name in peaks))


class RandomState(Callback):
    """Saves and restores the random number generators of Python, NumPy and PyTorch.

    A resumed run draws the same numbers as an uninterrupted one, in each of its processes. With
    another number of processes, all of them continue with the numbers of the first. Only tensors
    and plain values are stored, since checkpoints are loaded with weights_only=True.
    """

    def state_dict(self) -> dict[str, Any]:
        """Returns the states for a checkpoint; every process must call it."""
        own = _state()
        if not _is_shared():
            return own
        ranks: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(ranks, own)
        return {**own, "ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the states of a checkpoint."""
        ranks = state_dict.get("ranks", ())
        if _is_shared() and len(ranks) == distributed.get_world_size():
            _restore(ranks[distributed.get_rank()])
        else:
            _restore(state_dict)


def _peaks(trainer: Trainer, step: int) -> list[str]:
    """Returns the names of the peaks that the evaluation at a step is.

    Seeds that train in parallel have no history of the trainer: `SeedRuns` saves their peaks.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    histories = [callback for callback in callbacks if isinstance(callback, EvaluationHistory)]
    return [name for history in histories for name in history.reported_at(step) if name != LAST]


def _is_shared() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _state() -> dict[str, Any]:
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
