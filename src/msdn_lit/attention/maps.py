"""Attention maps on a few images.

Letters: B images, K attributes, R = H x W regions, h x w pixels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.analysis.classes import short_name
from msdn_lit.data.batches import SplitDataset
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.words.attributes import readable_attribute
from msdn_lit.errors import ConfigError
from msdn_lit.metrics.functional import predict
from msdn_lit.models import SubNetOutput
from msdn_lit.models.base import has_attention
from msdn_lit.tasks import ZSLTask

_BATCH = 50  # images whose regions are in memory at once


class AttentionMap(NamedTuple):
    """Attention of one attribute on an image.

    Attributes:
        attribute: Name of the attribute.
        score: Score of the attribute.
        weights_HW: Attention by region, (H, W).
    """

    attribute: str
    score: float
    weights_HW: NDArray[np.float32]


class SubnetMaps(NamedTuple):
    """Attention maps of one sub-net.

    Attributes:
        name: Name of the sub-net and its weight in the score.
        maps: Attention maps, from left to right.
    """

    name: str
    maps: Sequence[AttentionMap]


class AttentionRow(NamedTuple):
    """An image with attention maps.

    Attributes:
        label: Name of its class.
        prediction: Name of the predicted class.
        image_hw3: Pixels in [0, 1], (h, w, 3).
        subnets: Maps of each sub-net that has attention.
    """

    label: str
    prediction: str
    image_hw3: NDArray[np.float32]
    subnets: Sequence[SubnetMaps]


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
    right_and_wrong: bool = False,
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
        right_and_wrong: Choose images of both kinds, as equal in number as possible, instead of
            the same images for every model.

    Raises:
        ConfigError: The net has no attention.
        DataError: The images are missing.
    """
    dataset = data.dataset(data.eval_splits[-1])
    positions = _positions(task, dataset, num_images, right_and_wrong)
    regions_BRD, labels_B, _ = dataset.read(positions.tolist())
    outputs = task.net(regions_BRD.to(task.device))
    attention = attention_by_name(task.output_names, outputs)
    images = [data.image(row) for row in dataset.rows[positions]]
    predicted = _predicted(task, regions_BRD).tolist()
    names = [short_name(name) for name in data.semantics.class_names]
    shares = dict(zip(task.output_names, np.array(task.fusion) / sum(task.fusion), strict=True))
    by_name = dict(zip(task.output_names, outputs, strict=True))
    rows = []
    for b, (label, prediction) in enumerate(zip(labels_B.tolist(), predicted, strict=True)):
        contributions_K = torch.from_numpy(data.semantics.class_attributes_CK[prediction])
        subnets = []
        for name, attention_BKR in attention.items():
            title = f"{name.replace('_', ' ')}: {_share(shares[name])} the score"
            scores_K = by_name[name].attribute_scores_BK[b].cpu()
            rank_by_K = scores_K if by_score else scores_K * contributions_K
            chosen = rank_by_K.topk(min(num_attributes, len(rank_by_K))).indices.tolist()
            maps = list(_maps(chosen, scores_K, attention_BKR[b].cpu(), data))
            subnets.append(SubnetMaps(title, maps))
        rows.append(AttentionRow(names[label], names[prediction], images[b], subnets))
    return rows


def _predicted(task: ZSLTask, regions_BRD: Tensor) -> Tensor:
    """Returns the predicted class of each image among the candidates of the evaluation, (B,)."""
    candidates = torch.cat([task.metric.seen, task.metric.unseen])
    return predict(task.predict_logits(regions_BRD.to(task.device)), candidates).cpu()


def _share(weight: float) -> str:
    return {0.0: "not in", 1.0: "all of"}.get(weight, f"{weight:.2g} of")


def _positions(
    task: ZSLTask, dataset: SplitDataset, number: int, right_and_wrong: bool
) -> NDArray[np.int64]:
    """The first image of each of some classes, right predictions first if both kinds are asked."""
    first = np.unique(dataset.labels, return_index=True)[1]
    if not right_and_wrong:
        return first[:number]
    is_right = []
    for some in np.array_split(first, len(first) // _BATCH + 1):
        regions_BRD, labels_B, _ = dataset.read(some.tolist())
        is_right.append((_predicted(task, regions_BRD) == labels_B).numpy())
    right, wrong = (first[np.concatenate(is_right) == kind] for kind in (True, False))
    num_wrong = min(len(wrong), max(number // 2, number - len(right)))
    return np.concatenate([right[: number - num_wrong], wrong[:num_wrong]])


def _maps(
    attributes: Sequence[int], scores_K: Tensor, attention_KR: Tensor, data: ZSLDataModule
) -> Iterator[AttentionMap]:
    grid = data.store.manifest.grid
    for k in attributes:
        name = readable_attribute(data.attribute_names[k])
        yield AttentionMap(name, float(scores_K[k]), attention_KR[k].float().reshape(grid).numpy())
