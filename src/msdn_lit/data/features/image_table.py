"""Which image files a store was made from: path, size, time and content of each.

The table is `images.npy` in the folder of the store, one row per image. Stores of version 0.1 have
none. It notices images that were replaced under the same names: where size or time differ, the
content is compared.
"""

import io
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from msdn_lit.errors import READ_ERRORS
from msdn_lit.files import write_atomically

IMAGES = "images.npy"
RECORD = np.dtype([("size", "<i8"), ("mtime_ns", "<i8"), ("sha256", "V32")])
Records = NDArray[Any]  # of RECORD, or of a table, which also has "path"


def read_records(paths: Sequence[Path]) -> Records:
    """Reads size, time and hash of files; a size of -1 for a file that cannot be read."""
    records = np.zeros(len(paths), dtype=RECORD)
    records["size"] = -1
    for record, path in zip(records, paths, strict=True):
        stamp = _stamp(path)
        if stamp is not None:
            record["size"], record["mtime_ns"] = stamp
            record["sha256"] = _digest(path)
    return records


def create_table(folder: Path, paths: Sequence[Path]) -> None:
    """Creates the table of a store without any record: zeros."""
    names = np.array([os.fsencode(path) for path in paths])
    table = np.zeros(len(paths), dtype=[("path", names.dtype), *RECORD.descr])
    table["path"] = names
    content = io.BytesIO()
    np.save(content, table)
    write_atomically(folder / IMAGES, content.getvalue())


def store_records(table: Records, rows: Sequence[int], records: Records) -> None:
    """Writes the records of some rows."""
    for name in RECORD.names or ():
        table[name][rows] = records[name]


def open_table(folder: Path, num_images: int, mode: Literal["r", "r+"] = "r") -> Records | None:
    """Maps the table of a store; None if there is none, or it is damaged."""
    try:
        table: Records = np.lib.format.open_memmap(folder / IMAGES, mode)
    except READ_ERRORS:
        return None
    fields = {name: RECORD[name] for name in RECORD.names or ()}
    found = {name: table.dtype[name] for name in table.dtype.names or () if name != "path"}
    is_table = found == fields and "path" in (table.dtype.names or ())
    return table if is_table and table.shape == (num_images,) else None


def table_paths(table: Records) -> list[Path]:
    """Returns the files from which a store was made."""
    return [Path(os.fsdecode(name)) for name in table["path"]]


def other_stamps(table: Records, paths: Sequence[Path]) -> list[int]:
    """Returns the recorded rows whose file has another size or time now.

    A file that is missing now is not counted, because features do not need it any more.
    """
    recorded = zip(table["size"].tolist(), table["mtime_ns"].tolist(), strict=True)
    return [
        row
        for row, (path, before) in enumerate(zip(paths, recorded, strict=True))
        if before != (0, 0) and _stamp(path) not in (None, before)
    ]


def find_replaced(
    folder: Path, paths: Sequence[Path], *, record_times: bool = False
) -> list[int] | None:
    """Returns the rows of a store whose image file was replaced since it was read.

    Size and time of all files are compared, and the content where these differ.

    Args:
        folder: Folder of the store.
        paths: Image file of each row.
        record_times: If True, the new times of files with the same content are recorded.

    Returns:
        Rows; None if the store does not record its images.
    """
    table = open_table(folder, len(paths))
    if table is None:
        return None
    rows = other_stamps(table, paths)
    records = read_records([paths[row] for row in rows])
    before = table["sha256"][rows]
    is_same = [
        now.tobytes() == b.tobytes() for now, b in zip(records["sha256"], before, strict=True)
    ]
    touched = [n for n, same in enumerate(is_same) if same]
    writable = open_table(folder, len(paths), "r+") if touched and record_times else None
    if writable is not None:  # the folder may be read-only
        store_records(writable, [rows[n] for n in touched], records[touched])
    return [row for row, same in zip(rows, is_same, strict=True) if not same]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            digest = sha256()
            while chunk := file.read(2**20):
                digest.update(chunk)
    except OSError:
        return bytes(32)
    return digest.digest()
