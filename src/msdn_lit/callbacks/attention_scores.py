"""How well a model's attention finds the parts of which the attributes speak."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from msdn_lit.analysis.attention import CHANCE, MEASURES, write_attention
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.parts import PartBoxes, read_parts
from msdn_lit.errors import DataError
from msdn_lit.metrics.attention import cover, energy_inside, pointing_chance, pointing_game
from msdn_lit.models import MSDN
from msdn_lit.tasks import ZSLTask

_HAS = 0.5  # of a class's strongest attribute: from there on a class counts as having an attribute
_BATCH = 64
log = logging.getLogger(__name__)


class _Batch(NamedTuple):
    """Attention of each sub-net (P, H, W) and the boxes' cover (P, H, W) for the pairs that count."""

    attention: list[Tensor]
    cover_PHW: Tensor


def measure_attention(task: ZSLTask, data: ZSLDataModule) -> dict[str, Any]:
    """Scores the attention on all evaluated images.

    A pair of image and attribute counts if the image's class has the attribute (at least half as strongly as its
    strongest one) and the attribute's part is in the picture.

    Args:
        task: Its net is an MSDN, in evaluation mode.
        data: Set up.

    Returns:
        What is measured, the number of pairs, and for each sub-net and for chance `pointing_game` and `energy_inside`.

    Raises:
        DataError: The benchmark does not say where its attributes are, or a file is missing.
    """
    assert isinstance(task.net, MSDN)
    parts = read_parts(data.benchmark.name, data.data_dir, data.attribute_names)
    sums, pairs = {name: np.zeros(2) for name in (*task.net.subnets, CHANCE)}, 0
    for batch in _batches(task, data, parts):
        pairs += len(batch.cover_PHW)
        sums[CHANCE] += [float(pointing_chance(batch.cover_PHW).sum()), float(batch.cover_PHW.mean((1, 2)).sum())]
        for name, attention_PHW in zip(task.net.subnets, batch.attention, strict=True):
            hits = pointing_game(attention_PHW, batch.cover_PHW)
            sums[name] += [int(hits.sum()), float(energy_inside(attention_PHW, batch.cover_PHW).sum())]
    if not pairs:
        raise DataError(f"No attribute of {data.benchmark.name}'s evaluated images has a place")
    means = {name: dict(zip(MEASURES, (both / pairs).tolist(), strict=True)) for name, both in sums.items()}
    return {"against": parts.kind, "splits": list(data.eval_splits), "pairs": pairs, "scores": means}


@torch.no_grad()
def _batches(task: ZSLTask, data: ZSLDataModule, parts: PartBoxes) -> Iterator[_Batch]:
    names = data.benchmark.relative_paths(data.split)
    paths = data.benchmark.image_paths(data.split, data.data_dir)
    attributes_CK = torch.from_numpy(data.semantics.class_attributes_CK)
    has_CK = attributes_CK >= _HAS * attributes_CK.amax(dim=1, keepdim=True)
    grid = data.store.manifest.grid
    for split in data.eval_splits:
        dataset = data.dataset(split)
        for start in range(0, len(dataset), _BATCH):
            indices = list(range(start, min(start + _BATCH, len(dataset))))
            regions_BRD, labels_B, rows_B = dataset.__getitems__(indices)
            boxes_BKN4 = np.stack([parts.of(names[row], paths[row]) for row in rows_B.tolist()])
            cover_PHW = cover(torch.from_numpy(boxes_BKN4).flatten(0, 1), grid)
            counts_P = has_CK[labels_B].flatten() & (cover_PHW.amax(dim=(1, 2)) > 0)
            outputs = task.net(regions_BRD.to(task.device))
            attention = [o.attention_BKR.float().cpu().flatten(0, 1)[counts_P].unflatten(1, grid) for o in outputs]
            yield _Batch(attention, cover_PHW[counts_P])


class AttentionScores(Callback):
    """Measures the attention at the end of training: attention.json, and in the loggers.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the trained model, on one process; without parts or images a line says so."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, ZSLTask)
        assert isinstance(data, ZSLDataModule)
        if not trainer.is_global_zero or not isinstance(pl_module.net, MSDN):
            return
        pl_module.eval()  # in training mode a net may leave regions out
        try:
            found = measure_attention(pl_module, data)
        except DataError as reason:
            log.info("Attention is not measured: %s", reason)
            return
        write_attention(self.folder, found)
        for logger in trainer.loggers:
            logger.log_metrics(flat(found, pl_module.stage), step=pl_module.global_step)


def flat(found: dict[str, Any], stage: str) -> dict[str, float]:
    """The scores under the names of metrics, e.g. "test/pointing_game/attribute_to_visual"."""
    return {f"{stage}/{name}/{who}": value for who, of in found["scores"].items() for name, value in of.items()}
