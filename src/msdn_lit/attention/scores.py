"""Attention scores: how well a model's attention finds the locations of the attributes.

Letters: B images of a batch, K attributes, Q pairs of an image and an attribute, J boxes of a pair,
H x W regions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.attention.maps import attention_by_name
from msdn_lit.data.benchmarks.parts import PartBoxes, read_parts
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import DataError
from msdn_lit.metrics.attention import cover, energy_inside, pointing_chance, pointing_game
from msdn_lit.runs.attention_file import CHANCE, MEASURES
from msdn_lit.tasks import ZSLTask

_HAS_ATTRIBUTE = 0.5  # of the class's strongest attribute
_BATCH = 64


class _Pairs(NamedTuple):
    """Pairs of an image and an attribute that the image's class has.

    Attributes:
        attributes_Q: Attribute of each pair, (Q,).
        scores: Pointing game and energy by the name of an output, and of chance, (Q, 2) each.
    """

    attributes_Q: NDArray[np.int64]
    scores: Mapping[str, NDArray[np.float64]]


def measure_attention(
    task: ZSLTask, data: ZSLDataModule, on_progress: Callable[[int], None] = lambda num_done: None
) -> dict[str, Any]:
    """Scores the attention on all evaluated images.

    A pair of image and attribute counts if the image's class has the attribute (at least half as
    strongly as its strongest one) and the attribute's part is visible in the image.

    Args:
        task: Task with a net that has attention, in evaluation mode.
        data: Data module, set up.
        on_progress: Callback for the number of measured images.

    Returns:
        Content of attention.json: what the attention is compared with, the splits, the number of
        pairs, and `pointing_game` and `energy_inside` of each output of the net and of chance; the
        same for the pairs of each part.

    Raises:
        ConfigError: The net has no attention.
        DataError: The benchmark has no locations of attributes, or a file is missing.
    """
    boxes = read_parts(data.benchmark.name, data.data_dir, data.attribute_names)
    measured = []
    for number, batch in enumerate(_batches(task, data, boxes), 1):
        measured.append(batch)
        on_progress(min(number * _BATCH, num_images(data)))
    pairs = _concatenated(measured)
    if not len(pairs.attributes_Q):
        raise DataError(f"No attribute of {data.benchmark.name}'s evaluated images has a location")
    part_Q = np.array([" or ".join(parts) for parts in boxes.parts_of])[pairs.attributes_Q]
    return {
        "against": boxes.kind,
        "splits": list(data.eval_splits),
        **_means(pairs.scores, np.ones(len(part_Q), dtype=bool)),
        "parts": {str(part): _means(pairs.scores, part_Q == part) for part in np.unique(part_Q)},
    }


def num_images(data: ZSLDataModule) -> int:
    """Returns the number of evaluated images."""
    return sum(len(data.indices[name]) for name in data.eval_splits)


def _means(
    scores: Mapping[str, NDArray[np.float64]], counts_Q: NDArray[np.bool_]
) -> dict[str, Any]:
    """Number of the marked pairs, and their mean scores."""
    means = {name: scores_Q2[counts_Q].mean(axis=0).tolist() for name, scores_Q2 in scores.items()}
    return {
        "pairs": int(counts_Q.sum()),
        "scores": {name: dict(zip(MEASURES, row, strict=True)) for name, row in means.items()},
    }


def _concatenated(batches: Sequence[_Pairs]) -> _Pairs:
    attributes_Q = np.concatenate([batch.attributes_Q for batch in batches])
    names = batches[0].scores
    scores = {name: np.concatenate([batch.scores[name] for batch in batches]) for name in names}
    return _Pairs(attributes_Q, scores)


@torch.no_grad()
def _batches(task: ZSLTask, data: ZSLDataModule, boxes: PartBoxes) -> Iterator[_Pairs]:
    names = data.benchmark.relative_paths(data.split)
    paths = data.benchmark.image_paths(data.split, data.data_dir)
    attributes_CK = torch.from_numpy(data.semantics.class_attributes_CK)
    has_CK = attributes_CK >= _HAS_ATTRIBUTE * attributes_CK.amax(dim=1, keepdim=True)
    grid = data.store.manifest.grid
    for split in data.eval_splits:
        dataset = data.dataset(split)
        for start in range(0, len(dataset), _BATCH):
            positions = list(range(start, min(start + _BATCH, len(dataset))))
            regions_BRD, labels_B, rows_B = dataset.read(positions)
            outputs = task.net(regions_BRD.to(task.device))
            attention = attention_by_name(task.output_names, outputs)
            boxes_BKJ4 = np.stack([boxes.of(names[row], paths[row]) for row in rows_B.tolist()])
            B, K = boxes_BKJ4.shape[:2]
            boxes_QJ4 = torch.from_numpy(boxes_BKJ4).flatten(0, 1)
            cover_BKHW = cover(boxes_QJ4, grid).reshape(B, K, *grid)
            counts_BK = has_CK[labels_B] & (cover_BKHW.amax(dim=(2, 3)) > 0)
            maps = {
                name: attention_BKR.float().cpu()[counts_BK].reshape(-1, *grid)
                for name, attention_BKR in attention.items()
            }
            attributes_Q = counts_BK.nonzero()[:, 1].numpy()
            yield _Pairs(attributes_Q, _scores(maps, cover_BKHW[counts_BK]))


def _scores(attention: Mapping[str, Tensor], cover_QHW: Tensor) -> dict[str, NDArray[np.float64]]:
    """Pointing game and energy of attention maps (Q, H, W) by name, and of chance, (Q, 2) each."""
    scores = {
        name: [pointing_game(maps_QHW, cover_QHW).double(), energy_inside(maps_QHW, cover_QHW)]
        for name, maps_QHW in attention.items()
    }
    scores[CHANCE] = [pointing_chance(cover_QHW), cover_QHW.mean(dim=(1, 2))]
    return {name: torch.stack(columns, dim=1).numpy() for name, columns in scores.items()}
