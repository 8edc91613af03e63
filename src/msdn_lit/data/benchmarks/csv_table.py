"""CSV tables as spreadsheet programs write them: separators, decimal commas, empty columns."""

import csv
import io
import re
from contextlib import suppress
from pathlib import Path

from msdn_lit.errors import DataError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>[^\w"])"?[\s,;]*')  # Excel's, at the top
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})+\s*")  # or a decimal comma: 1,000
Cells = list[list[str]]


def read_cells(path: Path, text: str) -> Cells:
    """Splits a table with a header into rows of cells.

    Comments (#), empty rows, and empty columns at the end are left out. Columns are separated by
    commas, semicolons or tabs. Where these are not commas, numbers may have decimal commas; they
    are returned with points.

    Args:
        path: The file, for error messages.
        text: Content of the file.

    Raises:
        DataError: The text is not a CSV table, or can be read in several ways.
    """
    line, _, rest = text.partition("\n")
    if found := _SEPARATOR_LINE.fullmatch(line.rstrip("\r")):
        separator = found["separator"]
        table = _parsed(path, rest, separator)
    else:
        separator, table = _detect(path, text)
    return table if separator == "," else _with_points(path, table)


def _detect(path: Path, text: str) -> tuple[str, Cells]:
    """Returns the separator of the columns, and the table."""
    tables = {}
    for separator in _SEPARATORS:
        with suppress(csv.Error):  # a quoted cell ends before another separator
            tables[separator] = _parse(text, separator)
    several = {mark: table for mark, table in tables.items() if table and len(table[0]) > 1}
    regular = {mark: table for mark, table in several.items() if _is_regular(table)}
    if len(regular) > 1:
        marks = " or ".join(f"sep={mark}" for mark in regular)
        problem = f"{path}: two characters can separate the columns"
        raise DataError(problem, action=f"Begin the file with a line {marks}.")
    separator = next(iter(regular or several or _SEPARATORS))
    return separator, _parsed(path, text, separator)


def _is_regular(table: Cells) -> bool:
    return all(len(cells) == len(table[0]) for cells in table)


def _parsed(path: Path, text: str, separator: str) -> Cells:
    try:
        return _parse(text, separator)
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error})") from error


def _parse(text: str, separator: str) -> Cells:
    """Splits rows; leaves out comments, empty rows, and empty columns at the end."""
    lines = (line for line in io.StringIO(text, newline="") if not line.startswith("#"))
    rows = [
        cells
        for cells in csv.reader(lines, delimiter=separator, strict=True)
        if any(cell.strip() for cell in cells) and not cells[0].startswith("#")
    ]
    filled = [k + 1 for cells in rows for k, cell in enumerate(cells) if cell.strip()]
    return [cells[: max(filled)] for cells in rows]


def _with_points(path: Path, table: Cells) -> Cells:
    """Replaces decimal commas, if a number has one for certain."""
    body = [cell for cells in table[1:] for cell in cells[1:]]
    if not any(_DECIMAL_COMMA.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in body):
        return table
    for cells in table[1:]:
        for k, cell in enumerate(cells[1:], start=1):
            if "." in cell:
                column = table[0][k] if k < len(table[0]) else k
                raise DataError(
                    f"{path}: {column!r} of {cells[0]!r} has a point, other numbers have commas",
                    expected="e.g. 1000 or 0,25",
                    found=repr(cell),
                )
            if _DECIMAL_COMMA.fullmatch(cell):
                cells[k] = cell.replace(",", ".")
    return table
