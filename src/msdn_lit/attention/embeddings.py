"""Images of a few classes as points: pooled features, and the attribute scores of a net.

Letters: B = N images of a panel, R regions, D visual channels, K attributes, F coordinates of a
point.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from msdn_lit.analysis.classes import short_name
from msdn_lit.data.batches import SplitDataset
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.tasks import ZSLTask

_NUM_CLASSES = 10
_SEED = 0
_BATCH = 50  # images whose regions are in memory at once


class EmbeddingPanel(NamedTuple):
    """Points of the images of some classes of one split.

    Attributes:
        split: Split of the images.
        name: Name of the points, e.g. "pooled features".
        points_NF: Points of unit length, one for each image, (N, F).
        labels_N: Class ids, (N,).
        domain: "seen" or "unseen", the kind of the classes.
        class_names: Class names by id.
    """

    split: str
    name: str
    points_NF: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    domain: str
    class_names: Sequence[str]


@torch.no_grad()
def embeddings(task: ZSLTask, data: ZSLDataModule) -> list[EmbeddingPanel]:
    """Computes the points of ten random classes of each evaluated split.

    The points are pooled features, the attribute scores of each output of the net, and, for a net
    with several outputs, their fusion.

    Args:
        task: Task with the net, in evaluation mode.
        data: Data module, set up.
    """
    panels = []
    names = [short_name(name) for name in data.semantics.class_names]
    for split in data.eval_splits:
        dataset = data.dataset(split)
        classes = np.unique(dataset.labels)
        size = min(_NUM_CLASSES, len(classes))
        chosen = np.random.default_rng(_SEED).choice(classes, size, replace=False)
        domain = "seen" if np.isin(chosen, data.seen.numpy()).all() else "unseen"
        positions = np.flatnonzero(np.isin(dataset.labels, chosen))
        labels_N = dataset.labels[positions]
        for name, points_NF in _points(task, dataset, positions).items():
            unit_NF = normalize(points_NF, dim=1).numpy()
            panels.append(EmbeddingPanel(split, name, unit_NF, labels_N, domain, names))
    return panels


def _points(
    task: ZSLTask, dataset: SplitDataset, positions: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Returns the pooled features, the scores of each output, and their fusion, (N, F) each."""
    batches = []
    for some in np.array_split(positions, len(positions) // _BATCH + 1):
        inputs = dataset.read(some.tolist())[0].to(task.device)
        scores = [output.attribute_scores_BK for output in task.net(inputs)]
        pooled_BD = task.regions(inputs).float().mean(dim=1)
        batches.append([each.float().cpu() for each in (pooled_BD, *scores)])
    pooled_ND, *scores_NK = map(torch.cat, zip(*batches, strict=True))
    names = [name.replace("_", " ") for name in task.output_names]
    points = {"pooled features": pooled_ND, **dict(zip(names, scores_NK, strict=True))}
    if len(scores_NK) > 1:
        weighted = [weight * s for weight, s in zip(task.fusion, scores_NK, strict=True)]
        points["both" if len(weighted) == 2 else "fused"] = torch.stack(weighted).sum(dim=0)
    return points


def class_separation(panel: EmbeddingPanel) -> str:
    """Describes how well the classes of a panel are separated; needs scikit-learn."""
    from sklearn.metrics import silhouette_score

    silhouette = silhouette_score(panel.points_NF, panel.labels_N)
    nearest = 100 * nearest_neighbour_accuracy(panel.points_NF, panel.labels_N)
    return f"nearest neighbour {nearest:.1f} % right, silhouette {silhouette:.3f}"


def nearest_neighbour_accuracy(
    points_NF: NDArray[np.float32], labels_N: NDArray[np.int64]
) -> float:
    """Share of points whose nearest other point, by cosine, is of the same class."""
    unit_NF = points_NF / np.linalg.norm(points_NF, axis=1, keepdims=True)
    cosines_NN = unit_NF @ unit_NF.T
    np.fill_diagonal(cosines_NN, -np.inf)
    return float((labels_N[cosines_NN.argmax(axis=1)] == labels_N).mean())
