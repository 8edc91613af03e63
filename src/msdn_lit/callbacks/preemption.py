"""A callback that saves a checkpoint when a scheduler or Ctrl+C ends the process."""

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.errors import Interrupted

# Schedulers send one of the first three before they end a job; Ctrl+C is the last.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
# submitit's own handler of this signal puts the job back into the queue and ends the program.
REQUEUE_SIGNAL = signal.SIGUSR2
_SAVING = b"This step is finished and saved. Ctrl+C again ends the program at once.\n"
_ERASE_LINE = b"\r\x1b[2K"  # the progress line, and the ^C that the terminal has written behind it


class Preemption(Callback):
    """Saves a checkpoint and ends the program after SIGTERM, SIGUSR1, SIGUSR2 or Ctrl+C (SIGINT).

    The checkpoint is saved at the end of the current step. A run with ckpt_path=last, or a trial of
    a sweep with the same name, continues with the next step. A second Ctrl+C ends the program at
    once.

    Args:
        checkpoint: Path of the checkpoint.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        self.received = 0
        self.earlier: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Installs the signal handlers. Lightning restores the earlier ones after training."""
        if threading.current_thread() is threading.main_thread():
            self.earlier = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:  # noqa: ANN401 - Lightning's
        """Ends the program after a signal.

        Raises:
            Interrupted: One of the processes received a signal.
        """
        if trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            trainer.save_checkpoint(self.checkpoint, weights_only=False)
            if self.received == REQUEUE_SIGNAL and callable(self.earlier[REQUEUE_SIGNAL]):
                self.earlier[REQUEUE_SIGNAL](REQUEUE_SIGNAL, None)
            message = f"stopped after step {trainer.global_step}, which is saved"
            raise Interrupted(128 + (self.received or signal.SIGTERM), message)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)  # for a third one, if the program hangs
            raise Interrupted(128 + number)
        self.received = number
        if number == signal.SIGINT:
            with suppress(OSError):  # print could not be entered again inside itself
                os.write(2, (_ERASE_LINE if os.isatty(2) else b"\n") + _SAVING)
