"""Writer of feature stores: survives kill -9 at any moment, and several processes can share it.

While a store is written, its folder contains `plan.json` (the future manifest),
`regions.npy.partial`, and `progress` with one byte per image. The bytes of a batch are set after
its regions were flushed to the disk, so the next run computes exactly what is missing. A process
claims a batch by a lock on its bytes in `progress`; the kernel frees the lock when the process
dies.
"""

import fcntl
import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.features.image_table import (
    IMAGES,
    Records,
    create_table,
    find_replaced,
    open_table,
    store_records,
)
from msdn_lit.data.features.progress import (
    DONE,
    MISSING,
    PRESENCE,
    PROGRESS,
    SKIPPED,
    TURN,
    ExtractionProgress,
)
from msdn_lit.data.features.store import (
    MANIFEST,
    REGIONS,
    Manifest,
    all_finite,
    check_room,
    hash_regions,
    manifest_json,
    read_manifest,
)
from msdn_lit.errors import DataError
from msdn_lit.files import copy_file, write_atomically

log = logging.getLogger(__name__)
PARTIAL = "regions.npy.partial"
PLAN = "plan.json"
# Work that a power failure can destroy; a killed process loses its current batches only.
SECONDS_BETWEEN_SYNCS = 5.0


class FeatureStoreWriter:
    """Writer of one store, used as a context manager.

    Leaving the context without `publish` keeps the written batches. Another writer with the same
    manifest continues; a writer with another manifest starts again.

    Args:
        folder: Folder of the store.
        manifest: Manifest of the store.
        batch_size: Images per batch. The limits of batches are fixed, so every run computes the
            same batches.
        images: Image file of each row. The rows whose file was replaced since they were written are
            missing again, also in a complete store. Empty if the features are not of image files.

    Raises:
        DataError: The folder is not writable, the disk is full, or processes with another manifest
            are writing the store.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        batch_size: int,
        images: Sequence[Path] = (),
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.batch_size = batch_size
        self.images = images
        self._table: Records | None = None
        # Batches that are not flushed to the disk yet, with the states of their images.
        self._written: list[tuple[range, bytes]] = []
        self._claimed: set[int] = set()
        self._last_sync = time.monotonic()

    def __enter__(self) -> "FeatureStoreWriter":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._progress = ExtractionProgress(self.folder, self.manifest.shape[0])
            try:
                self._open()
            except BaseException:
                self._progress.close()
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
            self._progress.close()
            os.close(self._regions)

    @property
    def num_done(self) -> int:
        """Number of images written by all processes."""
        states = self._progress.states()
        written = sum(states[rows.start : rows.stop].count(MISSING) for rows, _ in self._written)
        return len(states) - states.count(MISSING) + written

    def claims(self) -> Iterator[range]:
        """Claims one batch after the other that no process has finished or claimed."""
        num_images = self.manifest.shape[0]
        for start in range(0, num_images, self.batch_size):
            rows = range(start, min(start + self.batch_size, num_images))
            if (
                start not in self._claimed
                and self._progress.is_missing(rows)
                and self._progress.lock(rows.start, len(rows))
            ):
                if self._progress.is_missing(rows):  # no process finished it before the lock
                    self._claimed.add(start)
                    yield rows
                else:
                    self._progress.unlock(rows.start, len(rows))

    def write(
        self,
        rows: range,
        regions_BRD: NDArray[np.float16],
        skipped: Collection[int] = (),
        records: Records | None = None,
    ) -> None:
        """Writes the images of a claimed batch that are missing.

        Args:
            rows: Rows of the claimed batch.
            regions_BRD: Region features, (B, R, D).
            skipped: Rows whose image was skipped; their regions are zeros.
            records: Records of the image files, read before they were decoded; None without files.

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
        states = bytearray(self._progress.states(rows))
        missing = [b for b, state in enumerate(states) if state == MISSING]
        for b in missing:
            self._write_regions(rows[b], regions_BRD[b])
            states[b] = SKIPPED if rows[b] in skipped else DONE
        if self._table is not None and records is not None:
            store_records(self._table, [rows[b] for b in missing], records[missing])
        self._written.append((rows, bytes(states)))
        if time.monotonic() - self._last_sync > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def _write_regions(self, row: int, regions_RD: NDArray[np.float16]) -> None:
        position = self._first_byte + row * regions_RD.nbytes
        remaining = memoryview(regions_RD.tobytes())
        try:
            while remaining:
                count = os.pwrite(self._regions, remaining, position)
                position, remaining = position + count, remaining[count:]
        except OSError as error:
            raise DataError(
                f"{self.folder / PARTIAL} cannot be written ({error.strerror})",
                action="Free disk space and run the same command again to continue.",
            ) from error

    def sync(self) -> None:
        """Flushes all written batches to the disk and marks them as done."""
        if self._written:
            os.fdatasync(self._regions)
            if isinstance(self._table, np.memmap):
                self._table.flush()
            for rows, states in self._written:
                self._progress.set(rows.start, states)
                self._progress.unlock(rows.start, len(rows))
            self._written.clear()
        self._last_sync = time.monotonic()

    def publish(self) -> bool:
        """Completes the store if every image is done, by whichever process.

        Returns:
            True if the store is complete now.
        """
        self.sync()
        self._progress.lock(TURN, wait=True)
        try:
            if (self.folder / MANIFEST).exists() or not self._progress.is_current():
                return True
            states = self._progress.states()
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
            write_atomically(self.folder / MANIFEST, manifest_json(manifest))
            (self.folder / PLAN).unlink()
            (self.folder / PROGRESS).unlink()
            return True
        finally:
            self._progress.unlock(TURN)

    def _open(self) -> None:
        """Opens the work of an interrupted or parallel run with the same plan, or starts again."""
        try:
            if (self.folder / MANIFEST).exists():
                self._open_complete()
            elif self._has_begun():
                self._progress.mark(self._replaced(), MISSING)
            else:
                self._begin()
            self._table = open_table(self.folder, len(self.images), "r+") if self.images else None
            self._progress.lock(PRESENCE, kind=fcntl.LOCK_SH)
            path = next(
                path for path in (self.folder / PARTIAL, self.folder / REGIONS) if path.exists()
            )
            self._first_byte = path.stat().st_size - 2 * int(np.prod(self.manifest.shape))
            self._regions = os.open(path, os.O_WRONLY)
        finally:
            self._progress.unlock(TURN)

    def _open_complete(self) -> None:
        """Leaves a complete store as it is, or makes it lack the images that were replaced."""
        replaced = self._replaced()
        if not replaced:
            for name in (PLAN, PARTIAL, PROGRESS):
                (self.folder / name).unlink(missing_ok=True)
            return
        self._progress.check_alone()
        complete = read_manifest(self.folder)
        plan = manifest_json(replace(complete, skipped=(), regions_sha256=""))
        if plan != manifest_json(self.manifest):
            log.warning("%s was made with other versions: it starts again", self.folder)
            self._begin()
            return
        check_room(self.folder, self.manifest)
        copy_file(self.folder / REGIONS, self.folder / PARTIAL)
        self._progress.reset(bytes([DONE]) * complete.shape[0])
        self._progress.mark(complete.skipped, SKIPPED)
        self._progress.mark(replaced, MISSING)
        write_atomically(self.folder / PLAN, plan)
        (self.folder / MANIFEST).unlink()

    def _replaced(self) -> list[int]:
        """Returns the rows whose image file was replaced since they were written."""
        return find_replaced(self.folder, self.images, record_times=True) or []

    def _has_begun(self) -> bool:
        plan = self.folder / PLAN
        has_regions = (self.folder / PARTIAL).exists() or (self.folder / REGIONS).exists()
        has_table = not self.images or open_table(self.folder, len(self.images)) is not None
        return (
            has_regions
            and self._progress.is_complete()
            and has_table
            and plan.is_file()
            and plan.read_bytes() == manifest_json(self.manifest)
        )

    def _begin(self) -> None:
        self._progress.check_alone()
        for name in (MANIFEST, PLAN, PARTIAL, REGIONS, IMAGES):
            (self.folder / name).unlink(missing_ok=True)
        check_room(self.folder, self.manifest)
        if self.images:
            create_table(self.folder, self.images)
        self._progress.reset(bytes(self.manifest.shape[0]))
        np.lib.format.open_memmap(self.folder / PARTIAL, "w+", np.float16, self.manifest.shape)
        write_atomically(self.folder / PLAN, manifest_json(self.manifest))
