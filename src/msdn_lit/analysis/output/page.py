"""The report as one HTML page that needs no other file, network or program."""

import base64
import hashlib
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import matplotlib
from jinja2 import Environment, StrictUndefined, Template
from matplotlib.figure import Figure

from msdn_lit.analysis.classes import class_table, confusion_table, readable_names
from msdn_lit.analysis.figures.captions import NamedFigure
from msdn_lit.analysis.figures.report_figures import figures_of_context, figures_of_group
from msdn_lit.analysis.figures.style import FONT_SIZE, NO_DATE, styled
from msdn_lit.analysis.groups import CONTEXT, Context, Group, contexts, wall_time
from msdn_lit.analysis.output.formats import Cell, Share, Table, simplified, text_columns, texts
from msdn_lit.analysis.predictions import Predictions
from msdn_lit.runs.layout import LAST, SCORES

_PIXELS_PER_INCH = 72 * 13 / FONT_SIZE  # the texts of a figure are 13 pixels high
_FOLDER = Path(__file__).parent
_UNSEEN = re.compile(r"<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_DIGITS = re.compile(r"(\d\d\.\d)\d+|(\d\.\d\d)\d+")  # more than a hundredth of a pixel shows
_UNQUOTED = " =:/;,()+!*@?$[]~"  # characters that need no escape in a URI inside quotes


class PageFigure(NamedTuple):
    """A figure of the page.

    Attributes:
        kind: Kind of figure, e.g. "curves".
        caption: Text below it.
        source: Data URI.
        width: Width in CSS pixels at which its text is as large as the page's.
    """

    kind: str
    caption: str
    source: str
    width: int


class HtmlTable(NamedTuple):
    """A table for the template.

    Attributes:
        slug: HTML id.
        title: Title.
        header: Names of the columns.
        is_text: Whether each column holds words.
        rows: Cells as text.
        notes: Sentences below the table.
    """

    slug: str
    title: str
    header: Sequence[str]
    is_text: Sequence[bool]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


class GroupPanel(NamedTuple):
    """The part of the page for one group, with its figures by kind."""

    title: str
    subtitle: str
    figures: Mapping[str, PageFigure]
    tables: Sequence[HtmlTable]


def report_page(
    title: str,
    groups: Sequence[Group],
    tables: Iterable[Table],
    class_names: Sequence[str] | None,
    home: Path,
) -> str:
    """Makes the page.

    Args:
        title: Page title.
        groups: Groups, in the order of `group_runs`.
        tables: Tables of the report, in their order.
        class_names: Class names by id; None takes the names in the run folders, or the ids.
        home: Folder of the page; links to run folders are relative to it.

    Raises:
        ConfigError: The number of class names is not the number of classes.
    """
    shared, script = list(contexts(groups)), _read("page.js")
    runs, links = run_html_table(groups, home)
    compared = [
        figure for context in shared for figure in page_figures(figures_of_context(context))
    ]
    panels = [_panel(group, context, class_names) for context in shared for group in context.groups]
    return _template().render(
        title=title,
        style=_read("page.css"),
        script=script,
        policy=_policy(script),
        facts=_facts(groups),
        tables=[html_table(table) for table in tables if table.slug != "runs"],  # `runs` has more
        compared=compared,
        panels=panels,
        runs=runs,
        links=links,
    )


def html_table(table: Table) -> HtmlTable:
    """Converts a table for the template."""
    short = simplified(table)
    rows = list(texts(short))
    return HtmlTable(short.slug, short.title, short.header, text_columns(short), rows, short.notes)


def page_figures(figures: Iterable[NamedFigure]) -> list[PageFigure]:
    """Converts figures to vector graphics without background, for light and dark pages."""
    return [
        PageFigure(
            name.partition("_")[0],
            caption,
            _svg_uri(figure),
            round(figure.get_figwidth() * _PIXELS_PER_INCH),
        )
        for name, figure, caption in figures
    ]


def run_html_table(groups: Sequence[Group], home: Path) -> tuple[HtmlTable, dict[str, str]]:
    """Returns a table of all runs, and the links of its texts."""
    rows: list[list[Cell]] = []
    links = {}
    for group in groups:
        for run in group.runs:
            path = Path(os.path.relpath(run.folder.resolve(), home.resolve())).as_posix()
            links[path] = quote(path)
            last = run.scores.get("last")
            scores = [Share(last[score]) if last else None for score in SCORES]
            minutes = f"{run.result['wall_time_s'] / 60:.0f}"
            code = str(run.result["code"])[:12]
            cells = [run.seed, *scores, minutes, run.result["device"], code, path]
            rows.append([*group.context, group.protocol, *cells])
    header = [*CONTEXT, "protocol", "seed", *SCORES.values(), "minutes", "device", "code", "folder"]
    notes = ["Scores of the last step, in percent."]
    return html_table(Table("folders", "Run folders", header, rows, notes)), links


def _panel(group: Group, context: Context, class_names: Sequence[str] | None) -> GroupPanel:
    caches = group.caches(LAST)
    tables = []
    if caches:
        names = readable_names(class_names or group.runs[0].class_names, caches[0])
        seeds = [Predictions(cache) for cache in caches]
        tables = [html_table(make(seeds, names)) for make in (class_table, confusion_table)]
    numbers = ", ".join(str(run.seed) for run in group.runs)
    label = "seeds" if len(group.runs) > 1 else "seed"
    figures = page_figures(figures_of_group(group, context, class_names))
    by_kind = {figure.kind: figure for figure in figures}
    return GroupPanel(group.name, f"{context.title}, {label} {numbers}", by_kind, tables)


def _facts(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """A few facts about all runs of the page."""
    results = [run.result for group in groups for run in group.runs]
    hours = wall_time(run for group in groups for run in group.runs) / 3600

    def names(key: str) -> str:
        return ", ".join(sorted({str(result[key]) for result in results}))

    return [
        ("runs", str(len(results))),
        ("groups", str(len(groups))),
        ("benchmark", names("benchmark")),
        ("features", names("features")),
        ("protocol", names("protocol")),
        ("compute", f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"),
    ]


def _policy(script: str) -> str:
    """Content security policy: the page runs its own script and loads nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    styles = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"{styles}; script-src 'sha256-{digest}'"


@styled
def _svg_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    # texts stay texts, which are a third of the size of outlines
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_DATE["svg"])
    return f"data:image/svg+xml,{quote(_light(buffer.getvalue().decode()), safe=_UNQUOTED)}"


def _light(svg: str) -> str:
    """Removes from a vector graphic what nobody sees: metadata, blanks, digits of coordinates."""
    svg = _UNSEEN.sub("", svg)
    svg = _TAG.sub(lambda tag: " ".join(_DIGITS.sub(r"\1\2", tag[0]).split()), svg)
    return re.sub(r">\s+<", "><", svg).strip()


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["number"] = _number
    return environment.from_string(_read("page.html"))


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _number(text: str) -> str:
    """Sort key of a text: its first number."""
    match = re.search(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?", text)
    return match[0].replace(",", "") if match else ""
