"""Downloads that survive broken connections, kill -9 and files that change on the server.

While a file is on its way, `NAME.partial` holds what has arrived and `NAME.partial.json` which version that is: the URL
and the server's ETag or date. A file bears its own name only when its size and checksum are right.
"""
# Own code on requests, since pooch, the usual choice, cannot resume a broken download.

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
import urllib3

from msdn_lit.errors import DataError

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
TRIES = 5  # in a row without a new byte
BACKOFF_SECONDS = 0.25  # doubles from try to try
CHUNK = 2**16
Progress = Callable[
    [str, int, int | None], None
]  # what is done, bytes so far, bytes in all if known

_PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that may be gone at the next try
_IDENTITY = {"Accept-Encoding": "identity"}  # or a server might send other bytes than the file's


class _BrokenOff(Exception):
    """The transfer ended early; the next try continues."""


class _Unusable(Exception):
    """This URL does not offer the file; the next one may."""


def silent(phase: str, done: int, total: int | None) -> None:
    """Progress that nobody sees."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    reserve: int = 0,
    progress: Progress = silent,
) -> None:
    """Downloads one file, or continues where an earlier call ended; does nothing if it is there already.

    Only one process at a time may download a target: the caller holds a lock.

    Args:
        urls: Where the file is; the next one is tried when one does not offer it.
        target: The file; its folder is made.
        size: Bytes, if known.
        checksum: "md5:..." or "sha256:...", if known.
        reserve: Bytes that shall stay free on the disk, for what comes after.
        progress: Told about "downloading" and "checking".

    Raises:
        DataError: No URL offers the file, what came is not it, a file of that name is another one, or the disk is full
            or not ours to write.
    """
    if target.exists():
        check_file(
            target, size, checksum, progress, f"Remove {target}, and the same command downloads it"
        )
        return
    refusals = []
    with disk_faults(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        transfer = _Transfer(target, size, checksum, reserve, progress)
        for url in urls:
            try:
                transfer.run(url)
                return
            except _Unusable as refusal:
                refusals.append(f"{url} {refusal}")
    raise DataError(
        f"{target.name} cannot be downloaded",
        found="; ".join(refusals),
        action="Name a mirror with --mirror URL or a copy with --archive PATH; --accept-changed takes any size.",
    )


class _Transfer:
    """A file on its way."""

    def __init__(
        self, target: Path, size: int | None, checksum: str | None, reserve: int, progress: Progress
    ) -> None:
        self.target = target
        self.partial = target.with_name(target.name + ".partial")
        self.note = target.with_name(target.name + ".partial.json")
        self.size = size
        self.checksum = checksum
        self.reserve = reserve
        self.progress = progress

    def run(self, url: str) -> None:
        """Downloads, checks and names the file."""
        in_one_piece = self._complete(url)
        try:
            self._check(url)
        except DataError:
            if in_one_piece:
                raise
            self._discard()  # its pieces may be of different versions
            self._complete(url)
            self._check(url)
        os.replace(self.partial, self.target)
        self.note.unlink()

    def _check(self, url: str) -> None:
        remedy = f"{url} has another file. Try --mirror URL"
        check_file(self.partial, self.size, self.checksum, self.progress, remedy)

    def _complete(self, url: str) -> bool:
        """Receives all that is missing, in as many tries as it takes; says whether the whole came with the last."""
        failures, most = 0, self._arrived()
        while True:
            try:
                return self._receive(url) == 0
            except (
                requests.ConnectionError,
                requests.Timeout,
                urllib3.exceptions.HTTPError,
                _BrokenOff,
            ) as error:
                reason = _reason(error)
            except requests.RequestException as error:
                raise _Unusable(_reason(error)) from error
            failures = failures + 1 if self._arrived() <= most else 0
            most = max(most, self._arrived())
            if failures == TRIES:
                raise _Unusable(reason)
            time.sleep(BACKOFF_SECONDS * 2**failures)

    def _receive(self, url: str) -> int:
        """Receives in one response what is missing; returns the position in the file at which it began."""
        validator = self._validator_of_partial(url)
        # Without a validator two versions may mix, which the checksum would tell. The last byte is asked for again:
        # then a partial file that is complete is no special case, and 416 always means that the file is another one.
        start = max(self._arrived() - 1, 0) if validator or self.checksum else 0
        headers = (
            {"Range": f"bytes={start}-", **({"If-Range": validator} if validator else {})}
            if start
            else {}
        )
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        with requests.get(
            url, headers=_IDENTITY | headers, stream=True, timeout=timeout
        ) as response:
            if not _continues(response, start, validator):
                self._discard()
                raise _BrokenOff("offers another version than the one begun")
            if response.status_code == 200:
                start = 0
            total = self._total(response)
            self._check_room(total, start)
            with self.partial.open("r+b" if start else "wb") as file:
                if not (start and validator):
                    self._write_note(url, None if start else _validator(response))
                file.truncate(start)
                file.seek(start)
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    self.progress("downloading", file.tell(), total)
                    if total is not None and file.tell() > total:
                        raise _Unusable(f"sends more than {total:,} bytes")
        if total is not None and self._arrived() < total:
            raise _BrokenOff(f"breaks off after {self._arrived():,} of {total:,} bytes")
        return start

    def _total(self, response: requests.Response) -> int | None:
        """Bytes of the whole file, if the server or the caller knows."""
        if response.status_code not in (200, 206):
            kind = _BrokenOff if response.status_code in _PASSING else _Unusable
            raise kind(f"answers {response.status_code} {response.reason}")
        if _is_web_page(response):
            raise _Unusable("answers with a web page")
        offered = _length(response)
        if self.size is not None and offered not in (None, self.size):
            raise _Unusable(f"offers {offered:,} bytes instead of {self.size:,}")
        return self.size if offered is None else offered

    def _check_room(self, total: int | None, start: int) -> None:
        needed, free = (
            (total or start) - start + self.reserve,
            shutil.disk_usage(self.target.parent).free,
        )
        if free < needed:
            raise DataError(
                f"{self.target.parent} has no room for {self.target.name}",
                expected=f"{needed / 1e9:.2f} GB free",
                found=f"{free / 1e9:.2f} GB",
                action="Free some, or name a folder on another disk with --data-dir DIR.",
            )

    def _arrived(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _discard(self) -> None:
        self.partial.unlink(missing_ok=True)

    def _validator_of_partial(self, url: str) -> str | None:
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return note["validator"] if note["url"] == url else None

    def _write_note(self, url: str, validator: str | None) -> None:
        self.note.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def probe(url: str) -> tuple[bool, str, int | None]:
    """Asks whether a URL offers a file: (it does, what the server says, bytes if it says so)."""
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        for method, part in (
            ("HEAD", {}),
            ("GET", {"Range": "bytes=0-0"}),
        ):  # some servers refuse HEAD
            with requests.request(
                method, url, headers=_IDENTITY | part, timeout=timeout, stream=True
            ) as response:
                if response.ok:
                    is_page = _is_web_page(response)
                    return not is_page, "a web page" if is_page else "ok", _length(response)
        return False, f"{response.status_code} {response.reason}", None
    except requests.RequestException as error:
        return False, _reason(error), None


def check_file(
    path: Path, size: int | None, checksum: str | None, progress: Progress, remedy: str
) -> None:
    """Raises DataError, with a remedy, if a file is not of the known size and checksum."""
    if found := difference(path, size, checksum, progress):
        expected, actual = found
        action = f"{remedy}, or take it as it is with --accept-changed."
        raise DataError(
            f"{path} is not the known file", expected=expected, found=actual, action=action
        )


def difference(
    path: Path, size: int | None, checksum: str | None, progress: Progress
) -> tuple[str, str] | None:
    """What was expected of a file and what is the case; None if it is as expected."""
    actual_size = path.stat().st_size
    if size not in (None, actual_size):
        return f"{size:,} bytes", f"{actual_size:,}"
    if checksum is None:
        return None
    algorithm = checksum.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(16 * CHUNK):
            digest.update(chunk)
            progress("checking", file.tell(), actual_size)
    actual = f"{algorithm}:{digest.hexdigest()}"
    return None if actual == checksum else (checksum, actual)


@contextmanager
def disk_faults(place: Path) -> Iterator[None]:
    """Turns what the disk refuses into a DataError that says how to go on."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        full = "Free some room and repeat the command: it continues where it stopped."
        action = (
            full
            if is_full
            else "Check its permissions, or name another data folder with --data-dir DIR."
        )
        problem = f"{error.filename or place} cannot be read or written ({error.strerror or error})"
        raise DataError(problem, action=action) from error


def _continues(response: requests.Response, start: int, validator: str | None) -> bool:
    """Whether a response to a Range request is what was asked for; the whole file (200) is right, too."""
    if response.status_code == 206:
        offered = re.match(r"bytes (\d+)-\d+/\d+$", response.headers.get("Content-Range", ""))
        is_same = validator is None or _validator(response) in (None, validator)
        return is_same and offered is not None and int(offered[1]) == start
    return response.status_code != 416


def _is_web_page(response: requests.Response) -> bool:
    """Whether a server tells in words, with status 200, that the file is gone."""
    return response.headers.get("Content-Type", "").startswith("text/html")


def _length(response: requests.Response) -> int | None:
    """Bytes of the whole file, of which the response may be a part."""
    part_of = response.headers.get("Content-Range", "").rpartition("/")[2]
    length = part_of if response.status_code == 206 else response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _validator(response: requests.Response) -> str | None:
    """What changes when the file changes; a weak ETag does not tell bytes apart."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "does not answer"
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return "has no valid certificate"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    if isinstance(error, urllib3.exceptions.HTTPError):
        return "breaks off"
    return str(error)
