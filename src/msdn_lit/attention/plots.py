"""t-SNE of images, and numbers that do not depend on the drawing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msdn_lit.errors import ConfigError

# ten classes: Okabe and Ito's eight and two greys, each with a marker of its own
_OKABE_ITO = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
_COLOURS = (*_OKABE_ITO, "#777777", "#BBBBBB")
_MARKERS = "osv^D<>pXP"


class Panel(NamedTuple):
    """Points of some classes.

    Attributes:
        split: Of which split the images are.
        name: What the points are.
        points_NF: One for each image, (N, F).
        labels_N: Class ids, (N,).
    """

    split: str
    name: str
    points_NF: NDArray[np.float32]
    labels_N: NDArray[np.int64]


def plot_embeddings(panels: Sequence[Panel]) -> tuple[Figure, list[str]]:
    """Draws a t-SNE of each panel, a row for each split; above each, how well its classes are apart.

    Returns:
        The figure, and a line for each panel: how well its classes are apart before any drawing.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise ConfigError(
            "scikit-learn is not installed", action='pip install "msdn-lit[figures]"'
        ) from error
    splits, separations = (
        list(dict.fromkeys(panel.split for panel in panels)),
        list(map(_separation, panels)),
    )
    columns = len(panels) // len(splits)
    figure = Figure(figsize=(3 * columns, 3.4 * len(splits)), layout="constrained")
    axes = figure.subplots(len(splits), columns, squeeze=False).flat
    for axis, panel, separation in zip(axes, panels, separations, strict=True):
        perplexity = min(30, (len(panel.points_NF) - 1) / 3)
        points_N2 = TSNE(random_state=0, init="pca", perplexity=perplexity).fit_transform(
            panel.points_NF
        )
        for index, label in enumerate(np.unique(panel.labels_N)):
            of_class = points_N2[panel.labels_N == label]
            axis.scatter(
                *of_class.T,
                s=12,
                color=_COLOURS[index % 10],
                marker=_MARKERS[index % 10],
                linewidths=0,
            )
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{panel.split.replace('_', ' ')}: {panel.name}\n{separation}", fontsize=7.5)
    lines = [
        f"{panel.split}, {panel.name}: {text}"
        for panel, text in zip(panels, separations, strict=True)
    ]
    return figure, lines


def _separation(panel: Panel) -> str:
    from sklearn.metrics import silhouette_score

    silhouette = silhouette_score(panel.points_NF, panel.labels_N)
    nearest = 100 * nearest_neighbour_accuracy(panel.points_NF, panel.labels_N)
    return f"nearest neighbour {nearest:.1f} % right, silhouette {silhouette:.3f}"


def nearest_neighbour_accuracy(
    points_NF: NDArray[np.float32], labels_N: NDArray[np.int64]
) -> float:
    """How often the nearest other point, by the angle, is of the same class."""
    unit_NF = points_NF / np.linalg.norm(points_NF, axis=1, keepdims=True)
    cosines_NN = unit_NF @ unit_NF.T
    np.fill_diagonal(cosines_NN, -np.inf)
    return float((labels_N[cosines_NN.argmax(axis=1)] == labels_N).mean())
