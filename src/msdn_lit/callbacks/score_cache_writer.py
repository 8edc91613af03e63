"""A callback that writes the score caches of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.callbacks.history import EvaluationHistory, missing_images
from msdn_lit.data.batches import Batch
from msdn_lit.files import link_atomically
from msdn_lit.runs.score_cache import ScoreCache, write_class_names
from msdn_lit.tasks import ZSLTask


class ScoreCacheWriter(Callback):
    """Writes scores/last.npz and scores/peak_*.npz, the score caches of the reported evaluations.

    Args:
        folder: Folder of the score caches. The class names are written there, too.
        every: Also write scores/step_*.npz after every evaluation. `msdn select` reads them.
        name: Name of the only evaluation, without ".npz"; None takes the names that are reported.
    """

    def __init__(self, folder: str, *, every: bool = False, name: str | None = None) -> None:
        self.folder = Path(folder)
        self.every = every
        self.name = name
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discards the logits of an interrupted evaluation."""
        self.batches.clear()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        batch: Batch,
        *_: object,
        **__: object,
    ) -> None:
        """Keeps the logits of one batch, (O, B, C) for O outputs of the net, on their device."""
        self.batches.append((outputs.float(), batch.labels, batch.rows))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the score cache under each name that is reported for this evaluation."""
        assert isinstance(pl_module, ZSLTask)
        if trainer.sanity_checking:
            return
        step = pl_module.global_step
        reported = EvaluationHistory.of(trainer).reported_at(step)
        self.write(trainer, pl_module, step, [self.name] if self.name else reported)

    def write(self, trainer: Trainer, task: ZSLTask, step: int, names: Sequence[str]) -> None:
        """Writes the logits of this evaluation.

        Args:
            trainer: Trainer of the evaluation.
            task: Evaluated task.
            step: Training step.
            names: Names of the files, without ".npz".
        """
        logits_ONC, labels_N, rows_N = self._gather(trainer)
        if not trainer.is_global_zero:
            return
        cache = ScoreCache(
            logits_ONC=logits_ONC,
            labels_N=labels_N,
            rows_N=rows_N,
            seen=task.metric.seen.cpu().numpy(),
            unseen=task.metric.unseen.cpu().numpy(),
            subnets=task.output_names,
            fusion=task.fusion,
            calibration=task.calibration,
            stage=task.stage,
            step=step,
            partial=missing_images(len(rows_N), trainer),
        )
        all_names = [*names, f"step_{step:06d}"] if self.every else names
        first, *others = (self.folder / f"{name}.npz" for name in all_names)
        cache.save(first)
        link_atomically(first, *others)
        write_class_names(self.folder, trainer.datamodule.semantics.class_names)  # type: ignore[attr-defined]

    def _gather(
        self, trainer: Trainer
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Returns logits, labels and rows of the images of all ranks, in the order of the rows."""
        logits, labels, rows = zip(*self.batches, strict=True)
        own = (torch.cat(logits, dim=1).cpu(), torch.cat(labels).cpu(), torch.cat(rows).cpu())
        self.batches.clear()
        parts = [own] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(parts, own)
        logits, labels, rows = zip(*parts, strict=True)
        order = torch.cat(rows).argsort()
        sorted_parts = (
            torch.cat(logits, dim=1)[:, order],
            torch.cat(labels)[order],
            torch.cat(rows)[order],
        )
        logits_ONC, labels_N, rows_N = (part.numpy() for part in sorted_parts)
        return logits_ONC, labels_N, rows_N
