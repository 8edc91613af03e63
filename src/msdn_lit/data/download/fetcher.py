"""Downloads sources into a data folder and unpacks them where the readers expect them."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msdn_lit.data.download.archives import scratch_folder, unpack
from msdn_lit.data.download.checks import Progress, check_file, difference, disk_errors, silent
from msdn_lit.data.download.http import download
from msdn_lit.data.download.sources import Source
from msdn_lit.errors import DataError
from msdn_lit.files import open_atomically

WORK = ".msdn-fetch"  # folder below the data folder for unfinished downloads and locks
SIZE_FACTOR = 3  # an archive may unpack to at most so many times its known unpacked size


class Fetcher:
    """Fetches sources into a data folder; complete sources are kept as they are.

    Several processes may fetch into one folder at the same time.

    Args:
        data_dir: Data folder; it is created.
        own_files: Local copies of sources, by file name; they are only read.
        accept_changed: Accept files of another size or checksum than the known one.
        keep_archives: Keep downloaded archives in the data folder.
        say: Callback for one-line messages to the user.
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
        """Returns True if all files of a source exist, no matter how they were obtained."""
        is_unpacking = scratch_folder(source.name, self.data_dir / source.into).exists()
        return not is_unpacking and all(
            found >= wanted for found, wanted in source.inventory(self.data_dir).values()
        )

    def fetch(self, source: Source, progress: Progress = silent) -> None:
        """Fetches one source; if the process is killed, the same call continues.

        Raises:
            DataError: The file cannot be downloaded, is damaged, or is not the known file; or the
                disk is full or not writable.
        """
        downloaded = self.data_dir / WORK / source.name
        if self.is_complete(source) and not downloaded.exists():
            if not (source.is_archive or self.accept_changed):
                target = self._target(source)
                remedy = f"Remove {target} and run the same command again to download it"
                check_file(target, source.size, source.checksum, progress, remedy)
            return
        with disk_errors(self.data_dir), self._lock(source):
            if not self.is_complete(source):  # another process may have completed it meanwhile
                file = self.own_files.get(source.name, downloaded)
                self._obtain(source, file, progress)
                if source.is_archive:
                    self._unpack(source, file, progress)
                else:
                    _copy(file, self._target(source))
            if self.keep_archives and source.is_archive and downloaded.exists():
                os.replace(downloaded, self.data_dir / source.name)
            # Reversed: `downloaded` itself goes last, so a killed process removes the rest later.
            for leftover in sorted(downloaded.parent.glob(f"{source.name}*"), reverse=True):
                leftover.unlink()

    def _target(self, source: Source) -> Path:
        """Returns the final path of a file that is not an archive."""
        return self.data_dir / source.into / source.name

    def _obtain(self, source: Source, file: Path, progress: Progress) -> None:
        """Checks the user's own file, or downloads the file."""
        size, checksum = (None, None) if self.accept_changed else (source.size, source.checksum)
        if source.name in self.own_files:
            self.say(f"{source.name}: using {file}")
            check_file(file, size, checksum, progress, "Download it again")
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
        if not self.accept_changed:
            return
        if change := difference(file, source.size, source.checksum, progress):
            expected, found = change
            self.say(
                f"{source.name}: accepted, although it is not the known file "
                f"(expected {expected}, found {found})"
            )

    def _unpack(self, source: Source, archive: Path, progress: Progress) -> None:
        max_bytes = None if self.accept_changed else SIZE_FACTOR * source.unpacked
        unpack(archive, self.data_dir / source.into, max_bytes=max_bytes, progress=progress)
        for pattern, (found, wanted) in source.inventory(self.data_dir).items():
            if found < wanted:
                raise DataError(
                    f"{archive} was unpacked, but does not contain the whole benchmark",
                    expected=f"{wanted:,} files {pattern} in {self.data_dir}",
                    found=f"{found:,}",
                    action=f"Remove {archive} and download it again, or use another file "
                    "(--mirror URL, --archive PATH).",
                )

    @contextmanager
    def _lock(self, source: Source) -> Iterator[None]:
        """Lets one process at a time fetch a source; a lock ends with its process."""
        lock = self.data_dir / WORK / f".{source.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"{source.name}: waiting for another msdn fetch")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with file.open("rb") as source, open_atomically(target) as sink:
        shutil.copyfileobj(source, sink)
