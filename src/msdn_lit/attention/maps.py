"""Attention maps on a few images, always the same ones.

Letters: B images, K attributes, R = H x W regions, h x w pixels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.analysis.classes import short_name
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.words.attributes import readable_attribute
from msdn_lit.errors import ConfigError
from msdn_lit.models import SubNetOutput
from msdn_lit.tasks import ZSLTask


class AttentionMap(NamedTuple):
    """Attention of one attribute on an image.

    Attributes:
        title: Attribute and its score.
        weights_HW: Attention by region, (H, W).
    """

    title: str
    weights_HW: NDArray[np.float32]


class AttentionRow(NamedTuple):
    """An image with attention maps.

    Attributes:
        title: Class and prediction.
        image_hw3: Pixels in [0, 1], (h, w, 3).
        maps: Attention maps, from left to right.
    """

    title: str
    image_hw3: NDArray[np.float32]
    maps: Sequence[AttentionMap]


def has_attention(outputs: Sequence[SubNetOutput]) -> bool:
    """Whether any output of a net has attention."""
    return any(output.attention_BKR is not None for output in outputs)


def attention_by_name(names: Sequence[str], outputs: Sequence[SubNetOutput]) -> dict[str, Tensor]:
    """Returns the attention (B, K, R) of each output that has one, by the name of the output.

    Args:
        names: Names of the outputs (`ZSLTask.output_names`).
        outputs: Outputs of the net.

    Raises:
        ConfigError: No output has attention.
    """
    if not has_attention(outputs):
        raise ConfigError("The model has no attention: it averages the regions of an image")
    return {
        name: output.attention_BKR
        for name, output in zip(names, outputs, strict=True)
        if output.attention_BKR is not None
    }


@torch.no_grad()
def attention_rows(
    task: ZSLTask,
    data: ZSLDataModule,
    num_images: int,
    num_attributes: int,
    *,
    by_score: bool = False,
) -> list[AttentionRow]:
    """Computes attention maps on the first image of each of some classes of the last eval split.

    Args:
        task: Task with a net that has attention, in evaluation mode.
        data: Data module, set up.
        num_images: Number of images, each of another class.
        num_attributes: Attributes per output of the net: those that contribute most to the
            predicted class.
        by_score: Choose the attributes with the highest scores instead, independently of the class
            (paper, figures of attention maps).

    Raises:
        ConfigError: The net has no attention.
        DataError: The images are missing.
    """
    dataset = data.dataset(data.eval_splits[-1])
    positions = np.unique(dataset.labels, return_index=True)[1][:num_images]
    regions_BRD, labels_B, _ = dataset.__getitems__(positions.tolist())
    outputs = task.net(regions_BRD.to(task.device))
    attention = attention_by_name(task.output_names, outputs)
    images = [data.image(row) for row in dataset.rows[positions]]
    predicted = task.predict_logits(regions_BRD.to(task.device)).argmax(dim=1).tolist()
    maps: list[list[AttentionMap]] = [[] for _ in images]
    for name, output in zip(task.output_names, outputs, strict=True):
        if name not in attention:
            continue
        scores_BK, attention_BKR = output.attribute_scores_BK.cpu(), attention[name].cpu()
        for b, label in enumerate(predicted):
            class_attributes_K = torch.from_numpy(data.semantics.class_attributes_CK[label])
            rank_by_K = scores_BK[b] if by_score else scores_BK[b] * class_attributes_K
            chosen = rank_by_K.topk(min(num_attributes, len(rank_by_K))).indices.tolist()
            maps[b] += _maps(chosen, scores_BK[b], attention_BKR[b], data, _arrow(name))
    titles = _titles(data, labels_B.tolist(), predicted)
    return [AttentionRow(*row) for row in zip(titles, images, maps, strict=True)]


def _maps(
    attributes: Sequence[int],
    scores_K: Tensor,
    attention_KR: Tensor,
    data: ZSLDataModule,
    arrow: str,
) -> Iterator[AttentionMap]:
    grid = data.store.manifest.grid
    for k in attributes:
        title = f"{arrow} {readable_attribute(data.attribute_names[k])}\n{scores_K[k]:.2f}"
        yield AttentionMap(title, attention_KR[k].float().reshape(grid).numpy())


def _titles(data: ZSLDataModule, labels: Sequence[int], predicted: Sequence[int]) -> list[str]:
    names = [short_name(name) for name in data.semantics.class_names]
    pairs = zip(labels, predicted, strict=True)
    return [f"{names[label]}\n→ {names[prediction]}" for label, prediction in pairs]


def _arrow(output_name: str) -> str:
    """Short name of a sub-net: "attribute_to_visual" -> "A→V"."""
    return "→".join(part[0].upper() for part in output_name.split("_to_"))
