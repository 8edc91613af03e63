"""A table on a terminal, within its width."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from msdn_lit.analysis.output.formats import (
    Cell,
    Table,
    simplified,
    text_columns,
    texts,
    without_columns,
)
from msdn_lit.analysis.output.tables import terminal
from msdn_lit.analysis.statistics import Summary
from msdn_lit.runs.layout import SCORES

_BETTER_IF_HIGHER = (*SCORES.values(), "AUSUC")
_KEY = re.compile(r"(?:^|(?<=, ))([\w.]+\.(\w+))=")  # of a setting in the name of a group
_JOINT = r" \+ |, "
_FOLDED = 24  # characters that a folded text has at least
_WIDE = 10_000  # no table is wider


class _Layout(NamedTuple):
    """A way to show a table.

    Attributes:
        table: The table with the columns to show.
        left_out: The other columns.
        keys: Full names of the settings that are shortened.
    """

    table: Table
    left_out: Sequence[str] = ()
    keys: Mapping[str, str] = {}


def print_table(
    table: Table, *, optional: Sequence[str] | None = None, console: Console | None = None
) -> None:
    """Prints a table that is not wider than the terminal, with the best scores in bold; its notes.

    Where there is not enough room, settings are shortened ("lr" for "optimizer.lr"), the first
    column is folded, or columns are left out; lines below the table say so. A column of one text
    becomes part of the title.

    Args:
        table: The table.
        optional: Columns that may be left out, the first one first; None: all but the first and n,
            the last one first.
        console: Console to print to; None takes standard output.
    """
    console = console or terminal()
    table = simplified(table)
    if optional is None:
        optional = [name for name in reversed(table.header[1:]) if name != "n"]
    layout = _fitting(table, optional, console)
    if table.title:
        console.print(Text(table.title, style="bold"))
    console.print(_rich(layout.table))
    if layout.keys:
        keys = [f"{short} is {full}" for short, full in layout.keys.items()]
        console.print(Text(f"{', '.join(keys)}.", style="dim"))
    if layout.left_out:
        names = ", ".join(dict.fromkeys(n for n in table.header if n in layout.left_out))
        console.print(Text(f"A wider terminal also shows: {names}.", style="dim"))
    for note in table.notes:
        subject = note.partition(":")[0].lower()  # maybe a column
        if not any(name.lower().startswith(subject) for name in layout.left_out):
            console.print(Text(note, style="dim"))


def _fitting(table: Table, optional: Sequence[str], console: Console) -> _Layout:
    """The first layout that fits, or the narrowest one."""
    short, keys = _with_short_keys(table)
    wide = console.options.update(max_width=_WIDE)
    layout = _Layout(table)
    for number in range(len(optional) + 1):
        left_out = optional[:number]
        for shown, full_names in ((table, {}), (short, keys)):
            layout = _Layout(without_columns(shown, left_out), left_out, full_names)
            width = console.measure(_rich(layout.table), options=wide).maximum
            is_folded = shown is short and width - _foldable(layout.table) <= console.width
            if width <= console.width or is_folded:
                return layout
    return layout


def _foldable(table: Table) -> int:
    """Number of characters that folding its texts takes off the width of a table."""
    columns = zip(table.header, *texts(table), strict=True)
    widths = [max(map(len, column)) for column in columns]
    return sum(
        max(0, width - _FOLDED)
        for width, is_text in zip(widths, text_columns(table), strict=True)
        if is_text
    )


def _rich(table: Table) -> RichTable:
    """The table for Rich; numbers are never folded."""
    shown = RichTable(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    rows = list(texts(table))
    for index, (name, is_text) in enumerate(zip(table.header, text_columns(table), strict=True)):
        natural = max(len(row[index]) for row in (table.header, *rows))
        if is_text:
            shown.add_column(name, min_width=min(natural, _FOLDED), overflow="fold")
        else:
            shown.add_column(name, justify="right", min_width=natural, no_wrap=True)
    best = _best(table)
    for row in rows:
        cells = zip(table.header, row, strict=True)
        shown.add_row(*(Text(t, "bold" if best.get(name) == t else "") for name, t in cells))
    return shown


def _best(table: Table) -> dict[str, str]:
    """The text of the highest value of each score, if there are several rows."""
    best = {}
    shown = list(texts(table))
    for index, name in enumerate(table.header):
        values = [
            (_value(row[index]), text[index]) for row, text in zip(table.rows, shown, strict=True)
        ]
        if name in _BETTER_IF_HIGHER and len({text for _, text in values}) > 1:
            best[name] = max(values)[1]
    return best


def _value(cell: Cell) -> float:
    if isinstance(cell, Summary):
        return cell.mean
    return cell if isinstance(cell, float) else -1.0


def _with_short_keys(table: Table) -> tuple[Table, dict[str, str]]:
    """Shortens the keys in the first column to their last parts, where those are unambiguous."""
    names = [row[0] for row in texts(table)]
    full = {match[1]: match[2] for name in names for match in _KEY.finditer(name)}
    last = list(full.values())
    keys = {short: key for key, short in full.items() if last.count(short) == 1}

    def shorten(match: re.Match[str]) -> str:
        return f"{match[2] if match[2] in keys else match[1]}="

    shorter = [_KEY.sub(shorten, name) for name in _without_shared_experiment(names)]
    rows = [[name, *row[1:]] for name, row in zip(shorter, table.rows, strict=True)]
    return table._replace(rows=rows), keys


def _without_shared_experiment(names: Sequence[str]) -> list[str]:
    """Names without the experiment that all begin with: "x" for "demo + ablation/x"."""
    first = {re.split(_JOINT, name)[0] for name in names}
    has_more = ["".join(re.split(_JOINT, name, maxsplit=1)[1:]) for name in names]
    if len(first) > 1 or not any(" + " in name for name in names):
        return list(names)
    last = [re.sub(r"^\w+/", "", more) for more in has_more]
    shorter = last if len(set(last)) == len(last) else has_more
    return [more or name for more, name in zip(shorter, names, strict=True)]
