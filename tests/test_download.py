"""Downloads over real HTTP from a misbehaving server, compared with the bytes on the server."""

import hashlib
import os
import random
from types import SimpleNamespace

import pytest

from msdn_lit.data.download import http
from msdn_lit.data.download.http import download
from msdn_lit.errors import DataError
from tests.loopback import DATA, OTHER, SHA256, offer, partial, ranges, serving

DATE = "Mon, 02 Jan 2012 03:04:05 GMT"


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


def break_off(url, target, monkeypatch, **known):
    """Starts a download that is interrupted when its connection breaks."""

    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(http, "time", SimpleNamespace(sleep=interrupt))
        download([url], target, **known)
    assert not target.exists()


def test_a_whole_file_arrives_and_nothing_else_stays(server, target):
    seen = []
    known = {"size": len(DATA), "checksum": SHA256}
    download([offer(server)], target, **known, progress=lambda *state: seen.append(state))
    assert target.read_bytes() == DATA
    assert os.listdir(target.parent) == [target.name]
    assert ("downloading", len(DATA), len(DATA)) in seen
    assert seen[-1] == ("checking", len(DATA), len(DATA))
    assert server.log[0][2]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("known", [{}, {"checksum": SHA256}])
def test_a_connection_broken_at_random_bytes(server, target, seed, known):
    rng = random.Random(seed)
    cuts = [rng.choice([0, 1, rng.randrange(100_000), rng.randrange(10_000)]) for _ in range(6)]
    download([offer(server, cuts=list(cuts))], target, **known)
    assert target.read_bytes() == DATA
    arrived, expected = 0, []
    for cut in [*cuts, 0]:
        expected.append(f"bytes={arrived - 1}-" if arrived > 1 else None)
        arrived = max(arrived - 1, 0) + cut
    assert ranges(server) == expected


def test_a_later_call_continues(server, target, monkeypatch):
    url = offer(server, cuts=[200_000])
    break_off(url, target, monkeypatch)
    download([url], target)
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=199999-"]
    assert server.log[1][2]["If-Range"] == '"1"'


def test_a_partial_file_that_is_whole_needs_one_byte(server, target):
    url = offer(server)
    with pytest.raises(DataError):
        download([url], target, checksum="md5:0")
    download([url], target, checksum=SHA256)
    assert ranges(server) == [None, f"bytes={len(DATA) - 1}-"]
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("knows_if_range", [True, False])
@pytest.mark.parametrize("other", [OTHER, OTHER[:150_000], OTHER * 2])
def test_a_file_that_changes_between_tries_is_not_mixed(
    server, target, monkeypatch, knows_if_range, other
):
    url = offer(server, cuts=[200_000])
    break_off(url, target, monkeypatch)
    offer(server, data=other, etag='"2"', knows_if_range=knows_if_range)
    download([url], target)
    assert target.read_bytes() == other


def test_a_date_serves_where_the_etag_is_weak(server, target, monkeypatch):
    url = offer(server, cuts=[200_000], etag='W/"1"', modified=DATE)
    break_off(url, target, monkeypatch)
    download([url], target)
    assert server.log[1][2]["If-Range"] == DATE
    assert target.read_bytes() == DATA


def test_without_validator_and_checksum_it_begins_anew(server, target, monkeypatch):
    url = offer(server, cuts=[200_000], etag=None)
    break_off(url, target, monkeypatch)
    offer(server, data=OTHER, etag=None)
    download([url], target)
    assert ranges(server) == [None, None]
    assert target.read_bytes() == OTHER


def test_without_validator_a_checksum_lets_it_continue(server, target, monkeypatch):
    url = offer(server, cuts=[200_000], etag=None)
    break_off(url, target, monkeypatch, checksum=SHA256)
    download([url], target, checksum=SHA256)
    assert ranges(server) == [None, "bytes=199999-"]
    assert target.read_bytes() == DATA


def test_a_mixture_is_found_by_the_checksum_and_healed(server, target, monkeypatch):
    url = offer(server, data=OTHER, cuts=[200_000], etag=None)
    break_off(url, target, monkeypatch, checksum=SHA256)
    offer(server, etag=None)
    download([url], target, checksum=SHA256)
    assert ranges(server) == [None, "bytes=199999-", None]
    assert target.read_bytes() == DATA


def test_a_mixture_is_not_continued_without_its_checksum(server, target, monkeypatch):
    first = offer(server, "first", data=OTHER, cuts=[100_000])
    second = offer(server, "second", cuts=[100_000])
    break_off(first, target, monkeypatch, checksum=SHA256)
    break_off(second, target, monkeypatch, checksum=SHA256)
    assert ranges(server) == [None, "bytes=99999-"]
    download([second], target)
    assert target.read_bytes() == DATA


def test_another_mirror_continues_only_under_a_checksum(server, target, monkeypatch):
    for known, asked in (({}, None), ({"checksum": SHA256}, "bytes=199999-")):
        server.log.clear()
        break_off(offer(server, "first", cuts=[200_000]), target, monkeypatch, **known)
        download([offer(server, "second")], target, **known)
        assert ranges(server) == [None, asked]
        assert target.read_bytes() == DATA
        target.unlink()


@pytest.mark.parametrize("note", ["", "{", '{"url": "http://else.where", "validator": "1"}'])
def test_a_partial_file_of_unknown_origin_is_not_continued(server, target, note):
    target.parent.mkdir()
    partial(target).write_bytes(OTHER[:1000])
    partial(target).with_name(target.name + ".partial.json").write_text(note)
    download([offer(server)], target)
    assert target.read_bytes() == DATA


def test_server_without_ranges(server, target):
    download([offer(server, knows_range=False, cuts=[200_000, 100_000, 250_000])], target)
    assert target.read_bytes() == DATA
    assert len(server.log) == 4


def test_wrong_content_range(server, target):
    download([offer(server, cuts=[200_000], shift=-7)], target)
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=199999-", None]


def test_redirects_are_followed(server, target, monkeypatch):
    offer(server, "elsewhere", cuts=[200_000])
    server.redirects = {"file.bin": "/elsewhere", "circle": "/circle"}
    break_off(server.url("file.bin"), target, monkeypatch)
    download([server.url("circle"), server.url("file.bin")], target)
    assert target.read_bytes() == DATA
    assert ranges(server)[-1] == "bytes=199999-"


def test_md5_too(server, target):
    download([offer(server)], target, checksum="md5:" + hashlib.md5(DATA).hexdigest())
    assert target.read_bytes() == DATA


def test_a_file_that_is_there(server, target):
    url = offer(server)
    target.parent.mkdir()
    target.write_bytes(DATA)
    download([url], target, checksum=SHA256)
    target.write_bytes(OTHER)
    with pytest.raises(
        DataError,
        match=r"expected sha256.*Remove .*file.bin and run the same command again to download it",
    ):
        download([url], target, checksum=SHA256)
    with pytest.raises(DataError, match="expected 9 bytes, found 300,000"):
        download([url], target, size=9)
    assert target.read_bytes() == OTHER
    assert server.log == []


def test_content_encoding_is_not_decoded(server, target):
    download([offer(server, encoding="gzip")], target)  # Apache does this with .tgz files
    assert target.read_bytes() == DATA


def test_unknown_length(server, target):
    download([offer(server, tells_length=False)], target)
    assert target.read_bytes() == DATA
    more = offer(server, "more", data=DATA * 2, tells_length=False)
    with pytest.raises(DataError, match="sends more than 300,000 bytes"):
        download([more], target.with_name("other"), size=len(DATA))
    less = offer(server, "less", data=DATA[:9], tells_length=False)
    with pytest.raises(DataError, match="offers 9 bytes instead of 300,000"):
        download([less], target.with_name("other"), size=len(DATA))
