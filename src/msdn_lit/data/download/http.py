"""Resumable downloads: after a broken connection or kill -9, a download continues where it ended.

During a transfer, `NAME.partial` holds the bytes received so far, and `NAME.partial.json` holds the
URL and the server's ETag or date, which identify the version. The file gets its final name only
after its size and checksum were verified.
"""
# Own code on top of requests, because pooch, the usual choice, cannot resume a download.

import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import requests
import urllib3

from msdn_lit.data.download.checks import Progress, check_file, disk_errors, silent
from msdn_lit.errors import DataError
from msdn_lit.files import write_atomically

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
TRIES = 5  # consecutive ones without a new byte
BACKOFF_SECONDS = 0.25  # doubles with every try
CHUNK = 2**16

_TEMPORARY_STATUSES = {408, 425, 429, 500, 502, 503, 504}
# Without it a server may compress the file, and sizes, ranges and checksums would not match.
_IDENTITY = {"Accept-Encoding": "identity"}


class _Interrupted(Exception):
    """The transfer ended early; the next try continues it."""


class _Unusable(Exception):
    """This URL does not offer the file; another one may."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    reserve: int = 0,
    progress: Progress = silent,
) -> None:
    """Downloads one file, or resumes an interrupted download; does nothing if the file exists.

    Only one process at a time may download a target: the caller must hold a lock.

    Args:
        urls: URLs of the file, tried in order.
        target: Path of the file; its folder is created.
        size: Expected size, bytes.
        checksum: Expected checksum, "md5:..." or "sha256:...".
        reserve: Disk space that must remain free after the download, bytes.
        progress: Callback for the phases "downloading" and "checking".

    Raises:
        DataError: No URL offers the file, the received or existing file is not the expected one, or
            the disk is full or not writable.
    """
    if target.exists():
        remedy = f"Remove {target} and run the same command again to download it"
        check_file(target, size, checksum, progress, remedy)
        return
    refusals = []
    with disk_errors(target.parent):
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
        action="Give a mirror with --mirror URL or a local copy with --archive PATH; "
        "--accept-changed accepts any size.",
    )


class _Transfer:
    """Download of one file in one or more parts."""

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
        """Downloads and verifies the file, then gives it its final name."""
        in_one_part = self._complete(url)
        try:
            self._check(url)
        except DataError:
            if in_one_part:
                raise
            self._discard()  # its parts may belong to different versions
            self._complete(url)
            self._check(url)
        os.replace(self.partial, self.target)
        self.note.unlink()

    def _check(self, url: str) -> None:
        remedy = f"{url} offers another file. Try --mirror URL"
        check_file(self.partial, self.size, self.checksum, self.progress, remedy)

    def _complete(self, url: str) -> bool:
        """Receives all missing bytes; returns True if the last response held the whole file."""
        failures = 0
        most = self._received()
        while True:
            try:
                return self._receive(url) == 0
            except (
                requests.ConnectionError,
                requests.Timeout,
                urllib3.exceptions.HTTPError,
                _Interrupted,
            ) as error:
                reason = _reason(error)
            except requests.RequestException as error:
                raise _Unusable(_reason(error)) from error
            failures = failures + 1 if self._received() <= most else 0
            most = max(most, self._received())
            if failures == TRIES:
                raise _Unusable(reason)
            time.sleep(BACKOFF_SECONDS * 2**failures)

    def _receive(self, url: str) -> int:
        """Receives the missing bytes in one response; returns the position of the first one."""
        validator = self._validator_of_partial(url)
        # Without a validator, parts of two versions may mix; the checksum detects it. The last byte
        # is requested again, so a complete partial file needs no special case, and status 416
        # always means that the server has another file.
        start = max(self._received() - 1, 0) if validator or self.checksum else 0
        headers = dict(_IDENTITY)
        if start:
            headers["Range"] = f"bytes={start}-"
        if start and validator:
            headers["If-Range"] = validator
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            if not _continues(response, start, validator):
                self._discard()
                raise _Interrupted("offers another version than the one begun")
            if response.status_code == 200:
                start = 0
            total = self._total(response)
            self._check_room(total, start)
            self._store(url, response, start, total, is_same_version=bool(start and validator))
        if total is not None and self._received() < total:
            raise _Interrupted(f"breaks off after {self._received():,} of {total:,} bytes")
        return start

    def _store(
        self,
        url: str,
        response: requests.Response,
        start: int,
        total: int | None,
        *,
        is_same_version: bool,
    ) -> None:
        """Writes a response's body into the partial file from `start` on."""
        with self.partial.open("r+b" if start else "wb") as file:
            if not is_same_version:
                self._write_note(url, None if start else _validator(response))
            file.truncate(start)
            file.seek(start)
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                self.progress("downloading", file.tell(), total)
                if total is not None and file.tell() > total:
                    raise _Unusable(f"sends more than {total:,} bytes")

    def _total(self, response: requests.Response) -> int | None:
        """Returns the size of the whole file if the server or the caller knows it, bytes."""
        if response.status_code not in (200, 206):
            kind = _Interrupted if response.status_code in _TEMPORARY_STATUSES else _Unusable
            raise kind(f"answers {response.status_code} {response.reason}")
        if _is_web_page(response):
            raise _Unusable("answers with a web page")
        offered = _length(response)
        if self.size is not None and offered not in (None, self.size):
            raise _Unusable(f"offers {offered:,} bytes instead of {self.size:,}")
        return self.size if offered is None else offered

    def _check_room(self, total: int | None, start: int) -> None:
        needed = (total or start) - start + self.reserve
        free = shutil.disk_usage(self.target.parent).free
        if free < needed:
            raise DataError(
                f"{self.target.parent} has no room for {self.target.name}",
                expected=f"{needed / 1e9:.2f} GB free",
                found=f"{free / 1e9:.2f} GB",
                action="Free disk space, or choose a folder on another disk with --data-dir DIR.",
            )

    def _received(self) -> int:
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
        write_atomically(self.note, json.dumps({"url": url, "validator": validator}))


def probe(url: str) -> tuple[bool, str, int | None]:
    """Asks a server whether it offers a file.

    Returns:
        True if it does; the server's answer in words; size in bytes, None if unknown.
    """
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    try:
        # Some servers refuse HEAD.
        for method, part in (("HEAD", {}), ("GET", {"Range": "bytes=0-0"})):
            with requests.request(
                method, url, headers=_IDENTITY | part, timeout=timeout, stream=True
            ) as response:
                if response.ok:
                    is_page = _is_web_page(response)
                    return not is_page, "a web page" if is_page else "ok", _length(response)
        return False, f"{response.status_code} {response.reason}", None
    except requests.RequestException as error:
        return False, _reason(error), None


def _continues(response: requests.Response, start: int, validator: str | None) -> bool:
    """Returns True if a response has the requested part of the same version, or the whole file."""
    if response.status_code == 206:
        offered = re.match(r"bytes (\d+)-\d+/\d+$", response.headers.get("Content-Range", ""))
        is_same = validator is None or _validator(response) in (None, validator)
        return is_same and offered is not None and int(offered[1]) == start
    return response.status_code != 416


def _is_web_page(response: requests.Response) -> bool:
    """Returns True for HTML, with which some servers replace a missing file (status 200)."""
    return response.headers.get("Content-Type", "").startswith("text/html")


def _length(response: requests.Response) -> int | None:
    """Returns the size of the whole file, even for a response with a part of it, bytes."""
    part_of = response.headers.get("Content-Range", "").rpartition("/")[2]
    length = part_of if response.status_code == 206 else response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _validator(response: requests.Response) -> str | None:
    """Returns the header that identifies a version; a weak ETag may stand for several."""
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
