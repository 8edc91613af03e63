"""Where a model looks: the attention of both sub-nets on a few images, always the same."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.analysis.classes import short_name
from msdn_lit.analysis.output.run_plots import AttentionMap, AttentionRow
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.words.attributes import readable_attribute
from msdn_lit.models import MSDN
from msdn_lit.tasks import ZSLTask


@torch.no_grad()
def attention_rows(
    task: ZSLTask,
    data: ZSLDataModule,
    num_images: int,
    num_attributes: int,
    *,
    by_score: bool = False,
) -> list[AttentionRow]:
    """Looks at the first image of each of some classes of the last evaluated split.

    Args:
        task: Its net is an MSDN, in evaluation mode.
        data: Set up.
        num_images: Images, of so many classes.
        num_attributes: Attributes shown of each sub-net: those that speak most for the predicted class.
        by_score: Show those with the highest scores instead, whatever the class (paper, figures of attention maps).

    Raises:
        DataError: The images are not there.
    """
    assert isinstance(task.net, MSDN)
    dataset = data.dataset(data.eval_splits[-1])
    positions = np.unique(dataset.labels, return_index=True)[1][:num_images]
    pictures = [data.picture(row) for row in dataset.rows[positions]]
    regions_BRD, labels_B, _ = dataset.__getitems__(positions.tolist())
    regions_BRD = regions_BRD.to(task.device)
    predicted = task.predict_logits(regions_BRD).argmax(dim=1).tolist()
    maps: list[list[AttentionMap]] = [[] for _ in pictures]
    for name, output in zip(task.net.subnets, task.net(regions_BRD), strict=True):
        scores_BK, attention_BKR = output.attribute_scores_BK.cpu(), output.attention_BKR.cpu()
        for row, label in enumerate(predicted):
            class_attributes_K = torch.from_numpy(data.semantics.class_attributes_CK[label])
            worth_K = scores_BK[row] if by_score else scores_BK[row] * class_attributes_K
            top_attributes = worth_K.topk(min(num_attributes, len(worth_K))).indices.tolist()
            maps[row] += _maps(
                top_attributes, scores_BK[row], attention_BKR[row], data, _direction(name)
            )
    names = [short_name(name) for name in data.semantics.class_names]
    titles = [
        f"{names[label]}\n→ {names[guess]}"
        for label, guess in zip(labels_B.tolist(), predicted, strict=True)
    ]
    return [AttentionRow(*row) for row in zip(titles, pictures, maps, strict=True)]


def _maps(
    attributes: list[int],
    scores_K: Tensor,
    attention_KR: Tensor,
    data: ZSLDataModule,
    direction: str,
) -> Iterator[AttentionMap]:
    for k in attributes:
        weights_HW: NDArray[np.float32] = (
            attention_KR[k].float().reshape(data.store.manifest.grid).numpy()
        )
        yield AttentionMap(
            f"{direction} {readable_attribute(data.attribute_names[k])}\n{scores_K[k]:.2f}",
            weights_HW,
        )


def _direction(subnet: str) -> str:
    """A sub-net's short name: "attribute_to_visual" -> "A→V"."""
    return "→".join(side[0].upper() for side in subnet.split("_to_"))
