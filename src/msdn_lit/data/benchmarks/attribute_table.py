"""The class-attribute table of an own dataset: attributes.csv or attributes.yaml."""

import csv
import io
import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from msdn_lit.errors import READ_ERRORS, DataError, one_line

CSV, YAML = "attributes.csv", "attributes.yaml"
EXAMPLE = "msdn-fetch init-folder DIR writes an example."
_LARGEST = 1e9  # its square is still a float32
Rows = list[tuple[str, Sequence[str]]]  # class and its values as they were typed


@dataclass(frozen=True)
class AttributeTable:
    """What a user says of the classes.

    Attributes:
        class_names: C names, sorted.
        attribute_names: K names, in the order of the file.
        values_CK: Float32, (C, K).
    """

    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    values_CK: NDArray[np.float32]


def read_attribute_table(folder: Path) -> AttributeTable:
    """Reads the one table that a folder holds.

    Warns of classes whose attributes are equal up to scale: they cannot be told apart.

    Raises:
        DataError: There is no table or more than one, it is not readable, a name stands twice, or a value is missing or
            no number.
    """
    paths = [folder / name for name in (CSV, YAML) if (folder / name).is_file()]
    if not paths:
        raise DataError(
            f"{folder} has no table of attributes", expected=f"{CSV} or {YAML}", action=EXAMPLE
        )
    if len(paths) > 1:
        raise DataError(
            f"{folder} has two tables of attributes", expected=f"{CSV} or {YAML}, not both"
        )
    path = paths[0]
    attributes, rows = _read_csv(path) if path.name == CSV else _read_yaml(path)
    if not attributes or not rows:
        found = f"{len(attributes)} attributes, {len(rows)} classes"
        raise DataError(
            f"{path} is empty",
            expected="a name for each attribute and a row for each class",
            found=found,
        )
    _check_names(path, "attribute", attributes)
    _check_names(path, "class", [name for name, _ in rows])
    rows.sort()
    values = [
        [_number(path, name, k, text) for k, text in zip(attributes, row, strict=True)]
        for name, row in rows
    ]
    table = AttributeTable(
        tuple(name for name, _ in rows), attributes, np.array(values, dtype=np.float32)
    )
    _check_rows(path, table)
    return table


def read_text(path: Path) -> str:
    """Reads a text file that a user wrote; a byte order mark is dropped.

    Raises:
        DataError: It is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action=EXAMPLE) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 ({error.reason})", action="Save it as UTF-8."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error


def clean_name(text: str) -> str:
    """A name without surrounding spaces, in the one Unicode form that all systems can agree on (NFC)."""
    return unicodedata.normalize("NFC", text).strip()


def is_unicode(text: str) -> bool:
    """Whether a text can be written; what a disk or YAML calls a name may have half characters in it."""
    return text.encode(errors="ignore").decode() == text


def _read_csv(path: Path) -> tuple[tuple[str, ...], Rows]:
    """A header with the attributes' names, then a row a class; lines that begin with # are comments."""
    lines = (line for line in io.StringIO(read_text(path), newline="") if not line.startswith("#"))
    try:
        table = [
            cells for cells in csv.reader(lines, strict=True) if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise DataError(f"{path} is no CSV file ({error})") from error
    header = table[0] if table else []
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            action = "Save it with commas between the columns and points in the numbers."
            raise DataError(f"{path} is separated by {name}", expected="commas", action=action)
    for cells in table:
        if len(cells) != len(header):
            expected = f"{len(header)} columns as in the header"
            raise DataError(
                f"{path}: the row of {cells[0]!r} is wrong", expected=expected, found=len(cells)
            )
    return tuple(map(clean_name, header[1:])), [
        (clean_name(cells[0]), cells[1:]) for cells in table[1:]
    ]


def _read_yaml(path: Path) -> tuple[tuple[str, ...], Rows]:
    """A mapping of each class to a mapping of each attribute to its value.

    Only the syntax is parsed and no objects are made of it: "no" is a name like any other, a key that stands twice is
    seen, and neither a tag nor a nest of aliases has any effect.
    """
    text = read_text(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, *READ_ERRORS) as error:
        raise DataError(f"{path} is no YAML file ({one_line(error)})") from error
    classes = [(name, _pairs(path, node)) for name, node in _pairs(path, root)]
    attributes = tuple(name for name, _ in classes[0][1]) if classes else ()
    rows: Rows = []
    for name, pairs in classes:
        value_of = dict(pairs)
        if len(value_of) < len(pairs) or value_of.keys() != set(attributes):
            once = Counter([*attributes, *(attribute for attribute, _ in pairs)])
            found = ", ".join(attribute for attribute, count in once.items() if count != 2)
            expected = f"those of {classes[0][0]!r}, once each"
            raise DataError(
                f"{path}: {name!r} has other attributes",
                expected=expected,
                found=f"a difference in {found}",
            )
        rows.append((name, [_scalar(value_of[attribute]) for attribute in attributes]))
    return attributes, rows


def _pairs(path: Path, node: yaml.Node) -> list[tuple[str, yaml.Node]]:
    """Keys and values of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        expected = "a mapping of classes to mappings of attributes to numbers"
        raise DataError(f"{path} has another form", expected=expected, action=EXAMPLE)
    return [(clean_name(_scalar(key)), value) for key, value in node.value]


def _scalar(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "a nested value"


def _check_names(path: Path, kind: str, names: Sequence[str]) -> None:
    """Refuses names that are missing or stand twice."""
    wrong = [
        f"{name!r} {count} times"
        for name, count in Counter(names).items()
        if count > 1 or not name or not is_unicode(name)
    ]
    if wrong:
        raise DataError(
            f"{path}: wrong {kind} names", expected="each once", found=", ".join(wrong[:5])
        )


def _number(path: Path, class_name: str, attribute: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:  # nor is it then NaN
        place = f"{path}: {attribute!r} of {class_name!r}"
        raise DataError(
            f"{place} is not a number that can be used", expected="e.g. 1 or 0.25", found=repr(text)
        )
    return value


def _check_rows(path: Path, table: AttributeTable) -> None:
    norms_C1 = np.linalg.norm(table.values_CK, axis=1, keepdims=True)
    if not norms_C1.all():
        empty = ", ".join(np.array(table.class_names)[norms_C1[:, 0] == 0][:5])
        raise DataError(
            f"{path}: classes without any attribute",
            found=empty,
            action="Give each a value other than 0.",
        )
    of_direction: dict[bytes, list[str]] = {}
    for name, direction_K in zip(
        table.class_names, (table.values_CK / norms_C1).round(6) + 0, strict=True
    ):
        of_direction.setdefault(direction_K.tobytes(), []).append(name)
    for names in of_direction.values():
        if len(names) > 1:
            warnings.warn(
                f"{path}: no model can tell {' and '.join(names)}: equal attributes", stacklevel=3
            )
