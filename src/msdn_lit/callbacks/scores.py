"""Writes the score cache of the evaluations that a result reports."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.analysis.scores import ScoreCache
from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.tasks import ZSLTask

Part = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


class ScoreFiles(Callback):
    """Keeps scores/last.npz, and scores/peak_*.npz of the evaluations that are peaks so far.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.logits: list[Tensor] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets an evaluation that was broken off."""
        self.logits.clear()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own name for whatever a step returns
        *_: object,
        **__: object,
    ) -> None:
        """Takes the logits of one batch, (S, B, C)."""
        self.logits.append(outputs)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the evaluation under every name under which it would be reported now."""
        assert isinstance(pl_module, ZSLTask)
        logits_SNC, labels_N, rows_N = self._all(trainer)
        if not trainer.is_global_zero:
            return
        cache = ScoreCache(
            logits_SNC=logits_SNC,
            labels_N=labels_N,
            rows_N=rows_N,
            seen=pl_module.metric.seen.cpu().numpy(),
            unseen=pl_module.metric.unseen.cpu().numpy(),
            subnets=tuple(getattr(pl_module.net, "subnets", ["net"])),
            fusion=pl_module.fusion,
            calibration=pl_module.calibration,
            stage=pl_module.stage,
            step=pl_module.global_step,
        )
        for name, scores in EvaluationHistory.of(trainer).summary().items():
            if scores["step"] == cache.step:
                cache.save(self.folder / f"{name}.npz")

    def _all(self, trainer: Trainer) -> Part:
        """What all ranks have seen, in the order of the images."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ZSLDataModule)
        rows = [data.dataset(name).rows[trainer.global_rank :: trainer.world_size] for name in data.eval_splits]
        rows_N = np.concatenate(rows)
        part: Part = torch.cat(self.logits, dim=1).float().cpu().numpy(), data.split.labels_N[rows_N], rows_N
        self.logits.clear()
        parts: list[Part] = [part]
        if trainer.world_size > 1:
            parts = [part] * trainer.world_size
            torch.distributed.all_gather_object(parts, part)
        logits_SNC = np.concatenate([logits for logits, _, _ in parts], axis=1)
        labels_N, rows_N = (np.concatenate(values) for values in zip(*(rest for _, *rest in parts), strict=True))
        order = np.argsort(rows_N)
        return logits_SNC[:, order], labels_N[order], rows_N[order]
