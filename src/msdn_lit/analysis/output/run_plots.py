"""Figures; every function returns a matplotlib figure and leaves saving to its caller."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msdn_lit.runs.layout import SCORES

_COLOURS = dict(
    zip(SCORES, ("#0072B2", "#E69F00", "#009E73", "#000000"), strict=True)
)  # Okabe and Ito


class AttentionMap(NamedTuple):
    """One attribute's attention over an image.

    Attributes:
        title: Attribute and score.
        weights_HW: Attention on the region grid.
    """

    title: str
    weights_HW: NDArray[np.float32]


class AttentionRow(NamedTuple):
    """One image and where the model looks.

    Attributes:
        title: What it is and what it was taken for.
        image_YXC: Pixels in [0, 1].
        maps: Left to right.
    """

    title: str
    image_YXC: NDArray[np.float32]
    maps: Sequence[AttentionMap]


def plot_history(scores_at: Mapping[int, Mapping[str, float]], stage: str) -> Figure:
    """Draws T1, U, S and H over the training steps.

    Args:
        scores_at: Step -> scores as fractions.
        stage: The splits they were measured on, for the axis.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for score, name in SCORES.items():
        points = [
            (step, 100 * scores[score])
            for step, scores in sorted(scores_at.items())
            if score in scores
        ]
        if points:
            axes.plot(*zip(*points, strict=True), ".-", color=_COLOURS[score], label=name)
    axes.set(xlabel="training step", ylabel=f"score on {stage} (%)", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(ncols=4)
    return figure


def plot_attention(rows: Sequence[AttentionRow]) -> Figure:
    """Draws images with their attention maps laid over them.

    Args:
        rows: All with the same number of maps.
    """
    columns = 1 + len(rows[0].maps)
    figure = Figure(figsize=(1.7 * columns, 2.0 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        axes[0].imshow(row.image_YXC)
        axes[0].set_title(_wrapped(row.title), fontsize=7)
        for axis, attention in zip(axes[1:], row.maps, strict=True):
            axis.imshow(_overlay(row.image_YXC, attention.weights_HW))
            axis.set_title(_wrapped(attention.title), fontsize=7)
    for axis in grid.flat:
        axis.set_axis_off()
    return figure


def _wrapped(title: str) -> str:
    return "\n".join(
        wrapped for line in title.splitlines() for wrapped in textwrap.wrap(line, width=22)
    )


def _overlay(
    image_YXC: NDArray[np.float32], weights_HW: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Blends a grey image with the attention, scaled to its own range and enlarged region by region."""
    height, width = image_YXC.shape[:2]
    spread = np.ptp(weights_HW)
    relative_HW = (
        (weights_HW - weights_HW.min()) / spread if spread > 0 else np.zeros_like(weights_HW)
    )
    rows, columns = (
        np.arange(n) * m // n for n, m in zip((height, width), weights_HW.shape, strict=True)
    )
    heat_YX = relative_HW[np.ix_(rows, columns)]
    colour_YXC = matplotlib.colormaps["viridis"](heat_YX)[..., :3]
    grey_YX1 = image_YXC.mean(axis=2, keepdims=True)
    blended: NDArray[np.float32] = 0.5 * grey_YX1 + 0.5 * colour_YXC
    return blended
