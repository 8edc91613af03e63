"""Texts: reading files safely, JSON, YAML that is not too deep, CSV without formulas, lines."""

import csv
import io
import json
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

MAX_YAML_DEPTH = 100
# Also the full-width signs, which some spreadsheets read as the others.
_BEGINNINGS_OF_FORMULAS = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)
_YAML_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path) -> str:
    """Reads a text in UTF-8. Pipes and devices, which may never end, are refused.

    Raises:
        OSError: The file is missing, is not a regular file, or cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """Reads names and values from JSON; None if the file is missing, damaged or has none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def check_yaml(text: str, *, aliases: bool = True) -> None:
    """Checks how deep a YAML text is nested, before a loader reads it.

    libyaml's loader is recursive and ends the process at a few thousand levels. Its parser is not.

    Args:
        text: YAML text.
        aliases: Whether the text may repeat a part by its name (`*name`). A few lines of repeated
            repetitions can stand for any size.

    Raises:
        ValueError: The text is nested too deep, or has an alias.
        yaml.YAMLError: The text is not YAML.
    """
    depth = 0
    for event in yaml.parse(text, _YAML_PARSER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent) and not aliases:
            raise ValueError(f"it repeats a part by its name, *{event.anchor}")
        if depth > MAX_YAML_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_YAML_DEPTH} levels")


def comma_lines(parts: Iterable[str], width: int = 80) -> list[str]:
    """Joins parts with commas; a part that would end beyond the width begins an indented line."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]}, {part}".removeprefix(", ")
        if len(joined) < width or not lines[-1]:  # one character is left for a comma
            lines[-1] = joined
        else:
            lines[-1] += ","
            lines.append(f"  {part}")
    return lines


def comma_separated(rows: Iterable[Sequence[object]]) -> str:
    """Returns rows as CSV whose texts no spreadsheet takes for formulas.

    A text that begins like a formula (= + - @, a tab or a line break) gets an apostrophe in front,
    which spreadsheets do not show. Numbers stay as they are, also those that are given as texts.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_without_formulas, rows))
    return text.getvalue()


def _without_formulas(row: Sequence[object]) -> list[object]:
    marked = [f"'{cell}" if _is_like_a_formula(cell) else cell for cell in row]
    # csv does not quote a carriage return before Python 3.13
    return [cell.replace("\r", " ") if isinstance(cell, str) else cell for cell in marked]


def _is_like_a_formula(cell: object) -> bool:
    if not isinstance(cell, str) or not cell.startswith(_BEGINNINGS_OF_FORMULAS):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return "_" in cell  # a number for Python only
