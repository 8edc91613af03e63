"""A callback that saves a checkpoint when a scheduler or Ctrl+C ends the process."""

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.errors import ConfigError, Interrupted

# Schedulers send one of the first three before they end a job; Ctrl+C is the last.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
# submitit's own handler of this signal puts the job back into the queue and ends the program.
REQUEUE_SIGNAL = signal.SIGUSR2
_SAVING = b"This step is finished and saved. Ctrl+C again ends the program at once.\n"
_ERASE_LINE = b"\r\x1b[2K"  # the progress line, and the ^C that the terminal has written behind it


class Preemption(Callback):
    """Saves a checkpoint and ends the program after SIGTERM, SIGUSR1, SIGUSR2 or Ctrl+C (SIGINT).

    The checkpoint is saved at the end of the current step. Several processes ask one another every
    `every_n_steps` steps, and end together. A run with ckpt_path=last, or a trial of a sweep with
    the same name, continues with the next step. A second Ctrl+C ends the program at once.

    Args:
        checkpoint: Path of the checkpoint.
        every_n_steps: Steps between two questions of several processes. Each waits for the GPU.

    Raises:
        ConfigError: `every_n_steps` is not above 0.
    """

    def __init__(self, checkpoint: str, every_n_steps: int = 10) -> None:
        if not isinstance(every_n_steps, int) or every_n_steps < 1:
            problem = "callbacks.preemption.every_n_steps is wrong"
            expected = "a whole number above 0"
            raise ConfigError(problem, expected=expected, found=every_n_steps)
        self.checkpoint = checkpoint
        self.every_n_steps = every_n_steps
        self.received = 0
        self.earlier: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Installs the signal handlers. Lightning restores the earlier ones after training."""
        if trainer.world_size > 1:
            # Lightning asks in every step whether it received SIGTERM, which comes here instead.
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]
        if threading.current_thread() is threading.main_thread():
            self.earlier = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:  # noqa: ANN401 - Lightning's
        """Ends the program after a signal.

        Raises:
            Interrupted: One of the processes received a signal.
        """
        if self._is_to_end(trainer):
            trainer.save_checkpoint(self.checkpoint, weights_only=False)
            if self.received == REQUEUE_SIGNAL and callable(self.earlier[REQUEUE_SIGNAL]):
                self.earlier[REQUEUE_SIGNAL](REQUEUE_SIGNAL, None)
            message = f"stopped after step {trainer.global_step}, which is saved"
            raise Interrupted(128 + (self.received or signal.SIGTERM), message)

    def _is_to_end(self, trainer: Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self.received)
        if trainer.global_step % self.every_n_steps:
            return False
        return trainer.strategy.reduce_boolean_decision(bool(self.received), all=False)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)  # for a third one, if the program hangs
            raise Interrupted(128 + number)
        self.received = number
        if number == signal.SIGINT:
            with suppress(OSError):  # print could not be entered again inside itself
                os.write(2, (_ERASE_LINE if os.isatty(2) else b"\n") + _SAVING)


def _nothing() -> None:
    """Stands where Lightning asks."""
