"""How well a model's attention finds the parts of which the attributes speak."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.attention.tables import CHANCE, MEASURES, write_attention
from msdn_lit.data.benchmarks.parts import PartBoxes, read_parts
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import DataError
from msdn_lit.metrics.attention import cover, energy_inside, pointing_chance, pointing_game
from msdn_lit.models import MSDN
from msdn_lit.tasks import ZSLTask

_HAS = 0.5  # a class has the attributes of at least this fraction of its strongest one
_BATCH = 64
log = logging.getLogger(__name__)


class _Pairs(NamedTuple):
    """Pairs of image and attribute: the attribute, (P,), and the measures, (P, S, 2)."""

    attributes_P: NDArray[np.int64]
    scores_PS2: NDArray[np.float64]


def measure_attention(task: ZSLTask, data: ZSLDataModule) -> dict[str, Any]:
    """Scores the attention on all evaluated images.

    A pair of image and attribute counts if the image's class has the attribute (at least half as
    strongly as its top_attributes one) and the attribute's part is in the picture.

    Args:
        task: Its net is an MSDN, in evaluation mode.
        data: Set up.

    Returns:
        What is measured, the number of pairs, and for each sub-net and for chance `pointing_game`
        and `energy_inside`; the same of the pairs of each part.

    Raises:
        DataError: The benchmark does not say where its attributes are, or a file is missing.
    """
    assert isinstance(task.net, MSDN)
    places = read_parts(data.benchmark.name, data.data_dir, data.attribute_names)
    pairs = _Pairs(*map(np.concatenate, zip(*_batches(task, data, places), strict=True)))
    if not len(pairs.attributes_P):
        raise DataError(f"No attribute of {data.benchmark.name}'s evaluated images has a place")
    names = [*task.net.subnets, CHANCE]
    part_P = np.array([" or ".join(parts) for parts in places.parts_of])[pairs.attributes_P]
    by_part = {
        str(part): _means(names, pairs.scores_PS2[part_P == part]) for part in np.unique(part_P)
    }
    splits = list(data.eval_splits)
    return {
        "against": places.kind,
        "splits": splits,
        **_means(names, pairs.scores_PS2),
        "parts": by_part,
    }


def _means(names: Sequence[str], scores_PS2: NDArray[np.float64]) -> dict[str, Any]:
    means = zip(names, scores_PS2.mean(axis=0).tolist(), strict=True)
    return {
        "pairs": len(scores_PS2),
        "scores": {name: dict(zip(MEASURES, row, strict=True)) for name, row in means},
    }


@torch.no_grad()
def _batches(task: ZSLTask, data: ZSLDataModule, places: PartBoxes) -> Iterator[_Pairs]:
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
            boxes_BKN4 = np.stack([places.of(names[row], paths[row]) for row in rows_B.tolist()])
            cover_BKHW = cover(torch.from_numpy(boxes_BKN4).flatten(0, 1), grid).reshape(
                *boxes_BKN4.shape[:2], *grid
            )
            counts_BK = has_CK[labels_B] & (cover_BKHW.amax(dim=(2, 3)) > 0)
            outputs = task.net(regions_BRD.to(task.device))
            attention = [
                o.attention_BKR.float().cpu()[counts_BK].reshape(-1, *grid) for o in outputs
            ]
            yield _Pairs(
                counts_BK.nonzero()[:, 1].numpy(), _scores(attention, cover_BKHW[counts_BK]).numpy()
            )


def _scores(attention: Sequence[Tensor], cover_PHW: Tensor) -> Tensor:
    """Pointing game and energy of each sub-net's attention (P, H, W), then of chance, (P, S, 2)."""
    chance_P2 = torch.stack([pointing_chance(cover_PHW), cover_PHW.mean(dim=(1, 2))], dim=1)
    of_subnets = [
        torch.stack(
            [pointing_game(maps_PHW, cover_PHW).double(), energy_inside(maps_PHW, cover_PHW)], dim=1
        )
        for maps_PHW in attention
    ]
    return torch.stack([*of_subnets, chance_P2], dim=1)


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
    return {
        f"{stage}/{name}/{who}": value
        for who, of in found["scores"].items()
        for name, value in of.items()
    }
