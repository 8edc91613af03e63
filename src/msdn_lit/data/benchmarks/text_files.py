"""Text files of benchmarks and users; every error names the file, and the line where it helps."""

import codecs
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msdn_lit.errors import DataError


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        where: File and line number, for error messages.
        cells: Texts between the delimiters.
    """

    where: str
    cells: list[str]


def read_text(path: Path, action: str, *, if_not_utf8: str | None = None) -> str:
    """Reads a text file in UTF-8, or in UTF-16 with a byte order mark; the mark is dropped.

    Args:
        path: The file.
        action: Remedy for a missing file, for the error message.
        if_not_utf8: Remedy for another encoding; None for the same one.

    Raises:
        DataError: The file is missing, not readable, or in another encoding.
    """
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
        return io.StringIO(text, newline=None).read()  # all ends of lines become \n
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action=action) from None
    except UnicodeDecodeError as error:
        remedy = action if if_not_utf8 is None else if_not_utf8
        raise DataError(f"{path} is not UTF-8 ({error.reason})", action=remedy) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})", action=action) from error


def read_rows(path: Path, delimiter: str | None, action: str) -> Iterator[Row]:
    """Reads a table without quotes.

    Args:
        path: The file.
        delimiter: Text between two cells; None for any white space.
        action: Remedy for the error message.

    Raises:
        DataError: The file is missing, not readable, or not UTF-8.
    """
    for number, line in enumerate(read_text(path, action).splitlines(), start=1):
        yield Row(f"{path}, line {number}", line.split(delimiter))


def read_numbers(where: str, cells: Sequence[str], action: str) -> list[float]:
    """Converts texts to numbers.

    Raises:
        DataError: A text is not a number.
    """
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        raise DataError(
            f"{where} is damaged", expected="numbers", found=" ".join(cells)[:60], action=action
        ) from None
