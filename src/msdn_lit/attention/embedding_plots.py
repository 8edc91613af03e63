"""Figure of embeddings. The caller saves it. All sizes are in inches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from msdn_lit.analysis.figures.labels import num_lines, shorten, width_of, wrap
from msdn_lit.analysis.figures.style import COLUMN, LINE, PAGE, STYLES, styled
from msdn_lit.attention.embeddings import EmbeddingPanel, class_separation
from msdn_lit.errors import ConfigError

EMBEDDING_CAPTION = (
    "t-SNE of the images of ten random classes of each split: pooled features, and the attribute "
    "scores of the model. Seen classes have filled marks, unseen classes open ones. Nearest "
    "neighbour: share of images whose nearest other image, by cosine, is of the same class; it and "
    "the silhouette are computed before the t-SNE."
)
_COLOURS = (*(style.colour for style in STYLES), "#777777")
_MARKS = "osv^D<>pXP"
_PANEL = 1.45
_NAME = 2.5
_MARK = 0.4  # width of a mark in the legend, with its spaces


@styled
def plot_embeddings(panels: Sequence[EmbeddingPanel]) -> tuple[Figure, list[str]]:
    """Draws a t-SNE of each panel, one row for each split.

    Returns:
        The figure, and one line for each panel: the separation of its classes, which does not
        depend on the t-SNE.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        import sklearn.manifold  # noqa: F401
    except ModuleNotFoundError as error:
        action = 'pip install "msdn-lit[figures]"'
        raise ConfigError("scikit-learn is not installed", action=action) from error
    rows = [
        [panel for panel in panels if panel.split == split]
        for split in dict.fromkeys(panel.split for panel in panels)
    ]
    width = COLUMN if len(rows[0]) <= 2 else PAGE
    separations = [[class_separation(panel) for panel in row] for row in rows]
    heights = [
        _row_height(row, of_row, width) for row, of_row in zip(rows, separations, strict=True)
    ]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    subfigures = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for subfigure, row, of_row in zip(subfigures, rows, separations, strict=True):
        _draw_row(subfigure, row, of_row, width)
    lines = [
        f"{panel.split}, {panel.name}: {separation}"
        for row, of_row in zip(rows, separations, strict=True)
        for panel, separation in zip(row, of_row, strict=True)
    ]
    return figure, lines


def _title(panel: EmbeddingPanel, separation: str, width: float) -> str:
    return f"{wrap(panel.name, width)}\n{wrap(separation, width)}"


def _names(row: Sequence[EmbeddingPanel]) -> list[str]:
    """Names of the classes in the legend."""
    classes = np.unique(row[0].labels_N).tolist()
    return [shorten(row[0].class_names[c], _NAME) for c in classes]


def _legend_columns(names: Sequence[str], width: float) -> int:
    widest = max(map(width_of, names)) + _MARK
    return max(1, min(5, int((width - 0.1) / widest)))


def _row_height(row: Sequence[EmbeddingPanel], separations: Sequence[str], width: float) -> float:
    names, space = _names(row), width / len(row) - 0.1
    lines = max(
        num_lines(_title(panel, separation, space))
        for panel, separation in zip(row, separations, strict=True)
    )
    legend = -(-len(names) // _legend_columns(names, width))
    return _PANEL + LINE * (lines + 1.3 * legend + 2.5)


def _draw_row(
    figure: SubFigure, row: Sequence[EmbeddingPanel], separations: Sequence[str], width: float
) -> None:
    figure.suptitle(f"{row[0].domain} classes ({row[0].split})")
    panels = figure.subplots(1, len(row), squeeze=False)[0]
    for axes, panel, separation in zip(panels, row, separations, strict=True):
        _draw_panel(axes, panel)
        axes.set_title(_title(panel, separation, width / len(row) - 0.1))
    names = _names(row)
    handles = [
        panels[0].scatter([], [], label=name, **_mark(index, row[0].domain))
        for index, name in enumerate(names)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=_legend_columns(names, width),
        handletextpad=0.2,
        columnspacing=0.8,
        labelspacing=0.3,
    )


def _draw_panel(axes: Axes, panel: EmbeddingPanel) -> None:
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(panel.points_NF) - 1) / 3)
    points_N2 = TSNE(random_state=0, init="pca", perplexity=perplexity).fit_transform(
        panel.points_NF
    )
    for index, label in enumerate(np.unique(panel.labels_N)):
        x, y = points_N2[panel.labels_N == label].T
        axes.scatter(x, y, **_mark(index, panel.domain))
    axes.set(xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(True)


def _mark(index: int, domain: str) -> dict[str, Any]:
    """Style of the marks of a class: filled for a seen class, open for an unseen one."""
    colour, is_seen = _COLOURS[index % len(_COLOURS)], domain == "seen"
    return {
        "s": 9,
        "marker": _MARKS[index % len(_MARKS)],
        "facecolors": colour if is_seen else "none",
        "edgecolors": colour,
        "linewidths": 0.2 if is_seen else 0.7,
    }
