"""Figures of attention maps and of embeddings. The caller saves them."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msdn_lit.analysis.output.style import OKABE_ITO, wrap
from msdn_lit.attention.embeddings import EmbeddingPanel, class_separation
from msdn_lit.attention.maps import AttentionRow
from msdn_lit.errors import ConfigError

# one colour and one mark for each of ten classes
_COLOURS = (*OKABE_ITO.values(), "#777777", "#BBBBBB")
_MARKS = "osv^D<>pXP"
_TITLE_WIDTH = 22


def plot_attention(rows: Sequence[AttentionRow]) -> Figure:
    """Draws images with their attention maps over them.

    Args:
        rows: Images, all with the same number of maps.
    """
    columns = 1 + len(rows[0].maps)
    figure = Figure(figsize=(1.7 * columns, 2.0 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        axes[0].imshow(row.image_hw3)
        axes[0].set_title(wrap(row.title, _TITLE_WIDTH), fontsize=7)
        for axis, attention in zip(axes[1:], row.maps, strict=True):
            axis.imshow(_overlay(row.image_hw3, attention.weights_HW))
            axis.set_title(wrap(attention.title, _TITLE_WIDTH), fontsize=7)
    for axis in grid.flat:
        axis.set_axis_off()
    return figure


def plot_embeddings(panels: Sequence[EmbeddingPanel]) -> tuple[Figure, list[str]]:
    """Draws a t-SNE of each panel, one row for each split.

    Returns:
        The figure, and one line for each panel: the separation of its classes, which does not
        depend on the t-SNE.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        action = 'pip install "msdn-lit[figures]"'
        raise ConfigError("scikit-learn is not installed", action=action) from error
    splits = list(dict.fromkeys(panel.split for panel in panels))
    separations = [class_separation(panel) for panel in panels]
    columns = len(panels) // len(splits)
    figure = Figure(figsize=(3 * columns, 3.4 * len(splits)), layout="constrained")
    axes = figure.subplots(len(splits), columns, squeeze=False).flat
    lines = []
    for axis, panel, separation in zip(axes, panels, separations, strict=True):
        perplexity = min(30, (len(panel.points_NF) - 1) / 3)
        projection = TSNE(random_state=0, init="pca", perplexity=perplexity)
        points_N2 = projection.fit_transform(panel.points_NF)
        for index, label in enumerate(np.unique(panel.labels_N)):
            x, y = points_N2[panel.labels_N == label].T
            colour, mark = _COLOURS[index % 10], _MARKS[index % 10]
            axis.scatter(x, y, s=12, color=colour, marker=mark, linewidths=0)
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{panel.split.replace('_', ' ')}: {panel.name}\n{separation}", fontsize=7.5)
        lines.append(f"{panel.split}, {panel.name}: {separation}")
    return figure, lines


def _overlay(
    image_hw3: NDArray[np.float32], weights_HW: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Blends a grey image with attention that is scaled to its own range; a region is a block."""
    spread = np.ptp(weights_HW)
    relative_HW = np.zeros_like(weights_HW)
    if spread > 0:
        relative_HW = (weights_HW - weights_HW.min()) / spread
    sizes = zip(image_hw3.shape[:2], weights_HW.shape, strict=True)
    rows, columns = (np.arange(pixels) * cells // pixels for pixels, cells in sizes)
    heat_hw = relative_HW[np.ix_(rows, columns)]
    colour_hw3 = matplotlib.colormaps["viridis"](heat_hw)[..., :3]
    grey_hw1 = image_hw3.mean(axis=2, keepdims=True)
    blended_hw3: NDArray[np.float32] = 0.5 * grey_hw1 + 0.5 * colour_hw3
    return blended_hw3
