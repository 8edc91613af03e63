"""Description of a file format for the tests."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Content = bytes | Callable[[Path], object]  # content of a file, or a function that creates it
TRACE = "trace"  # folder, relative to the case's, that appears if a reader runs code


@dataclass(frozen=True)
class Format:
    """A file format of the package.

    Attributes:
        name: Name for failure messages.
        files: Intact files by name.
        read: Function that reads the files from a folder like the package.
        can_be_right: Function that says whether a value read from damaged files has the right form,
            with other numbers at most.
        hostile: Cases made by hand: name, and the files that replace intact ones.
        spoiled: Names of the files to damage; all if empty.
        megabytes: Memory limit for reading a case.
    """

    name: str
    files: dict[str, Content]
    read: Callable[[Path], Any]
    can_be_right: Callable[[Any], bool]
    hostile: Iterable[tuple[str, dict[str, Content]]] = ()
    spoiled: tuple[str, ...] = ()
    megabytes: int = 200


def of_one_file(name, data, read, can_be_right, hostile=(), **others):
    """Returns a format of a single file; `read` gets its path."""
    cases = [(case, {name: content}) for case, content in hostile]
    return Format(
        name, {name: data}, functools.partial(_read_one, read, name), can_be_right, cases, **others
    )


def _read_one(read, name, folder):
    return read(folder / name)


def is_array(value, dtype, shape):
    """Whether a value is a finite array; None in `shape` stands for any length above zero."""
    return (
        type(value) is np.ndarray
        and value.dtype == dtype
        and len(value.shape) == len(shape)
        and all(n == m or (m is None and n > 0) for n, m in zip(value.shape, shape, strict=True))
        and bool(np.isfinite(value).all())
    )
