"""What a file format is to the tests."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Content = bytes | Callable[[Path], object]  # of a file, or what makes the file
TRACE = "trace"  # the folder that appears, relative to the case's, where a reader runs code


@dataclass(frozen=True)
class Format:
    """A file format of the package.

    Attributes:
        name: Names it in failures.
        files: Intact files by name.
        read: Reads them from a folder as the package does.
        can_be_right: Whether what was read from damaged files has the right form, maybe with other numbers.
        hostile: Cases made by hand: a name, and the files that are put in place of intact ones.
        spoiled: The files to be damaged; all where none is named.
        megabytes: What reading a case may take.
    """

    name: str
    files: dict[str, Content]
    read: Callable[[Path], Any]
    can_be_right: Callable[[Any], bool]
    hostile: Iterable[tuple[str, dict[str, Content]]] = ()
    spoiled: tuple[str, ...] = ()
    megabytes: int = 200


def of_one_file(name, data, read, can_be_right, hostile=(), **others):
    """A format of a single file; `read` gets its path."""
    cases = [(case, {name: content}) for case, content in hostile]
    return Format(
        name, {name: data}, functools.partial(_read_one, read, name), can_be_right, cases, **others
    )


def _read_one(read, name, folder):
    return read(folder / name)


def is_array(value, dtype, shape):
    """Whether it is a finite array; None stands for any length above zero."""
    return (
        type(value) is np.ndarray
        and value.dtype == dtype
        and len(value.shape) == len(shape)
        and all(n == m or (m is None and n > 0) for n, m in zip(value.shape, shape, strict=True))
        and bool(np.isfinite(value).all())
    )
