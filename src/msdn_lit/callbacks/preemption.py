"""Lets a run that is told to end save what it has."""

import signal
import threading
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

SIGNALS = (
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)  # what schedulers send before they take a machine away
REQUEUES = (
    signal.SIGUSR2
)  # under submitit, whose handler puts the job back into the queue and ends the program


class Preemption(Callback):
    """After SIGTERM, SIGUSR1 or SIGUSR2, saves a checkpoint at the end of the step and ends the program.

    With ckpt_path=last, or as a trial of a sweep of the same name, the run goes on with the next
    step.

    Args:
        checkpoint: File to save to.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        self.received = 0
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens in Lightning's place, which puts every handler back when it is done."""
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:  # noqa: ANN401 - Lightning's
        """Ends the run between two steps.

        Raises:
            SystemExit: A signal came to one of the processes; 128 + its number, as shells have it.
        """
        if trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            trainer.save_checkpoint(self.checkpoint, weights_only=False)
            if self.received == REQUEUES and callable(self.before[REQUEUES]):
                self.before[REQUEUES](REQUEUES, None)
            raise SystemExit(128 + (self.received or signal.SIGTERM))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
