"""Errors of servers and disks: the next mirror is tried, or one line says what to do."""

import hashlib
import resource
import shutil
import socket
import subprocess

import pytest

from msdn_lit.data.download import http
from msdn_lit.data.download.http import download, probe
from msdn_lit.errors import DataError
from tests.loopback import DATA, OTHER, SHA256, offer, partial, ranges, serving

pytestmark = pytest.mark.fault("network")


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch):
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.0)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file.bin"


def test_not_found_goes_to_the_next_mirror_and_all_are_named_in_the_end(server, target):
    download([server.url("gone"), offer(server)], target)
    assert target.read_bytes() == DATA
    target.unlink()
    with pytest.raises(DataError) as fault:
        download([server.url("gone"), server.url("lost")], target)
    gone, lost = server.url("gone"), server.url("lost")
    text = f"file.bin cannot be downloaded: found {gone} answers 404 Not Found; {lost} answers 404"
    assert str(fault.value).startswith(text)
    assert "--mirror URL" in str(fault.value)


def test_a_busy_server_is_asked_again_and_a_forbidding_one_is_not(server, target):
    download([offer(server, statuses=[503, 429, 500])], target)
    assert len(server.log) == 4
    with pytest.raises(DataError, match="answers 403 Forbidden"):
        download([offer(server, "other", statuses=[403])], target.with_name("other"))
    assert len(server.log) == 5


def test_no_server(target):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.bin"
        with pytest.raises(DataError, match="cannot be reached"):
            download([url], target)
        assert probe(url) == (False, "cannot be reached", None)
    with pytest.raises(DataError, match="No scheme supplied"):
        download(["data/file.bin"], target)


def test_a_stalled_server(server, target, monkeypatch):
    monkeypatch.setattr(http, "READ_SECONDS", 0.1)
    url = offer(server, stalls=[200_000, 0])
    download([url], target)
    assert target.read_bytes() == DATA
    offer(server, stalls=[0] * http.TRIES)
    with pytest.raises(DataError, match="does not answer"):
        download([url], target.with_name("other"))


def test_a_body_shorter_than_promised(server, target):
    with pytest.raises(DataError, match="breaks off"):
        download(
            [offer(server, lengths=[400_000] * 99, knows_range=False, cuts=[len(DATA)] * 99)],
            target,
        )
    assert not target.exists()
    assert len(server.log) == http.TRIES + 1


def test_wrong_size_is_told_before_the_body_comes(server, target):
    download([offer(server, "short", data=DATA[:-1]), offer(server)], target, size=len(DATA))
    assert target.read_bytes() == DATA
    with pytest.raises(DataError, match="offers 299,999 bytes instead of 300,000"):
        download([server.url("short")], target.with_name("other"), size=len(DATA))
    assert not partial(target.with_name("other")).exists()


def test_another_file_than_the_known_one(server, target):
    url = offer(server, data=OTHER)
    with pytest.raises(DataError) as fault:
        download([url], target, size=len(DATA), checksum=SHA256)
    found = hashlib.sha256(OTHER).hexdigest()
    assert (
        f"is not the known file: expected {SHA256}, found sha256:{found}. {url} offers another file"
        in str(fault.value)
    )
    assert not target.exists()
    assert len(server.log) == 1  # it came in one part, so a retry would not help
    download([url], target)  # as with --accept-changed
    assert target.read_bytes() == OTHER
    assert ranges(server)[-1] == f"bytes={len(DATA) - 1}-"


def test_a_web_page_with_status_200_is_no_file(server, target):
    with pytest.raises(DataError, match="answers with a web page"):
        download([offer(server, content_type="text/html; charset=utf-8")], target)


def test_no_room_is_told_before_the_download(server, target, monkeypatch):
    usage = shutil.disk_usage(target.anchor)
    monkeypatch.setattr(http.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    with pytest.raises(
        DataError, match=r"no room for file.bin: expected 1.00 GB free, found 1.00 GB"
    ):
        download([offer(server)], target, reserve=10**9)
    assert not partial(target).exists()
    download([server.url("file.bin")], target, reserve=10**9 - len(DATA))
    assert target.read_bytes() == DATA


@pytest.fixture
def limit_on_files():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_refuses_more_keeps_what_it_has(server, target, limit_on_files):
    with pytest.raises(
        DataError,
        match=r"cannot be read or written \(File too large\)\. "
        r"Free disk space and run the same command again",
    ):
        download([offer(server)], target)
    assert DATA.startswith(partial(target).read_bytes())
    assert partial(target).stat().st_size == 200_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    download([server.url("file.bin")], target)
    assert target.read_bytes() == DATA
    assert ranges(server)[-1] == "bytes=199999-"


def test_a_full_disk(server, tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", mount], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        with pytest.raises(
            DataError,
            match=r"No space left on device.*Free disk space and run the same command again",
        ):
            download([offer(server, tells_length=False)], mount / "file.bin")
        assert 0 < partial(mount / "file.bin").stat().st_size < len(DATA)
        subprocess.run(["mount", "-o", "remount,size=2m", mount], check=True)
        download([server.url("file.bin")], mount / "file.bin")
        assert (mount / "file.bin").read_bytes() == DATA
        assert ranges(server)[-1] is not None
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be read or written .* --data-dir DIR"):
        download([offer(server)], tmp_path / "file" / "file.bin")


def test_probing(server):
    assert probe(offer(server)) == (True, "ok", 300_000)
    assert probe(offer(server, "b", knows_head=False)) == (True, "ok", 300_000)
    assert probe(offer(server, "c", content_type="text/html")) == (False, "a web page", 300_000)
    assert probe(server.url("gone")) == (False, "404 Not Found", None)
    assert [method for method, _, _ in server.log] == ["HEAD", "HEAD", "GET", "HEAD", "HEAD", "GET"]
