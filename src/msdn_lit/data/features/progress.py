"""The file `progress` of an unfinished store: the states of its images, the locks of processes."""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from msdn_lit.errors import DataError

PROGRESS = "progress"
MISSING, DONE, SKIPPED = 0, 1, 2  # states of an image
# Two more locks beyond the bytes of all images: for starting or publishing the store, and for all
# processes that work on it.
TURN = 2**40
PRESENCE = 2**40 + 1


class ExtractionProgress:
    """One byte for each image, and a lock on each byte; the kernel frees locks of dead processes.

    Opening waits for the lock `TURN`, which `unlock(TURN)` gives back.

    Args:
        folder: Folder of the store.
        num_images: Number of images N.
    """

    def __init__(self, folder: Path, num_images: int) -> None:
        self.path = folder / PROGRESS
        self.num_images = num_images
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            self.lock(TURN, wait=True)
            if self.is_current():
                return
            os.close(self._file)

    def is_current(self) -> bool:
        """Returns False if another process has published the store, which removes the file."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def is_complete(self) -> bool:
        """Returns True if the file has a state for each image."""
        return os.fstat(self._file).st_size == self.num_images

    def states(self, rows: range | None = None) -> bytes:
        """Reads the states of consecutive images; None stands for all images."""
        rows = range(self.num_images) if rows is None else rows
        return os.pread(self._file, len(rows), rows.start)

    def is_missing(self, rows: range) -> bool:
        """Returns True if one of the images is missing."""
        return MISSING in self.states(rows)

    def set(self, start: int, states: bytes) -> None:
        """Writes the states of consecutive images."""
        os.pwrite(self._file, states, start)

    def reset(self, states: bytes) -> None:
        """Writes the states of all images to the disk."""
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, self.num_images)
        self.set(0, states)
        os.fsync(self._file)

    def mark(self, rows: Iterable[int], state: int) -> None:
        """Writes the same state of several images."""
        for row in rows:
            self.set(row, bytes([state]))

    def check_alone(self) -> None:
        """Raises DataError if another process works on the store."""
        if not self.lock(PRESENCE):
            raise DataError(
                f"Another process is making {self.path.parent} with other settings",
                action="Let it finish, or stop it first.",
            )

    def lock(
        self, start: int, length: int = 1, *, kind: int = fcntl.LOCK_EX, wait: bool = False
    ) -> bool:
        """Locks bytes; returns False if another process has locked one of them."""
        try:
            fcntl.lockf(self._file, kind | (0 if wait else fcntl.LOCK_NB), length, start)
        except (BlockingIOError, PermissionError):  # held by another process; depends on the system
            return False
        return True

    def unlock(self, start: int, length: int = 1) -> None:
        """Unlocks bytes."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)

    def close(self) -> None:
        """Closes the file, which frees all locks."""
        os.close(self._file)
