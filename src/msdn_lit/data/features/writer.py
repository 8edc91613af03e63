"""Writer of feature stores: survives kill -9 at any moment, and several processes can share it.

While a store is written, its folder contains `plan.json` (the future manifest),
`regions.npy.partial`, and `progress` with one byte per image. The bytes of a batch are set after
its regions were flushed to the disk, so the next run computes exactly what is missing. A process
claims a batch by a lock on its bytes in `progress`; the kernel frees the lock when the process
dies.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.features.store import MANIFEST, REGIONS, Manifest, all_finite
from msdn_lit.errors import DataError
from msdn_lit.files import write_atomically

PARTIAL = "regions.npy.partial"
PLAN = "plan.json"
PROGRESS = "progress"
MISSING, DONE, SKIPPED = 0, 1, 2  # states of an image in `progress`
# Work that a power failure can destroy; a killed process loses its current batches only.
SECONDS_BETWEEN_SYNCS = 5.0
# Two more locks beyond the bytes of all images: for starting or publishing the store, and for all
# processes that work on it.
_TURN = 2**40
_PRESENCE = 2**40 + 1


class FeatureStoreWriter:
    """Writer of one store, used as a context manager.

    Leaving the context without `publish` keeps the written batches. Another writer with the same
    manifest continues; a writer with another manifest starts again.

    Args:
        folder: Folder of the store.
        manifest: Manifest of the store.
        batch_size: Images per batch. The limits of batches are fixed, so every run computes the
            same batches.

    Raises:
        DataError: The folder is not writable, the disk is full, or processes with another manifest
            are writing the store.
    """

    def __init__(self, folder: Path, manifest: Manifest, batch_size: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self.batch_size = batch_size
        # Batches that are not flushed to the disk yet, with the states of their images.
        self._written: list[tuple[range, bytes]] = []
        self._claimed: set[int] = set()
        self._last_sync = time.monotonic()

    def __enter__(self) -> "FeatureStoreWriter":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._progress = os.open(self.folder / PROGRESS, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self._open()
            except BaseException:
                os.close(self._progress)
                raise
        except OSError as error:
            action = "Choose a writable folder with paths.feature_dir=..."
            raise DataError(f"{self.folder} cannot be written ({error})", action=action) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.sync()
        finally:
            os.close(self._progress)  # frees all locks
            os.close(self._regions)

    @property
    def num_done(self) -> int:
        """Number of images written by all processes."""
        states = self._states()
        return len(states) - states.count(MISSING) + sum(len(rows) for rows, _ in self._written)

    def claims(self) -> Iterator[range]:
        """Claims one batch after the other that no process has finished or claimed."""
        num_images = self.manifest.shape[0]
        for start in range(0, num_images, self.batch_size):
            rows = range(start, min(start + self.batch_size, num_images))
            if (
                start not in self._claimed
                and self._is_missing(rows)
                and self._lock(rows.start, len(rows))
            ):
                if self._is_missing(rows):  # no process finished it before the lock
                    self._claimed.add(start)
                    yield rows
                else:
                    self._unlock(rows.start, len(rows))

    def write(
        self, rows: range, regions_BRD: NDArray[np.float16], skipped: Collection[int] = ()
    ) -> None:
        """Writes a claimed batch.

        Args:
            rows: Rows of the claimed batch.
            regions_BRD: Region features, (B, R, D).
            skipped: Rows whose image was skipped; their regions are zeros.

        Raises:
            DataError: A feature is NaN or beyond fp16, or the disk is full.
        """
        if not all_finite(regions_BRD):
            raise DataError(
                f"NaN or a value beyond fp16 in the features of images {rows.start} to "
                f"{rows.stop - 1}",
                action="Check the weights file, or choose features whose activations fit fp16.",
            )
        assert regions_BRD.shape == (len(rows), *self.manifest.shape[1:]), regions_BRD.shape
        position = self._first_byte + rows.start * regions_BRD[0].nbytes
        remaining = memoryview(np.ascontiguousarray(regions_BRD).tobytes())
        try:
            while remaining:
                count = os.pwrite(self._regions, remaining, position)
                position, remaining = position + count, remaining[count:]
        except OSError as error:
            raise DataError(
                f"{self.folder / PARTIAL} cannot be written ({error.strerror})",
                action="Free disk space and run the same command again to continue.",
            ) from error
        self._written.append((rows, bytes(SKIPPED if row in skipped else DONE for row in rows)))
        if time.monotonic() - self._last_sync > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def sync(self) -> None:
        """Flushes all written batches to the disk and marks them as done."""
        if self._written:
            os.fdatasync(self._regions)
            for rows, states in self._written:
                os.pwrite(self._progress, states, rows.start)
                self._unlock(rows.start, len(rows))
            self._written.clear()
        self._last_sync = time.monotonic()

    def publish(self) -> bool:
        """Completes the store if every image is done, by whichever process.

        Returns:
            True if the store is complete now.
        """
        self.sync()
        self._lock(_TURN, wait=True)
        try:
            if (self.folder / MANIFEST).exists():
                return True
            states = self._states()
            if MISSING in states:
                self._claimed.clear()  # batches of dead processes can be claimed again
                return False
            if (self.folder / PARTIAL).exists():
                os.replace(self.folder / PARTIAL, self.folder / REGIONS)
            manifest = replace(
                self.manifest,
                skipped=tuple(row for row, state in enumerate(states) if state == SKIPPED),
                regions_sha256=hash_regions(self.folder),
            )
            write_atomically(self.folder / MANIFEST, _json(manifest))
            (self.folder / PLAN).unlink()
            (self.folder / PROGRESS).unlink()
            return True
        finally:
            self._unlock(_TURN)

    def _open(self) -> None:
        """Opens the work of an interrupted or parallel run with the same plan, or starts again."""
        self._lock(_TURN, wait=True)
        try:
            if (self.folder / MANIFEST).exists():  # another process has just completed it
                (self.folder / PROGRESS).unlink(missing_ok=True)
            elif not self._has_begun():
                self._begin()
            self._lock(_PRESENCE, kind=fcntl.LOCK_SH)
            path = next(
                path for path in (self.folder / PARTIAL, self.folder / REGIONS) if path.exists()
            )
            self._first_byte = path.stat().st_size - 2 * int(np.prod(self.manifest.shape))
            self._regions = os.open(path, os.O_WRONLY)
        finally:
            self._unlock(_TURN)

    def _has_begun(self) -> bool:
        plan = self.folder / PLAN
        has_regions = (self.folder / PARTIAL).exists() or (self.folder / REGIONS).exists()
        has_progress = os.fstat(self._progress).st_size == self.manifest.shape[0]
        return (
            has_regions
            and has_progress
            and plan.is_file()
            and plan.read_bytes() == _json(self.manifest)
        )

    def _begin(self) -> None:
        if not self._lock(_PRESENCE):
            raise DataError(
                f"Another process is making {self.folder} with other settings",
                action="Let it finish, or stop it first.",
            )
        for name in (PLAN, PARTIAL, REGIONS):
            (self.folder / name).unlink(missing_ok=True)
        needed, free = 2 * int(np.prod(self.manifest.shape)), shutil.disk_usage(self.folder).free
        if free < needed:
            raise DataError(
                f"Not enough room for {self.folder}",
                expected=f"{needed / 1e9:.1f} GB free",
                found=f"{free / 1e9:.1f} GB",
                action="Choose a folder on another disk with paths.feature_dir=...",
            )
        os.ftruncate(self._progress, 0)
        os.ftruncate(self._progress, self.manifest.shape[0])
        np.lib.format.open_memmap(self.folder / PARTIAL, "w+", np.float16, self.manifest.shape)
        write_atomically(self.folder / PLAN, _json(self.manifest))

    def _states(self) -> bytes:
        return os.pread(self._progress, self.manifest.shape[0], 0)

    def _is_missing(self, rows: range) -> bool:
        return MISSING in os.pread(self._progress, len(rows), rows.start)

    def _lock(
        self, start: int, length: int = 1, *, kind: int = fcntl.LOCK_EX, wait: bool = False
    ) -> bool:
        try:
            fcntl.lockf(self._progress, kind | (0 if wait else fcntl.LOCK_NB), length, start)
        except (BlockingIOError, PermissionError):  # held by another process; depends on the system
            return False
        return True

    def _unlock(self, start: int, length: int = 1) -> None:
        fcntl.lockf(self._progress, fcntl.LOCK_UN, length, start)


def hash_regions(folder: Path) -> str:
    """Hashes a store's features; reads all of them."""
    return sha256(np.load(folder / REGIONS, mmap_mode="r")).hexdigest()


def _json(manifest: Manifest) -> bytes:
    return (json.dumps(asdict(manifest), indent=2) + "\n").encode()
