"""Brings the files of a source to where the reader looks for them."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msdn_lit.data.download.archives import scratch_folder, unpack
from msdn_lit.data.download.http import (
    Progress,
    check_file,
    difference,
    disk_faults,
    download,
    silent,
)
from msdn_lit.data.download.sources import Source
from msdn_lit.errors import DataError

WORK = (
    ".msdn-fetch"  # below the data folder: what is on its way, and locks; of no use to anybody else
)
SIZE_FACTOR = 3  # an archive that unpacks to more than this times what is known of it is refused


class Fetcher:
    """Fetches sources into a data folder. Several processes may do so at once; what is complete is left alone.

    Args:
        data_dir: The data folder; it is made.
        own_files: Files of the table that the user has already, by name; they are read only.
        accept_changed: Take files whose size or checksum is not the known one.
        keep_archives: Leave downloaded archives in the data folder.
        say: Told in one line what the user may want to know.
    """

    def __init__(
        self,
        data_dir: Path,
        own_files: Mapping[str, Path],
        *,
        accept_changed: bool = False,
        keep_archives: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.data_dir = data_dir
        self.own_files = own_files
        self.say = say
        self.accept_changed = accept_changed
        self.keep_archives = keep_archives

    def is_complete(self, source: Source) -> bool:
        """Whether all files of a source are there, wherever they came from."""
        is_unpacking = scratch_folder(source.name, self.data_dir / source.into).exists()
        return not is_unpacking and all(
            found >= wanted for found, wanted in source.inventory(self.data_dir).values()
        )

    def fetch(self, source: Source, progress: Progress = silent) -> None:
        """Fetches one source; killed at any moment, the same call goes on.

        Raises:
            DataError: It cannot be downloaded, is damaged or another file than the known one, or the disk refuses it.
        """
        downloaded = self.data_dir / WORK / source.name
        if self.is_complete(source) and not downloaded.exists():
            if not (source.is_archive or self.accept_changed):
                remedy = f"Remove {self._place(source)}, and the same command downloads it"
                check_file(self._place(source), source.size, source.checksum, progress, remedy)
            return
        with disk_faults(self.data_dir), self._alone(source):
            if not self.is_complete(source):  # or another process was at it
                file = self.own_files.get(source.name, downloaded)
                self._obtain(source, file, progress)
                if source.is_archive:
                    self._unpack(source, file, progress)
                else:
                    _copy(file, self._place(source))
            if self.keep_archives and source.is_archive and downloaded.exists():
                os.replace(downloaded, self.data_dir / source.name)
            for leftover in sorted(
                downloaded.parent.glob(f"{source.name}*"), reverse=True
            ):  # its parts first
                leftover.unlink()

    def _place(self, source: Source) -> Path:
        """Where a file that is no archive belongs."""
        return self.data_dir / source.into / source.name

    def _obtain(self, source: Source, file: Path, progress: Progress) -> None:
        """Makes sure that the user's own file is the right one, or that the right one is downloaded."""
        size, checksum = (None, None) if self.accept_changed else (source.size, source.checksum)
        if source.name in self.own_files:
            self.say(f"{source.name}: taken from {file}")
            check_file(file, size, checksum, progress, "Get it again")
        else:
            self.say(f"{source.name}: downloading")
            download(
                source.urls,
                file,
                size=size,
                checksum=checksum,
                reserve=source.unpacked,
                progress=progress,
            )
        if self.accept_changed and (
            change := difference(file, source.size, source.checksum, progress)
        ):
            self.say(
                f"{source.name}: accepted, though not the known file (expected {change[0]}, found {change[1]})"
            )

    def _unpack(self, source: Source, archive: Path, progress: Progress) -> None:
        max_bytes = None if self.accept_changed else SIZE_FACTOR * source.unpacked
        unpack(archive, self.data_dir / source.into, max_bytes=max_bytes, progress=progress)
        for pattern, (found, wanted) in source.inventory(self.data_dir).items():
            if found < wanted:
                raise DataError(
                    f"{archive} is unpacked, but it does not hold all of the benchmark",
                    expected=f"{wanted:,} files {pattern} in {self.data_dir}",
                    found=f"{found:,}",
                    action=f"Remove {archive} and get it again, or another (--mirror URL, --archive PATH).",
                )

    @contextmanager
    def _alone(self, source: Source) -> Iterator[None]:
        """Lets one process at a time fetch a source; the kernel gives the lock back when a process dies."""
        lock = self.data_dir / WORK / f".{source.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"{source.name}: another msdn-fetch is at it; waiting")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.copying")
    shutil.copyfile(file, partial)
    os.replace(partial, target)
