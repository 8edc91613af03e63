"""A callback that saves a checkpoint when a scheduler ends the process."""

import signal
import threading
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

# Schedulers send one of these signals before they end a job.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# submitit's own handler of this signal puts the job back into the queue and ends the program.
REQUEUE_SIGNAL = signal.SIGUSR2


class Preemption(Callback):
    """Saves a checkpoint and ends the program after SIGTERM, SIGUSR1 or SIGUSR2.

    The checkpoint is saved at the end of the current step. A run with ckpt_path=last, or a trial of
    a sweep with the same name, continues with the next step.

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
            SystemExit: One of the processes received a signal. The exit code is 128 plus the
                number of the signal, as in shells.
        """
        if trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            trainer.save_checkpoint(self.checkpoint, weights_only=False)
            if self.received == REQUEUE_SIGNAL and callable(self.earlier[REQUEUE_SIGNAL]):
                self.earlier[REQUEUE_SIGNAL](REQUEUE_SIGNAL, None)
            raise SystemExit(128 + (self.received or signal.SIGTERM))

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
