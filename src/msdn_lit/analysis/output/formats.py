"""Tables as Markdown, LaTeX and CSV (HTML: `page`). A cell is text, a number, a `Summary` or an interval."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from msdn_lit.analysis.statistics import Interval, Summary

Cell = str | int | float | Summary | Interval | None
_IS_NUMBER = re.compile(r"(?:[-\d.,±()= ]|n=|to|e-)*")
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
}


class Share(float):
    """A fraction, shown in percent; a plain float is shown as it is."""


class Table(NamedTuple):
    """A table.

    Attributes:
        slug: What a file of it is called.
        title: What it shows.
        header: Names of the columns; one is "n" where a row counts runs.
        rows: Cells; summaries, intervals and shares are fractions, shown in percent.
        notes: Sentences below it.
    """

    slug: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


def markdown(tables: Iterable[Table], title: str, figures: Iterable[str] = ()) -> str:
    """A page to be read as plain text, too."""
    lines = [f"# {title}", ""]
    for table in map(concise, tables):
        lines += [f"## {table.title}", "", *markdown_lines(table), ""]
        lines += [*(f"- {note}" for note in table.notes), *([""] if table.notes else [])]
    lines += [f"![{name}]({name})\n" for name in figures]
    return "\n".join(lines).rstrip() + "\n"


def markdown_lines(table: Table) -> list[str]:
    """The table alone, its columns aligned."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (table.header, *texts(table))]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if is_text else str.rjust for is_text in text_columns(table)]
    rule = [
        "-" * w if side is str.ljust else "-" * (w - 1) + ":"
        for w, side in zip(widths, sides, strict=True)
    ]
    padded = [
        [side(cell, w) for side, cell, w in zip(sides, row, widths, strict=True)] for row in rows
    ]
    return ["| " + " | ".join(row) + " |" for row in (padded[0], rule, *padded[1:])]


def latex(tables: Iterable[Table], title: str, figures: Iterable[str] = ()) -> str:
    r"""Tables for \input into a document that loads booktabs, and graphicx if there are figures."""
    lines = [f"% {' '.join(title.split())}; needs \\usepackage{{booktabs}}"]
    for table in map(concise, tables):
        columns = "".join("l" if is_text else "r" for is_text in text_columns(table))
        rows = [" & ".join(map(_latex, row)) + r" \\" for row in (table.header, *texts(table))]
        caption = rf"\caption{{{_latex(table.title)}}}\label{{tab:{table.slug}}}"
        lines += [r"\begin{table}", r"\centering", caption]
        lines += [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
        ]
        lines += [
            r"\end{tabular}",
            *(rf"\par {_latex(note)}" for note in table.notes),
            r"\end{table}",
            "",
        ]
    lines += [rf"\includegraphics[width=\linewidth]{{{name}}}" for name in figures]
    return "\n".join(lines).rstrip() + "\n"


def comma_separated(table: Table) -> str:
    """One table for machines: fractions in full precision; a summary is mean, std and n, an interval low and high."""
    columns = [
        list(_expand(name, [row[i] for row in table.rows])) for i, name in enumerate(table.header)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(zip(*(values for column in columns for values in column), strict=True))
    return text.getvalue()


def concise(table: Table) -> Table:
    """Says once, in the title, what the first columns say in every one of several rows."""
    columns = list(zip(*texts(table), strict=True))[:-1]
    repeated = takewhile(lambda column: len(column) > 1 and len(set(column)) == 1, columns)
    said = [column[0] for column in repeated]
    rows, header = [row[len(said) :] for row in table.rows], table.header[len(said) :]
    return table._replace(
        title=": ".join(filter(None, [table.title, ", ".join(said)])), header=header, rows=rows
    )


def _expand(name: str, cells: Sequence[Cell]) -> Iterator[list[object]]:
    """The columns, header first, that a column becomes in CSV."""
    if any(isinstance(cell, Summary) for cell in cells):
        yield [name, *(cell.mean if isinstance(cell, Summary) else cell for cell in cells)]
        for part in ("std", "n"):
            yield [f"{name} {part}", *(getattr(cell, part, None) for cell in cells)]
    elif any(isinstance(cell, tuple) for cell in cells):
        for index, part in enumerate(("low", "high")):
            yield [
                f"{name} {part}",
                *(cell[index] if isinstance(cell, tuple) else None for cell in cells),
            ]
    else:
        yield [name, *cells]


def texts(table: Table) -> Iterator[list[str]]:
    """The rows as they are read; the number of seeds goes without saying where a column has it."""
    for row in table.rows:
        n = dict(zip(table.header, row, strict=True)).get("n")
        yield [_text(cell).removesuffix(f" (n={n})") for cell in row]


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Summary):
        return str(cell)
    if isinstance(cell, tuple):
        return " to ".join(f"{100 * bound:.1f}" for bound in cell)
    if isinstance(cell, Share):
        return f"{100 * cell:.1f}"
    return f"{cell:.2g}" if isinstance(cell, float) else str(cell)


def text_columns(table: Table) -> list[bool]:
    """Which columns hold words, and are therefore set to the left."""
    columns = zip(*texts(table), strict=True) if table.rows else [()] * len(table.header)
    return [not all(_IS_NUMBER.fullmatch(text) for text in column) for column in columns]


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
