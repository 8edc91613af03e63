"""Checks of downloaded files, and error messages for what a disk refuses."""

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msdn_lit.errors import DataError

# Arguments: name of the phase, bytes processed, total bytes (None if unknown).
Progress = Callable[[str, int, int | None], None]
_HASH_CHUNK = 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def silent(phase: str, done: int, total: int | None) -> None:
    """Ignores progress."""


def check_file(
    path: Path, size: int | None, checksum: str | None, progress: Progress, remedy: str
) -> None:
    """Raises DataError with the given remedy if a file has another size or checksum."""
    if found := difference(path, size, checksum, progress):
        expected, actual = found
        raise DataError(
            f"{path} is not the known file",
            expected=expected,
            found=actual,
            action=f"{remedy}, or accept the file with --accept-changed.",
        )


def difference(
    path: Path, size: int | None, checksum: str | None, progress: Progress
) -> tuple[str, str] | None:
    """Compares a file with the known size and checksum.

    Returns:
        Expected and actual value of the first property that differs; None if nothing differs.
    """
    actual_size = path.stat().st_size
    if size not in (None, actual_size):
        return f"{size:,} bytes", f"{actual_size:,}"
    if checksum is None:
        return None
    algorithm = checksum.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
            progress("checking", file.tell(), actual_size)
    actual = f"{algorithm}:{digest.hexdigest()}"
    return None if actual == checksum else (checksum, actual)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns an OSError of the disk into a DataError that says what to do next."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            action = "Free disk space and run the same command again to continue."
        else:
            action = "Check the permissions, or choose another data folder with --data-dir DIR."
        raise DataError(
            f"{error.filename or folder} cannot be read or written ({error.strerror or error})",
            action=action,
        ) from error
