"""Files are written as a whole or not at all."""

import os
import stat

import pytest

from msdn_lit.files import link_atomically, open_atomically, write_atomically


def test_text_and_bytes(tmp_path):
    write_atomically(tmp_path / "a", "ä\n")
    write_atomically(tmp_path / "b", b"\0\1")
    assert (tmp_path / "a").read_bytes() == "ä\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\0\1"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"), open_atomically(path) as file:
        file.write(b"half")
        raise ValueError("stop")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_appears_only_when_all_is_written(tmp_path):
    path = tmp_path / "a"
    with open_atomically(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"


def test_it_reaches_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda *args: (events.append("fsync"), fsync(*args)))
    monkeypatch.setattr(os, "replace", lambda *args: (events.append("replace"), replace(*args)))
    write_atomically(tmp_path / "a", "x")
    assert events == ["fsync", "replace"]


def test_permissions_are_the_usual_ones(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("has_links", [True, False])
def test_a_second_name_replaces_a_file_and_keeps_its_content(tmp_path, monkeypatch, has_links):
    if not has_links:  # as on exFAT
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    source, name, other = (tmp_path / name for name in ("a", "b", "c"))
    source.write_text("new")
    name.write_text("old")
    link_atomically(source, name, other)
    write_atomically(source, "newer")
    assert [path.read_text() for path in (source, name, other)] == ["newer", "new", "new"]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}
