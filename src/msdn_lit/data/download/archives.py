"""Unpacks archives that may be hostile, damaged or cut off, so that no file under its final name is ever incomplete.

An archive is unpacked into `.unpacking-NAME` beside the destination, and its content is moved into place only when all
of it has been read. As long as that folder is there, the content is not in place.
"""

import errno
import gzip
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO, cast

from msdn_lit.data.download.http import Progress, disk_faults, silent
from msdn_lit.errors import DataError

MAX_ENTRIES = 200_000  # the largest benchmark has about 37,400
MAX_DEPTH = 32  # folders in each other
HEADER_BYTES = 2**16  # of one tar header with all that belongs to it; a bomb's can be gigabytes
CHUNK = 2**20
_END_BYTES = 22 + 2**16  # a zip's end record and the longest comment
_COUNTED_ELSEWHERE = 0xFFFF  # in a zip of that many entries or more
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error),
    *(
        OSError,
        EOFError,
        ValueError,
        OverflowError,
        NotImplementedError,
    ),  # so the readers speak of damage, too
)


class _Refused(Exception):
    """The archive holds what no archive of a benchmark has."""


@dataclass(frozen=True)
class _Member:
    """An entry of an archive; `kind` is "file", "folder", or what it is that is not unpacked."""

    name: str
    kind: str
    size: int
    open: Callable[[], IO[bytes]]


def scratch_folder(archive_name: str, into: Path) -> Path:
    """Where an archive is unpacked before it is moved into place; it exists only meanwhile."""
    return into / f".unpacking-{archive_name}"


def unpack(
    archive: Path, into: Path, *, max_bytes: int | None = None, progress: Progress = silent
) -> None:
    """Unpacks a zip or (gzipped) tar archive into a folder; other files in the folder stay.

    Only one process at a time may unpack an archive of that name into a folder: the caller holds a lock. Killed at any
    moment, the same call puts everything right.

    Args:
        archive: The archive; its kind is told by its first bytes.
        into: The folder; it is made.
        max_bytes: What the unpacked files may have together; None leaves that to the disk.
        progress: Told about "unpacking", in bytes of the archive.

    Raises:
        DataError: The archive is damaged, cut off, too large for its limit or the disk, or holds anything but regular
            files and folders below its root; nothing has been put into place then. Or the folder cannot be written.
    """
    scratch = scratch_folder(archive.name, into)
    with disk_faults(into):
        shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
        scratch.mkdir(parents=True)
        try:
            _unpack_all(archive, scratch, max_bytes, progress)
        except BaseException:
            shutil.rmtree(scratch)  # a full disk needs the room
            raise
        _move_into_place(scratch, into)
        shutil.rmtree(scratch)


def _unpack_all(archive: Path, scratch: Path, max_bytes: int | None, progress: Progress) -> None:
    action = "Nothing of it was put into place. Remove it and get it again, or another (--mirror URL, --archive PATH)."
    try:
        with archive.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for member in _within_limits(
                _members(file), max_bytes, shutil.disk_usage(scratch).free
            ):
                _write(member, scratch / member.name)
                progress("unpacking", file.tell(), size)
    except _Refused as refusal:
        raise DataError(f"{archive} {refusal}", action=action) from refusal
    except _DAMAGED as error:
        if getattr(error, "errno", None) not in (
            None,
            errno.EINVAL,
        ):  # EINVAL: a position that no file has
            raise
        raise DataError(f"{archive} is damaged ({error})", action=action) from error


def _within_limits(
    members: Iterator[_Member], max_bytes: int | None, room: int
) -> Iterator[_Member]:
    """Stops at the first member that is not to be unpacked."""
    total = 0
    for count, member in enumerate(members, start=1):
        total += member.size
        if member.kind not in ("file", "folder"):
            raise _Refused(
                f"has {member.kind} {member.name!r}; only plain files and folders are unpacked"
            )
        if not _is_safe(member.name) or member.size < 0:
            raise _Refused(
                f"has an entry {member.name!r}, whose name or size is not that of a file in a folder"
            )
        if count > MAX_ENTRIES:
            raise _Refused(f"has more than {MAX_ENTRIES:,} entries")
        if max_bytes is not None and total > max_bytes:
            raise _Refused(f"unpacks to more than {max_bytes:,} bytes, at {member.name!r}")
        if total > room:
            raise OSError(
                errno.ENOSPC, os.strerror(errno.ENOSPC)
            )  # before others who use the disk notice
        yield member


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    is_foreign = "\0" in name or "\\" in name or PureWindowsPath(name).drive
    return (
        not (path.is_absolute() or ".." in path.parts or is_foreign)
        and len(path.parts) <= MAX_DEPTH
    )


def _write(member: _Member, path: Path) -> None:
    try:
        if member.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as sink, member.open() as source:
            shutil.copyfileobj(source, sink, CHUNK)
            if sink.tell() != member.size:
                raise _Refused(f"is cut off in {member.name!r}")
    except (FileExistsError, NotADirectoryError):
        raise _Refused(f"has two entries of the name {member.name!r}") from None


def _members(file: BinaryIO) -> Iterator[_Member]:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(b"PK"):
        return _zip_members(file)
    return _tar_members(
        cast(BinaryIO, gzip.GzipFile(fileobj=file)) if magic.startswith(b"\x1f\x8b") else file
    )


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    promised = _promised_entries(file)
    with zipfile.ZipFile(file) as archive:
        if promised not in (len(archive.infolist()), _COUNTED_ELSEWHERE):
            raise zipfile.BadZipFile(f"it has {len(archive.infolist())} of {promised} entries")
        for info in archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind = "folder" if info.orig_filename.endswith("/") else "file"
            if info.flag_bits & 0x1:
                kind = "the encrypted file"
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                kind = "the unusually compressed file"
            elif mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "the link or device"
            # orig_filename is the name as stored; zipfile cuts the other one at a zero byte
            yield _Member(info.orig_filename, kind, info.file_size, partial(archive.open, info))


def _promised_entries(file: BinaryIO) -> int:
    """How many entries a zip's end record promises: a damaged entry can swallow the next, which zipfile overlooks."""
    file.seek(max(file.seek(0, 2) - _END_BYTES, 0))
    tail = file.read()
    start = tail.rfind(b"PK\x05\x06")
    return (
        int.from_bytes(tail[start + 10 : start + 12], "little")
        if start >= 0
        else _COUNTED_ELSEWHERE
    )


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    stream = _Rationed(file)
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.isdir():
                kind = "folder"
            elif member.isreg() and not member.issparse():
                kind = "file"
            else:
                kind = (
                    "the link" if member.issym() or member.islnk() else "the device or special file"
                )
            stream.ration = member.size + HEADER_BYTES
            content = cast(Callable[[], IO[bytes]], partial(archive.extractfile, member))
            yield _Member(member.name, kind, member.size, content)
            stream.ration = HEADER_BYTES
        if stream.latest != bytes(
            tarfile.BLOCKSIZE
        ):  # tarfile takes rubbish, and the end of the file, for the end
            raise _Refused("is damaged or cut off")
        while file.read(CHUNK):  # on to gzip's checksum
            pass


class _Rationed:
    """A stream that gives no more than its ration: tarfile would take a header of any length into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.ration = HEADER_BYTES
        self.latest = b""
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.ration:
            raise _Refused("has a header that is too long")
        self.ration -= size
        self.latest = self._file.read(size)
        return self.latest


def _move_into_place(source: Path, target: Path) -> None:
    """Moves a folder's content: whole folders where there are none yet, file by file where there are."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move_into_place(entry, place)
        else:
            os.replace(entry, place)
