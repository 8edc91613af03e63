"""Images of a few classes as points: pooled features, and the attribute scores of a net.

Letters: B = N images of a panel, R regions, D visual channels, K attributes, F coordinates of a
point.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from msdn_lit.analysis.classes import short_name
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.tasks import ZSLTask

_NUM_CLASSES = 10
_SEED = 0


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
        inputs, labels_B, _ = dataset.read(positions.tolist())
        inputs = inputs.to(task.device)
        scores = [output.attribute_scores_BK for output in task.net(inputs)]
        points = {"pooled features": task.regions(inputs).float().mean(dim=1)}
        for name, scores_BK in zip(task.output_names, scores, strict=True):
            points[name.replace("_", " ")] = scores_BK
        if len(scores) > 1:
            weighted = [weight * s for weight, s in zip(task.fusion, scores, strict=True)]
            points["both"] = torch.stack(weighted).sum(dim=0)
        for name, points_BF in points.items():
            unit_BF = normalize(points_BF, dim=1).cpu().numpy()
            panel = EmbeddingPanel(split, name, unit_BF, labels_B.numpy(), domain, names)
            panels.append(panel)
    return panels


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
