"""Unpacks archives that may be hostile, damaged or truncated.

An archive is unpacked into `.unpacking-NAME` inside the destination folder. Its content is moved to
the final paths after all of it was read, so no file under its final name is ever incomplete. While
the folder `.unpacking-NAME` exists, the content is not complete.
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

from msdn_lit.data.download.checks import Progress, disk_errors, silent
from msdn_lit.errors import DataError

MAX_ENTRIES = 200_000  # the largest benchmark has about 37,400
MAX_DEPTH = 32  # nested folders
HEADER_BYTES = 2**16  # limit of one tar header with its extensions; a bomb's can be gigabytes
CHUNK = 2**20
_END_BYTES = 22 + 2**16  # a zip's end record and the longest comment
_TOO_MANY_TO_COUNT = 0xFFFF  # value in the end record of a zip with that many entries or more
_DAMAGED = (  # exceptions with which the readers report damage
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
)


class _Refused(Exception):
    """The archive has an entry that no benchmark's archive has."""


@dataclass(frozen=True)
class _Member:
    """An entry of an archive.

    Attributes:
        name: Path inside the archive, as stored.
        kind: "file" or "folder"; any other text describes an entry that is not unpacked.
        size: Unpacked size, bytes.
        open: Opens the content for reading.
    """

    name: str
    kind: str
    size: int
    open: Callable[[], IO[bytes]]


def scratch_folder(archive_name: str, into: Path) -> Path:
    """Returns the temporary folder of an archive; it exists only while the archive is unpacked."""
    return into / f".unpacking-{archive_name}"


def unpack(
    archive: Path, into: Path, *, max_bytes: int | None = None, progress: Progress = silent
) -> None:
    """Unpacks a zip or (gzipped) tar archive into a folder; other files in the folder are kept.

    Only one process at a time may unpack an archive of one name into a folder: the caller must hold
    a lock. After a kill at any moment, the same call completes the work.

    Args:
        archive: Archive file; its first bytes decide how it is read.
        into: Destination folder; it is created.
        max_bytes: Limit of the total unpacked size; None for no limit.
        progress: Callback for the phase "unpacking", in bytes of the archive.

    Raises:
        DataError: The archive is damaged, truncated, larger than the limit or the free disk space,
            or has entries other than regular files and folders below its root; then nothing has
            changed. Or the folder is not writable.
    """
    scratch = scratch_folder(archive.name, into)
    with disk_errors(into):
        shutil.rmtree(scratch, ignore_errors=True)  # of a killed process
        scratch.mkdir(parents=True)
        try:
            _unpack_all(archive, scratch, max_bytes, progress)
        except BaseException:
            shutil.rmtree(scratch)  # frees the space on a full disk
            raise
        _move_content(scratch, into)
        shutil.rmtree(scratch)


def _unpack_all(archive: Path, scratch: Path, max_bytes: int | None, progress: Progress) -> None:
    action = (
        "None of its files was kept. Remove it and download it again, or use another file "
        "(--mirror URL, --archive PATH)."
    )
    free = shutil.disk_usage(scratch).free
    try:
        with archive.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for member in _within_limits(_members(file), max_bytes, free):
                _write(member, scratch / member.name)
                progress("unpacking", file.tell(), size)
    except _Refused as refusal:
        raise DataError(f"{archive} {refusal}", action=action) from refusal
    except _DAMAGED as error:
        # EINVAL: a position outside the file. Any other number: the disk, not the archive.
        if getattr(error, "errno", None) not in (None, errno.EINVAL):
            raise
        raise DataError(f"{archive} is damaged ({error})", action=action) from error


def _within_limits(
    members: Iterator[_Member], max_bytes: int | None, free: int
) -> Iterator[_Member]:
    """Yields the members; raises at the first one that must not be unpacked."""
    total = 0
    for count, member in enumerate(members, start=1):
        total += member.size
        if member.kind not in ("file", "folder"):
            raise _Refused(
                f"has {member.kind} {member.name!r}; only plain files and folders are unpacked"
            )
        if not _is_safe(member.name) or member.size < 0:
            raise _Refused(f"has an entry {member.name!r} with an invalid name or size")
        if count > MAX_ENTRIES:
            raise _Refused(f"has more than {MAX_ENTRIES:,} entries")
        if max_bytes is not None and total > max_bytes:
            raise _Refused(f"unpacks to more than {max_bytes:,} bytes, at {member.name!r}")
        if total > free:  # raised early, before the full disk disturbs other programs
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
                raise _Refused(f"is truncated in {member.name!r}")
    except (FileExistsError, NotADirectoryError):
        raise _Refused(f"has two entries named {member.name!r}") from None


def _members(file: BinaryIO) -> Iterator[_Member]:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(b"PK"):
        return _zip_members(file)
    if magic.startswith(b"\x1f\x8b"):
        return _tar_members(cast(BinaryIO, gzip.GzipFile(fileobj=file)))
    return _tar_members(file)


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    promised = _promised_entries(file)
    with zipfile.ZipFile(file) as archive:
        if promised not in (len(archive.infolist()), _TOO_MANY_TO_COUNT):
            raise zipfile.BadZipFile(f"it has {len(archive.infolist())} of {promised} entries")
        for info in archive.infolist():
            # orig_filename is the name as stored; zipfile cuts `filename` at a zero byte
            name = info.orig_filename
            yield _Member(name, _zip_kind(info), info.file_size, partial(archive.open, info))


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 0x1:
        return "the encrypted file"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "the unusually compressed file"
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "the link or device"
    return "folder" if info.orig_filename.endswith("/") else "file"


def _promised_entries(file: BinaryIO) -> int:
    """Returns the number of entries in a zip's end record, which zipfile does not check.

    A damaged entry of the directory can swallow the next one, so that a file would be lost.
    """
    file.seek(max(file.seek(0, 2) - _END_BYTES, 0))
    tail = file.read()
    start = tail.rfind(b"PK\x05\x06")
    if start < 0:
        return _TOO_MANY_TO_COUNT
    return int.from_bytes(tail[start + 10 : start + 12], "little")


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    stream = _LimitedReader(file)
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as archive:
        while (member := archive.next()) is not None:
            stream.allowance = member.size + HEADER_BYTES
            content = cast(Callable[[], IO[bytes]], partial(archive.extractfile, member))
            yield _Member(member.name, _tar_kind(member), member.size, content)
            stream.allowance = HEADER_BYTES
        # tarfile stops at an invalid header and at the end of the file without an error
        if stream.latest != bytes(tarfile.BLOCKSIZE):
            raise _Refused("is damaged or truncated")
        while file.read(CHUNK):  # up to gzip's checksum
            pass


def _tar_kind(member: tarfile.TarInfo) -> str:
    if member.isdir():
        return "folder"
    if member.isreg() and not member.issparse():
        return "file"
    return "the link" if member.issym() or member.islnk() else "the device or special file"


class _LimitedReader:
    """Stream with a limit of bytes per entry: tarfile reads a header of any size into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.allowance = HEADER_BYTES
        self.latest = b""
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.allowance:
            raise _Refused("has a header that is too long")
        self.allowance -= size
        self.latest = self._file.read(size)
        return self.latest


def _move_content(source: Path, target: Path) -> None:
    """Moves a folder's content; folders that exist in the target are merged."""
    for entry in sorted(source.iterdir()):
        destination = target / entry.name
        if entry.is_dir() and destination.is_dir():
            _move_content(entry, destination)
        else:
            os.replace(entry, destination)
