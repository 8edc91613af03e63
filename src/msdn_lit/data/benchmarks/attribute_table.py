"""Class-attribute table of the user's own dataset: attributes.csv or attributes.yaml."""

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

from msdn_lit.data.benchmarks.csv_table import read_cells
from msdn_lit.data.benchmarks.text_files import read_text
from msdn_lit.errors import READ_ERRORS, DataError, one_line, some
from msdn_lit.texts import check_yaml

CSV = "attributes.csv"
YAML = "attributes.yaml"
EXAMPLE = "msdn init-dataset DIR writes an example."
SAVE_AS_UTF8 = "Save it as UTF-8."
# What spreadsheet programs make of true and false, and what people write.
_WORDS = {"true": 1.0, "yes": 1.0, "wahr": 1.0, "false": 0.0, "no": 0.0, "falsch": 0.0}
_MAX_VALUE = 1e9  # its square must fit float32
Rows = list[tuple[str, Sequence[str]]]  # class name and its values as texts


@dataclass(frozen=True)
class AttributeTable:
    """Attributes of all classes, as the user wrote them.

    Attributes:
        class_names: C names, sorted.
        attribute_names: K names, in the order of the file.
        values_CK: Values, float32, (C, K).
    """

    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    values_CK: NDArray[np.float32]

    def in_order(self, names: Sequence[str]) -> "AttributeTable":
        """Returns the table with its attributes in this order, if these are their names."""
        if sorted(names) != sorted(self.attribute_names):
            return self
        columns = [self.attribute_names.index(name) for name in names]
        return AttributeTable(self.class_names, tuple(names), self.values_CK[:, columns])


def read_attribute_table(folder: Path) -> AttributeTable:
    """Reads the table in a dataset's folder.

    Warns of classes whose attributes are equal up to scale: no model can distinguish them.

    Args:
        folder: Folder with either attributes.csv or attributes.yaml.

    Raises:
        DataError: There is no table or more than one, it is not readable, a name occurs twice, or a
            value is missing or not a number.
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
        raise DataError(
            f"{path} is empty",
            expected="a name for each attribute and a row for each class",
            found=f"{len(attributes)} attributes, {len(rows)} classes",
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
    _check_words(path, table, [row for _, row in rows])
    _check_rows(path, table)
    return table


def clean_name(text: str) -> str:
    """Strips spaces and normalises to the Unicode form NFC, which all systems can represent.

    A space that does not break a line, which programs put in unseen, becomes an ordinary one.
    """
    return unicodedata.normalize("NFC", text).replace("\xa0", " ").strip()


def is_unicode(text: str) -> bool:
    """Returns True if a text can be encoded; file names and YAML may have unpaired surrogates."""
    return text.encode(errors="ignore").decode() == text


def _read_csv(path: Path) -> tuple[tuple[str, ...], Rows]:
    """Reads a header with attribute names and one row per class; lines with # are comments."""
    table = read_cells(path, read_text(path, EXAMPLE, if_not_utf8=SAVE_AS_UTF8))
    header = table[0] if table else []
    for cells in table:
        if len(cells) != len(header):
            raise DataError(
                f"{path}: the row of {cells[0]!r} is wrong",
                expected=f"{len(header)} columns as in the header",
                found=len(cells),
            )
    rows: Rows = [(clean_name(cells[0]), cells[1:]) for cells in table[1:]]
    return tuple(map(clean_name, header[1:])), rows


def _read_yaml(path: Path) -> tuple[tuple[str, ...], Rows]:
    """Reads a mapping from class to a mapping from attribute to value.

    Only the syntax is parsed, and no objects are constructed: "no" is a name like any other, a
    repeated key is detected, and tags and nested aliases have no effect.
    """
    text = read_text(path, EXAMPLE, if_not_utf8=SAVE_AS_UTF8)
    try:
        check_yaml(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, *READ_ERRORS) as error:
        raise DataError(f"{path} is not a YAML file ({one_line(error)})") from error
    classes = [(name, _pairs(path, node)) for name, node in _pairs(path, root)]
    attributes = tuple(name for name, _ in classes[0][1]) if classes else ()
    rows: Rows = []
    for name, pairs in classes:
        value_of = dict(pairs)
        if len(value_of) < len(pairs) or value_of.keys() != set(attributes):
            once = Counter([*attributes, *(attribute for attribute, _ in pairs)])
            found = some(attribute for attribute, count in once.items() if count != 2)
            raise DataError(
                f"{path}: {name!r} has other attributes",
                expected=f"those of {classes[0][0]!r}, once each",
                found=f"a difference in {found}",
            )
        rows.append((name, [_scalar(value_of[attribute]) for attribute in attributes]))
    return attributes, rows


def _pairs(path: Path, node: yaml.Node) -> list[tuple[str, yaml.Node]]:
    """Returns keys and values of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        raise DataError(
            f"{path} has a wrong structure",
            expected="a mapping of classes to mappings of attributes to numbers",
            action=EXAMPLE,
        )
    return [(clean_name(_scalar(key)), value) for key, value in node.value]


def _scalar(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "a nested value"


def _check_names(path: Path, kind: str, names: Sequence[str]) -> None:
    """Raises DataError for empty, repeated or invalid names."""
    wrong = [
        f"{name!r} {count} times"
        for name, count in Counter(names).items()
        if count > 1 or not name or not is_unicode(name)
    ]
    if wrong:
        raise DataError(f"{path}: wrong {kind} names", expected="each once", found=some(wrong))


def _number(path: Path, class_name: str, attribute: str, text: str) -> float:
    try:
        value = _WORDS[text.strip().lower()] if _is_word(text) else float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _MAX_VALUE:  # also true for NaN
        raise DataError(
            f"{path}: {attribute!r} of {class_name!r} is not a valid number",
            expected="e.g. 1 or 0.25",
            found=repr(text),
        )
    return value


def _is_word(text: str) -> bool:
    return text.strip().lower() in _WORDS


def _check_words(path: Path, table: AttributeTable, texts_CK: Sequence[Sequence[str]]) -> None:
    """Raises DataError if an attribute has TRUE or FALSE and numbers of another scale."""
    for name, texts_C, values_C in zip(
        table.attribute_names, zip(*texts_CK, strict=True), table.values_CK.T, strict=True
    ):
        words = [text for text in texts_C if _is_word(text)]
        if words and not np.isin(values_C, (0, 1)).all():
            other = values_C[~np.isin(values_C, (0, 1))][0]
            raise DataError(
                f"{path}: {name!r} has words and numbers",
                expected="1 for TRUE and 0 for FALSE, or numbers alone",
                found=f"{words[0]} and {other:g}",
            )


def _check_rows(path: Path, table: AttributeTable) -> None:
    norms_C1 = np.linalg.norm(table.values_CK, axis=1, keepdims=True)
    if not norms_C1.all():
        raise DataError(
            f"{path}: classes without any attribute",
            found=some(np.array(table.class_names)[norms_C1[:, 0] == 0]),
            action="Give each a value other than 0.",
        )
    of_direction: dict[bytes, list[str]] = {}
    directions_CK = (table.values_CK / norms_C1).round(6) + 0  # + 0 turns -0 into 0
    for name, direction_K in zip(table.class_names, directions_CK, strict=True):
        of_direction.setdefault(direction_K.tobytes(), []).append(name)
    equal = [
        f"{names[0]} and {names[1] if len(names) == 2 else f'{len(names) - 1:,} others'}"
        for names in of_direction.values()
        if len(names) > 1
    ]
    if equal:
        problem = f"{path}: no model can distinguish {some(equal)}: equal attributes"
        warnings.warn(problem, stacklevel=3)
