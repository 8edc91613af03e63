"""Colours, lines and texts that all figures share.

Lines also differ in dashes and marks, so that figures can be read in grey.

Letters: n seeds, X points along an axis.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from msdn_lit.files import open_atomically
from msdn_lit.runs.layout import SCORES

Values = NDArray[np.float64]
Seeds = Mapping[str, Sequence[ArrayLike]]  # score -> values of the seeds, (n,), at each point

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}
BAND = "band: ± 1 standard deviation of the seeds"
_ORDER = ("blue", "vermilion", "green", "black", "purple", "orange", "sky blue")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_LEGEND_WIDTH = 36


class Style(NamedTuple):
    """Style of a line."""

    colour: str
    dashes: Any
    mark: str


STYLES = [
    Style(OKABE_ITO[name], dashes, mark)
    for name, dashes, mark in zip(_ORDER, _DASHES, _MARKS, strict=True)
]
SCORE_STYLES = dict(zip(SCORES, STYLES, strict=False))


def titled_axes(size: tuple[float, float], title: str) -> tuple[Figure, Axes]:
    """Makes a figure of one panel with a title and a grid."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure, axes


def draw_band(
    axes: Axes,
    positions: ArrayLike,
    columns: Sequence[ArrayLike],
    style: Style,
    label: str,
    scale: float = 100,
) -> None:
    """Draws the mean over the seeds, and a band of one standard deviation for several seeds.

    Args:
        axes: Axes to draw on.
        positions: Positions of the points along the axis, (X,).
        columns: Values of the seeds at each point.
        style: Style of the line.
        label: Name in the legend.
        scale: Factor of the values; 100 draws fractions in percent.
    """
    scaled = [scale * np.asarray(seeds, dtype=np.float64) for seeds in columns]
    means_X = np.array([seeds.mean() for seeds in scaled])
    axes.plot(
        positions,
        means_X,
        color=style.colour,
        linestyle=style.dashes,
        marker=style.mark,
        ms=5,
        markevery=max(1, len(scaled) // 8),
        label=label,
    )
    if any(len(seeds) > 1 for seeds in scaled):
        std_X = np.array([seeds.std(ddof=1) if len(seeds) > 1 else 0.0 for seeds in scaled])
        low_X, high_X = means_X - std_X, means_X + std_X
        axes.fill_between(positions, low_X, high_X, color=style.colour, alpha=0.15, lw=0)


def draw_scores(axes: Axes, positions: ArrayLike, scores: Seeds) -> None:
    """Draws the line and the band of each score."""
    for score, columns in scores.items():
        draw_band(axes, positions, columns, SCORE_STYLES[score], SCORES[score])


def legend_beside(axes: Axes, title: str) -> None:
    """Puts the legend to the right of the axes."""
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        fontsize=8,
        title=wrap(title, _LEGEND_WIDTH),
        title_fontsize=8,
        frameon=False,
        alignment="left",
    )


def wrap(text: str, width: int) -> str:
    """Wraps each line of a text."""
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width))


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Writes a figure as PNG."""
    with open_atomically(path) as file:
        figure.savefig(file, dpi=dpi, format="png")
