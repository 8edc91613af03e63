"""Texts of figures in the space that they have, measured in the figures' font."""

import re
from collections.abc import Iterator
from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from msdn_lit.analysis.figures.style import FONT_SIZE, styled

_FONT = FontProperties(family="DejaVu Sans", size=FONT_SIZE)
_PART = 0.97  # of the space that is filled: renderers round the places of letters
# Where a text may be broken: first between words, then at signs, then anywhere.
_PIECES = (r"\S+\s*|\s+", r"(?:[^_,=./:-]|\.(?=\d))*(?:[_,=/:-]|\.(?!\d)|$)+", r".")


@lru_cache(maxsize=4096)
def width_of(text: str) -> float:
    """Returns the width of a line of text, in inches."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, _FONT, ismath=False)
    return float(width) / 72


def fits(text: str, width: float) -> bool:
    """Whether a line of text fits into a width in inches."""
    return width_of(text.rstrip()) <= _PART * width


def wrap(text: str, width: float) -> str:
    """Breaks a text into lines that fit into a width in inches, if possible between words."""
    lines = [part for line in text.splitlines() for part in _filled(line, width, _PIECES)]
    return "\n".join(line.rstrip() for line in lines)


def shorten(text: str, width: float) -> str:
    """Cuts the middle of a text that does not fit into a width in inches."""
    text = " ".join(text.split())
    kept, short = len(text), text
    while kept and not fits(short, width):
        kept -= 1
        short = f"{text[: -(-kept // 2)].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"
    return short


def num_lines(text: str) -> int:
    """Returns the number of lines of a text."""
    return text.count("\n") + 1


@styled
def hide_overlapping_ticks(figure: Figure) -> Figure:
    """Hides the labels of ticks on horizontal axes that would print over the label before them."""
    figure.draw_without_rendering()
    labels = [label for axes in figure.axes for label in _shown_labels(axes)]
    boxes = [(label, label.get_window_extent()) for label in labels if label.get_text()]
    row, end, gap = 0, float("-inf"), figure.dpi * 3 / 72
    for label, box in sorted(boxes, key=lambda pair: (round(pair[1].y0), pair[1].x0)):
        if round(box.y0) != row:
            row, end = round(box.y0), float("-inf")
        if box.x0 < end + gap:
            label.set_visible(False)
        else:
            end = box.x1
    return figure


def _shown_labels(axes: Axes) -> Iterator[Text]:
    low, high = sorted(axes.get_xlim())
    for tick in axes.xaxis.get_major_ticks():
        if low <= tick.get_loc() <= high:
            yield tick.label1


def _filled(text: str, width: float, pieces: tuple[str, ...]) -> list[str]:
    lines = [""]
    for piece in re.findall(pieces[0], text):
        if fits(lines[-1] + piece, width):
            lines[-1] += piece
        elif fits(piece, width) or len(pieces) == 1:
            lines.append(piece)
        else:
            lines += _filled(piece, width, pieces[1:])
    return lines if lines[0] else lines[1:] or [""]
