"""Figures of attention maps. The caller saves them. All sizes are in inches."""

from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msdn_lit.analysis.figures.labels import num_lines, wrap
from msdn_lit.analysis.figures.style import COLUMN, LINE, OKABE_ITO, PAGE, styled
from msdn_lit.attention.maps import AttentionMap, AttentionRow, SubnetMaps

ATTENTION_CAPTION = (
    "Attention maps of the sub-nets on test images, with class → prediction; each sub-net with its "
    "weight in the score. Colour: attention, scaled to each map's own range; the place with the "
    "least is transparent. Numbers: scores of the attributes. Images: of the first image of each "
    "class, the first that are predicted right and the first that are not."
)
TOP_CAPTION = (
    "The attributes with the highest score of each sub-net on two test images, one of them "
    "predicted right and one wrong where there are both. Texts, colours and numbers: as in the "
    "figure of attention maps."
)
_MAX_COLUMNS = 6  # maps beside one another
_MANY_CELLS = 20  # regions along a side; fewer are drawn as blocks
_SIDE = 0.9
_GAP = 0.08
_BAR = 0.45  # height of the colour bar with its texts
_OPAQUE = 0.85  # of the strongest attention


@styled
def plot_attention(rows: Sequence[AttentionRow]) -> Figure:
    """Draws images with their attention maps over them.

    The maps of all sub-nets are beside the image if they are few, else those of each sub-net begin
    a new line.

    Args:
        rows: Images.
    """
    lines = [list(_lines(row.subnets)) for row in rows]
    columns = 1 + max(
        sum(len(subnet.maps) for subnet in line) for of_row in lines for line in of_row
    )
    width = COLUMN if _GAP + columns * (_SIDE + _GAP) <= COLUMN else PAGE
    heights = [_height(row, of_row, width) for row, of_row in zip(rows, lines, strict=True)]
    top = sum(heights) + _BAR
    figure = Figure(figsize=(width, top))
    for row, of_row, height in zip(rows, lines, heights, strict=True):
        _draw_row(figure, top, row, of_row)
        top -= height
    _draw_colour_bar(figure)
    return figure


def _lines(subnets: Sequence[SubnetMaps]) -> Iterator[list[SubnetMaps]]:
    """The maps that are beside one another, with the names of their sub-nets."""
    if sum(len(subnet.maps) for subnet in subnets) <= _MAX_COLUMNS:
        yield list(subnets)
        return
    for name, maps in subnets:
        for start in range(0, len(maps), _MAX_COLUMNS):
            yield [SubnetMaps(name if start == 0 else "", maps[start : start + _MAX_COLUMNS])]


def _sentence(row: AttentionRow, width: float) -> str:
    sign = "✓ right" if row.label == row.prediction else "✗ wrong"
    return wrap(f"{sign}: {row.label} → {row.prediction}", width - 2 * _GAP)


def _name(subnet: SubnetMaps) -> str:
    return wrap(subnet.name, len(subnet.maps) * (_SIDE + _GAP) - _GAP)


def _title(attention: AttentionMap) -> str:
    return f"{wrap(attention.attribute, _SIDE)}\n{attention.score:.2f}"


def _name_height(line: Sequence[SubnetMaps]) -> float:
    return LINE * (max(num_lines(_name(subnet)) for subnet in line) + 0.3)


def _title_height(line: Sequence[SubnetMaps]) -> float:
    return LINE * max(num_lines(_title(attention)) for subnet in line for attention in subnet.maps)


def _line_height(line: Sequence[SubnetMaps]) -> float:
    """Height of the names of the sub-nets, the titles and the maps."""
    return _name_height(line) + _title_height(line) + _SIDE + _GAP


def _height(row: AttentionRow, lines: Sequence[Sequence[SubnetMaps]], width: float) -> float:
    return LINE * (num_lines(_sentence(row, width)) + 0.8) + sum(map(_line_height, lines))


def _draw_row(
    figure: Figure, top: float, row: AttentionRow, lines: Sequence[Sequence[SubnetMaps]]
) -> None:
    sentence = _sentence(row, figure.get_figwidth())
    colour = "green" if row.label == row.prediction else "vermilion"
    _write(figure, _GAP, top - _GAP, sentence, OKABE_ITO[colour])
    top -= LINE * (num_lines(sentence) + 0.8)
    for number, line in enumerate(lines):
        maps_top = top - _name_height(line) - _title_height(line)
        left = 2 * _GAP + _SIDE
        if number == 0:
            _panel(figure, _GAP, maps_top).imshow(row.image_hw3)
        for subnet in line:
            _write(figure, left, top, _name(subnet), "0.35")
            for attention in subnet.maps:
                axes = _panel(figure, left, maps_top)
                axes.set_title(_title(attention), pad=2)
                _draw_map(axes, row.image_hw3, attention.weights_HW)
                left += _SIDE + _GAP
        top -= _line_height(line)


def _write(figure: Figure, left: float, top: float, text: str, color: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, top / height, text, va="top", color=color)


def _panel(figure: Figure, left: float, top: float) -> Axes:
    width, height = figure.get_size_inches()
    place = (left / width, (top - _SIDE) / height, _SIDE / width, _SIDE / height)
    axes = figure.add_axes(place)
    axes.set_axis_off()
    return axes


def _draw_map(axes: Axes, image_hw3: NDArray[np.float32], weights_HW: NDArray[np.float32]) -> None:
    """Draws attention over the grey image; the places with more attention are less transparent."""
    spread = np.ptp(weights_HW)
    relative_HW = (weights_HW - weights_HW.min()) / (spread if spread > 0 else 1)
    height, width = image_hw3.shape[:2]
    axes.imshow(image_hw3.mean(axis=2), cmap="gray", vmin=0, vmax=1)
    axes.imshow(
        relative_HW,
        cmap=_colours(),
        vmin=0,
        vmax=1,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest" if max(weights_HW.shape) <= _MANY_CELLS else "bilinear",
    )


def _colours() -> ListedColormap:
    """Colours from transparent to yellow; they differ in lightness, too."""
    colours_N4 = matplotlib.colormaps["plasma"](np.linspace(0, 1, 256))
    colours_N4[:, 3] = np.linspace(0, _OPAQUE, 256)
    return ListedColormap(colours_N4)


def _draw_colour_bar(figure: Figure) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes(((width - 2) / 2 / width, 0.22 / height, 2 / width, 0.1 / height))
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=_colours(), aspect="auto")
    axes.set_xticks([0, 127.5, 255], ["least", "attention in the map", "most"])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right"]].set_visible(True)
