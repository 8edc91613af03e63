"""A callback that shows how far a training or an evaluation is."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.callbacks.history import EvaluationHistory, scores_text
from msdn_lit.callbacks.seed_runs import SeedRuns
from msdn_lit.data.batches import Batch
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.progress import (
    IMAGES,
    SECONDS_BETWEEN_LINES,
    STEPS,
    ProgressLine,
    only_in_file,
    print_line,
)

log = logging.getLogger(__name__)


class Progress(Callback):
    """Shows step, time left, speed, loss and the last scores, on the first process.

    In a terminal they are a line that is rewritten and goes away at the end. Elsewhere they are a
    line about every minute, which is logged, too. Evaluations have their own lines, from
    `EvaluationHistory`.

    Args:
        seconds_between_lines: Pause between the lines where there is no terminal.
    """

    def __init__(self, *, seconds_between_lines: float = SECONDS_BETWEEN_LINES) -> None:
        self.seconds_between_lines = seconds_between_lines
        self._line: ProgressLine | None = None
        self._of_evaluation = False
        self._loss: Any = None
        self._num_evaluated = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to measure the speed."""
        if trainer.is_global_zero:
            self._line = ProgressLine(
                STEPS,
                trainer.max_steps,
                done=trainer.global_step,
                say=_say,
                seconds_between_lines=self.seconds_between_lines,
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        *_: object,
    ) -> None:
        """Shows the step, if it is time to."""
        if self._line:
            self._loss = outputs
            self._line.update(trainer.global_step, lambda: self._details(trainer, pl_module))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count the images of an evaluation."""
        self._num_evaluated = 0
        if self._line is None and trainer.is_global_zero:
            self._of_evaluation = True
            self._line = ProgressLine(IMAGES, _num_images(trainer), label="evaluating")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        batch: Batch,
        *_: object,
        **__: object,
    ) -> None:
        """Shows how many images are evaluated, if it is time to."""
        self._num_evaluated += len(batch.rows) * trainer.world_size
        if self._line and self._of_evaluation:
            self._line.update(self._num_evaluated)
        elif self._line:
            state = f"evaluating {self._num_evaluated}/{_num_images(trainer)} images"
            self._line.update(trainer.global_step, lambda: [state])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Removes the line of an evaluation that is no part of a training."""
        if self._of_evaluation:
            self._close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Removes the line."""
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Removes the line."""
        self._close()

    def _close(self) -> None:
        if self._line:
            self._line.close()
        self._line, self._of_evaluation, self._loss = None, False, None

    def _details(self, trainer: Trainer, module: LightningModule) -> Iterator[str]:
        """Yields the loss, which waits for a GPU, and the last scores: one alone in a terminal."""
        assert self._line is not None
        loss = self._loss["loss"] if isinstance(self._loss, dict) else self._loss
        num_models = len(getattr(module, "tasks", (module,)))
        loss = float(loss) / num_models
        yield f"loss {loss:.1f}" if abs(loss) >= 1 else f"loss {loss:.2g}"
        histories = _histories(trainer)
        if histories and histories[0].scores_at:
            scores = scores_text(histories, max(histories[0].scores_at))
            yield from scores[-1:] if self._line.is_live else scores


def _say(text: str) -> None:
    print_line(text)  # also in a sweep, which logs nothing on the screen
    only_in_file(log, text)


def _histories(trainer: Trainer) -> Sequence[EvaluationHistory]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EvaluationHistory):
            return [callback]
        if isinstance(callback, SeedRuns):
            return callback.histories
    return []


def _num_images(trainer: Trainer) -> int:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ZSLDataModule)
    return sum(len(data.indices[name]) for name in data.eval_splits)
