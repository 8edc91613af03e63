"""Sizes, fonts, colours and lines that all figures share, as a paper with two columns needs them.

Lines also differ in dashes and marks, so that figures can be read in grey.

Letters: n seeds, X points along an axis.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from msdn_lit.files import open_atomically
from msdn_lit.runs.layout import SCORES

Values = NDArray[np.float64]
Seeds = Mapping[str, Sequence[ArrayLike]]  # score -> values of the seeds, (n,), at each point
Parameters = ParamSpec("Parameters")
T = TypeVar("T")

COLUMN = 3.3  # inches; width of one column of a paper
PAGE = 6.9  # inches; width of both columns
FONT_SIZE = 8  # points, of every text
LINE = 1.25 * FONT_SIZE / 72  # inches; height of a line of text
DPI = 300
_STYLE: Any = {  # settings of matplotlib
    "font.family": "DejaVu Sans",
    "font.size": FONT_SIZE,
    **dict.fromkeys(
        (
            "axes.titlesize",
            "axes.labelsize",
            "figure.titlesize",
            "figure.labelsize",
            "legend.fontsize",
            "legend.title_fontsize",
            "xtick.labelsize",
            "ytick.labelsize",
        ),
        FONT_SIZE,
    ),
    "figure.titleweight": "normal",
    "text.usetex": False,
    "text.parse_math": False,  # a $ in a name is no formula
    "axes.grid": False,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,  # TrueType; journals refuse type 3
    "ps.fonttype": 42,
    "svg.fonttype": "path",  # a SVG embeds no font: texts look the same everywhere only as shapes
    "svg.hashsalt": "msdn-lit",
    "savefig.bbox": None,  # the file is as wide as the column
}
NO_DATE: Mapping[str, dict[str, Any]] = {  # metadata by format; equal figures give equal files
    "png": {},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
}

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
_ORDER = ("blue", "vermilion", "green", "black", "purple", "orange", "sky blue")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")


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


def styled(function: Callable[Parameters, T]) -> Callable[Parameters, T]:
    """Decorates a function that draws or saves a figure, so that it uses the style."""

    @wraps(function)
    def in_style(*args: Parameters.args, **kwargs: Parameters.kwargs) -> T:
        with matplotlib.style.context(["default", _STYLE]):  # whatever the user has set
            return function(*args, **kwargs)

    return in_style


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Makes a figure with one panel and a grid; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid()
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


@styled
def save_figure(figure: Figure, path: Path, dpi: float = DPI) -> None:
    """Writes a figure in the format that the file's name ends in: png, svg or pdf.

    Equal figures give equal files.
    """
    ending = path.suffix[1:]
    with open_atomically(path) as file:
        figure.savefig(file, dpi=dpi, format=ending, metadata=NO_DATE[ending])
