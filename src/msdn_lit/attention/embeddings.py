"""Images of a few classes as points: as the backbone sees them, and as each sub-net does."""

import numpy as np
import torch
from torch.nn.functional import normalize

from msdn_lit.attention.plots import Panel
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.models import MSDN
from msdn_lit.tasks import ZSLTask

_NUM_CLASSES, _SEED = 10, 0


@torch.no_grad()
def embeddings(task: ZSLTask, data: ZSLDataModule) -> list[Panel]:
    """Points of ten random classes of each evaluated split: pooled features, and attribute scores of unit length.

    The attribute scores are those of each sub-net, and both in the weights of the fusion.

    Args:
        task: Its net is an MSDN, in evaluation mode.
        data: Set up.
    """
    assert isinstance(task.net, MSDN)
    panels = []
    for split in data.eval_splits:
        dataset = data.dataset(split)
        classes = np.unique(dataset.labels)
        chosen = np.random.default_rng(_SEED).choice(
            classes, min(_NUM_CLASSES, len(classes)), replace=False
        )
        regions_BRD, labels_B, _ = dataset.__getitems__(
            np.flatnonzero(np.isin(dataset.labels, chosen)).tolist()
        )
        outputs = task.net(regions_BRD.to(task.device))
        scores = [output.attribute_scores_BK for output in outputs]
        points = {"pooled features": regions_BRD.float().mean(dim=1)}
        points |= {
            name.replace("_", " "): s for name, s in zip(task.net.subnets, scores, strict=True)
        }
        if len(scores) > 1:
            points["both"] = torch.stack(
                [w * s for w, s in zip(task.fusion, scores, strict=True)]
            ).sum(dim=0)
        for name, points_BF in points.items():
            panels.append(
                Panel(split, name, normalize(points_BF, dim=1).cpu().numpy(), labels_B.numpy())
            )
    return panels
