"""Tables as Markdown and CSV (HTML: `page`; LaTeX: `latex`)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from msdn_lit.analysis.statistics import Interval, Summary
from msdn_lit.runs.summary import markdown_text, plain_line
from msdn_lit.texts import comma_separated as csv_text

Cell = str | int | float | Summary | Interval | None

_IS_NUMBER = re.compile(r"(?:[-\d.,±()= ]|n=|to|e-)*")


class Share(float):
    """A fraction that is shown in percent. A plain float is shown unchanged."""


class Table(NamedTuple):
    """A table.

    Attributes:
        slug: Name of its file, without the ending.
        title: Title.
        header: Names of the columns; "n" is the column of the number of runs.
        rows: Cells. Summaries, intervals and shares are fractions and are shown in percent.
        notes: Sentences below the table.
    """

    slug: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


class SavedFigure(NamedTuple):
    """A figure in a file.

    Attributes:
        name: File name.
        caption: Content, runs, number of seeds, and the meaning of error bars.
        width: Width in inches.
    """

    name: str
    caption: str
    width: float


def markdown(tables: Iterable[Table], title: str, figures: Iterable[SavedFigure] = ()) -> str:
    """Returns a Markdown page that is readable as plain text, too."""
    lines = [f"# {markdown_text(title)}", ""]
    for table in map(concise, tables):
        lines += [f"## {markdown_text(table.title)}", "", *markdown_lines(table), ""]
        lines += [f"- {markdown_text(note)}" for note in table.notes]
        lines += [""] if table.notes else []
    for name, caption, _ in figures:
        lines += [f"![{name}]({name})", "", markdown_text(caption), ""]
    return "\n".join(lines).rstrip() + "\n"


def markdown_lines(table: Table) -> list[str]:
    """Returns the lines of a Markdown table with aligned columns."""
    rows = [[markdown_text(cell) for cell in row] for row in (table.header, *texts(table))]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.ljust if is_text else str.rjust for is_text in text_columns(table)]
    rule = [
        "-" * width if pad is str.ljust else "-" * (width - 1) + ":"
        for width, pad in zip(widths, pads, strict=True)
    ]
    padded = [
        [pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)]
        for row in rows
    ]
    return ["| " + " | ".join(row) + " |" for row in (padded[0], rule, *padded[1:])]


def comma_separated(table: Table) -> str:
    """Returns a table as CSV, with fractions in full precision.

    A summary becomes three columns (mean, std, n), an interval two (low, high).
    """
    columns: list[list[object]] = []
    for index, name in enumerate(table.header):
        columns += _expand(name, [row[index] for row in table.rows])
    return csv_text(zip(*columns, strict=True))


def concise(table: Table) -> Table:
    """Moves leading columns with the same text in several rows into the title."""
    columns = list(zip(*texts(table), strict=True))[:-1]
    repeated = takewhile(lambda column: len(column) > 1 and len(set(column)) == 1, columns)
    moved = [column[0] for column in repeated]
    title = ": ".join(filter(None, [table.title, ", ".join(moved)]))
    rows, header = [row[len(moved) :] for row in table.rows], table.header[len(moved) :]
    return table._replace(title=title, header=header, rows=rows)


def without_columns(table: Table, names: Sequence[str]) -> Table:
    """Returns a table without some of its columns."""
    kept = [index for index, name in enumerate(table.header) if name not in names]
    rows = [[row[index] for index in kept] for row in table.rows]
    return table._replace(header=[table.header[index] for index in kept], rows=rows)


def simplified(table: Table) -> Table:
    """Moves columns of one text into the title, leaves out empty columns, and merges equal rows.

    Rows are equal if they differ in the evaluation only, e.g. a peak at the last step.
    """
    table = _merged(table, "evaluation")
    columns = list(zip(table.header, zip(*texts(table), strict=True), strict=True))
    empty = [name for name, column in columns if not any(column)]
    constant = {
        name: column[0]
        for (name, column), is_text in zip(columns, text_columns(table), strict=True)
        if is_text and len(column) > 1 and len(set(column)) == 1 and name not in empty
    }
    facts = ", ".join(f"{name} {value}" for name, value in constant.items())
    title = ": ".join(filter(None, [table.title, facts]))
    return without_columns(table, [*constant, *empty])._replace(title=title)


def _merged(table: Table, column: str) -> Table:
    """Merges rows that differ in one column only."""
    if column not in table.header:
        return table
    index = list(table.header).index(column)
    rows: dict[tuple[object, ...], list[Cell]] = {}
    for row in table.rows:
        others = (*row[:index], *row[index + 1 :])
        if others in rows:
            rows[others][index] = f"{rows[others][index]}, {row[index]}"
        else:
            rows[others] = list(row)
    return table._replace(rows=list(rows.values()))


def texts(table: Table) -> Iterator[list[str]]:
    """Yields the rows as text. A summary's n is omitted if the column n has the same number."""
    for row in table.rows:
        n = dict(zip(table.header, row, strict=True)).get("n")
        yield [_text(cell).removesuffix(f" (n={n})") for cell in row]


def text_columns(table: Table) -> list[bool]:
    """Returns for each column whether it holds words, which are aligned to the left."""
    columns = zip(*texts(table), strict=True) if table.rows else [()] * len(table.header)
    return [not all(_IS_NUMBER.fullmatch(text) for text in column) for column in columns]


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Summary):
        return str(cell)
    if isinstance(cell, tuple):
        return " to ".join(f"{100 * bound:.1f}" for bound in cell)
    if isinstance(cell, Share):
        return f"{100 * cell:.1f}"
    return f"{cell:.2g}" if isinstance(cell, float) else plain_line(str(cell))


def _expand(name: str, cells: Sequence[Cell]) -> Iterator[list[object]]:
    """The columns of a CSV file for one column of a table, with their headers."""
    if any(isinstance(cell, Summary) for cell in cells):
        yield [name, *(cell.mean if isinstance(cell, Summary) else cell for cell in cells)]
        for part in ("std", "n"):
            yield [f"{name} {part}", *(getattr(cell, part, None) for cell in cells)]
    elif any(isinstance(cell, tuple) for cell in cells):
        for index, part in enumerate(("low", "high")):
            bounds = [cell[index] if isinstance(cell, tuple) else None for cell in cells]
            yield [f"{name} {part}", *bounds]
    else:
        yield [name, *cells]
