"""Figures and their captions, as files of one folder."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from msdn_lit.analysis.figures.style import DPI, save_figure
from msdn_lit.analysis.output.formats import SavedFigure
from msdn_lit.files import make_folder, write_atomically
from msdn_lit.runs.layout import CAPTIONS
from msdn_lit.runs.summary import markdown_text
from msdn_lit.texts import read_text

ACCURACIES = (
    "T1: accuracy of unseen-class images among the unseen classes; U and S: of unseen-class and "
    "seen-class images among all classes; H: harmonic mean of U and S."
)
_SECTION = re.compile(r"^## (\S+)\n\n(.*?)\n*(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class NamedFigure(NamedTuple):
    """A figure with what a paper prints below it.

    Attributes:
        name: File name without its ending.
        figure: The figure, without a title.
        caption: Content, runs, number of seeds, and the meaning of error bars.
    """

    name: str
    figure: Figure
    caption: str


def of_run(figures: Iterable[NamedFigure], run: str) -> list[NamedFigure]:
    """Ends the captions with the run that all figures show, if it is known."""
    return [
        figure._replace(caption=f"{figure.caption} One run: {run}." if run else figure.caption)
        for figure in figures
    ]


def save_figures(
    figures: Iterable[NamedFigure], folder: Path, ending: str, dpi: float = DPI
) -> list[SavedFigure]:
    """Writes figures, and their captions into captions.md.

    Args:
        figures: Figures.
        folder: Folder of the files. Captions of other figures in it are kept.
        ending: "png", "svg" or "pdf".
        dpi: Pixels per inch of PNG files, and of pictures in the others.
    """
    make_folder(folder)
    saved = []
    for name, figure, caption in figures:
        saved.append(SavedFigure(f"{name}.{ending}", caption, figure.get_figwidth()))
        save_figure(figure, folder / saved[-1].name, dpi)
    _write_captions(folder, saved)
    return saved


def _write_captions(folder: Path, saved: Iterable[SavedFigure]) -> None:
    others = {
        name: caption
        for name, caption in _read_captions(folder / CAPTIONS).items()
        if (folder / name).is_file()
    }
    texts = others | {figure.name: markdown_text(figure.caption) for figure in saved}
    sections = [f"## {name}\n\n{caption}\n" for name, caption in sorted(texts.items())]
    if sections:
        write_atomically(folder / CAPTIONS, "\n".join(["# Captions\n", *sections]))


def _read_captions(path: Path) -> dict[str, str]:
    try:
        return dict(_SECTION.findall(read_text(path)))
    except (OSError, UnicodeDecodeError):  # missing, or not ours any more
        return {}
