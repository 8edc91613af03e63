"""The report as one HTML page that needs no other file, network or program: what W&B's dashboard shows, offline."""

import base64
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
from msdn_lit.analysis.groups import PLACE, Group
from msdn_lit.analysis.output.figures import (
    Place,
    caches_of,
    figures_of_group,
    figures_of_place,
    places_of,
)
from msdn_lit.analysis.output.formats import Cell, Share, Table, concise, text_columns, texts
from msdn_lit.runs.layout import SCORES

_TEMPLATE = Path(__file__).with_name("page.html")


class Picture(NamedTuple):
    """A figure of the page.

    Attributes:
        kind: What it shows, e.g. "curves".
        title: Read aloud where it cannot be seen.
        source: A data URI.
        width: In CSS pixels, at which its text is as large as the page's.
    """

    kind: str
    title: str
    source: str
    width: int


class Panel(NamedTuple):
    """What the page shows of one group."""

    title: str
    subtitle: str
    pictures: Mapping[str, Picture]
    tables: Sequence["HtmlTable"]


class HtmlTable(NamedTuple):
    """A table as the template writes it."""

    slug: str
    title: str
    header: Sequence[str]
    is_text: Sequence[bool]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


def report_page(
    title: str,
    groups: Sequence[Group],
    tables: Iterable[Table],
    class_names: Sequence[str] | None,
    home: Path,
) -> str:
    """Makes the page.

    Args:
        title: Of the page.
        groups: As by `group_runs`.
        tables: Of the report, in their order.
        class_names: By class id; None takes those that the runs left, or the ids.
        home: Folder of the page, from which its links to the runs' folders start.

    Raises:
        ConfigError: The class names are not as many as the classes.
    """
    places = list(places_of(groups))
    runs, links = run_sheet(groups, home)
    return _template().render(
        title=title,
        facts=_facts(groups),
        sheets=[sheet(table) for table in tables if table.slug != "runs"],  # `run_sheet` says more
        compared=[picture for place in places for picture in pictures(figures_of_place(place))],
        panels=[_panel(group, place, class_names) for place in places for group in place.groups],
        runs=runs,
        links=links,
    )


def sheet(table: Table) -> HtmlTable:
    """What the template needs to know of a table."""
    short = concise(table)
    rows = list(texts(short))
    return HtmlTable(short.slug, short.title, short.header, text_columns(short), rows, short.notes)


def pictures(figures: Iterable[tuple[str, Figure]]) -> list[Picture]:
    """Figures as vector graphics without a background, so that a page may be light or dark."""
    found = []
    for name, figure in figures:
        buffer = io.BytesIO()
        with matplotlib.rc_context(
            {"svg.hashsalt": "msdn-lit"}
        ):  # the same figure gives the same bytes
            figure.savefig(
                buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
            )
        source = f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        width = round(figure.get_figwidth() * 96)
        found.append(Picture(name.partition("_")[0], _title_of(figure), source, width))
    return found


def run_sheet(groups: Sequence[Group], home: Path) -> tuple[HtmlTable, dict[str, str]]:
    """Every run, and where the texts of its table lead."""
    rows: list[list[Cell]] = []
    links = {}
    for group in groups:
        for run in group.runs:
            path = Path(os.path.relpath(run.folder.resolve(), home.resolve())).as_posix()
            links[path] = quote(path)
            scores = [
                Share(run.scores["last"][score]) if "last" in run.scores else None
                for score in SCORES
            ]
            minutes = f"{run.result['wall_time_s'] / 60:.0f}"
            code = str(run.result["code"])[:12]
            rows.append(
                [
                    *group.place,
                    group.protocol,
                    run.seed,
                    *scores,
                    minutes,
                    run.result["device"],
                    code,
                    path,
                ]
            )
    header = [*PLACE, "protocol", "seed", *SCORES.values(), "minutes", "device", "code", "folder"]
    return sheet(
        Table("folders", "Run folders", header, rows, ["Scores of the last step, in percent."])
    ), links


def _panel(group: Group, place: Place, class_names: Sequence[str] | None) -> Panel:
    caches = caches_of(group)
    tables = []
    if caches:
        names = readable_names(class_names or group.runs[0].class_names, caches[0])
        tables = [sheet(table(caches, names)) for table in (class_table, confusion_table)]
    seeds = (
        f"seed{'s' if len(group.runs) > 1 else ''} {', '.join(str(run.seed) for run in group.runs)}"
    )
    drawn = {
        picture.kind: picture for picture in pictures(figures_of_group(group, place, class_names))
    }
    return Panel(group.name, f"{place.title}, {seeds}", drawn, tables)


def _facts(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """What the whole page is about, in a few numbers."""
    results = [run.result for group in groups for run in group.runs]
    hours = sum(result["wall_time_s"] for result in results) / 3600

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


def _title_of(figure: Figure) -> str:
    title = figure.get_suptitle() or figure.axes[0].get_title()
    return " ".join(title.split())


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["number"] = _number
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))


def _number(text: str) -> str:
    """What a text is sorted by: its first number."""
    found = re.search(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?", text)
    return found[0].replace(",", "") if found else ""
