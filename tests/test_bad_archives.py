"""Hostile archives: each is refused with one line, and nothing on the disk changes."""

import gzip
import resource
import shutil
import stat
import tarfile
import zipfile

import pytest

from msdn_lit.data.download import archives
from msdn_lit.data.download.archives import unpack
from msdn_lit.errors import DataError
from tests.archive_files import FILES, KINDS, add, pack, refused, tree

pytestmark = pytest.mark.fault("data files")

BAD_NAMES = [
    "/etc/passwd",
    "../up",
    "a/../../up",
    "a\\..\\b",
    "C:evil",
    "C:/evil",
    "//host/share/x",
    "d/" * 40 + "x",
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("folder", [False, True])
def test_names_outside_the_folder(tmp_path, into, name, folder):
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        add(archive, "fine.txt", b"fine")
        add(archive, name, kind=tarfile.DIRTYPE if folder else tarfile.REGTYPE)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("fine.txt", b"fine")
        info = zipfile.ZipInfo("x")
        info.filename = name + "/" * folder
        archive.writestr(info, b"")
    for kind in ("data.tar", "data.zip"):
        refused(tmp_path / kind, into, "has an entry '.*' with an invalid name or size")


def test_a_zero_byte_in_a_name(tmp_path, into):
    pack(tmp_path / "data.zip", {"a.jpgX.exe": b"data"})
    data = (tmp_path / "data.zip").read_bytes().replace(b"a.jpgX.exe", b"a.jpg\0.exe")
    (tmp_path / "data.zip").write_bytes(data)
    refused(tmp_path / "data.zip", into, r"a.jpg\\x00.exe")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "the link"),
        (tarfile.LNKTYPE, "the link"),
        (tarfile.CHRTYPE, "the device"),
        (tarfile.BLKTYPE, "the device"),
        (tarfile.FIFOTYPE, "the device or special file"),
        (b"Z", "the device or special file"),
        (tarfile.GNUTYPE_SPARSE, "the device or special file"),
    ],
)
@pytest.mark.parametrize("linkname", ["/etc", "fine.txt", ".."])
def test_entries_other_than_files_and_folders(tmp_path, into, kind, word, linkname):
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        add(archive, "fine.txt", b"fine")
        add(archive, "evil", kind=kind, linkname=linkname)
        add(archive, "evil/passwd", b"root")
    refused(tmp_path / "data.tar", into, f"has {word}.* 'evil'; only plain files and folders")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(tmp_path, into, kind):
    info = zipfile.ZipInfo("evil")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(info, b"/etc")
    refused(tmp_path / "data.zip", into, "has the link or device 'evil'")


def test_an_encrypted_zip(tmp_path, into):
    data = bytearray(pack(tmp_path / "data.zip", {"secret": b"data"}).read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    (tmp_path / "data.zip").write_bytes(data)
    refused(tmp_path / "data.zip", into, "has the encrypted file 'secret'")


def test_an_unusual_compression(tmp_path, into):
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"data")
    refused(tmp_path / "data.zip", into, "unusually compressed file 'a'")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a"), ("b/", "b"), ("c", ".")]
)
def test_two_entries_of_one_name(tmp_path, into, names):
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        for name in names:
            add(archive, name, kind=tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    for kind in ("data.tar", "data.zip"):
        refused(tmp_path / kind, into, "has two entries named")


@pytest.mark.parametrize("kind", KINDS)
def test_limits(tmp_path, into, kind, monkeypatch):
    archive = pack(tmp_path / kind)
    total = sum(map(len, FILES.values()))
    refused(
        archive,
        into,
        f"unpacks to more than {total - 1:,} bytes, at 'attributes.txt'",
        max_bytes=total - 1,
    )
    monkeypatch.setattr(archives, "MAX_ENTRIES", 8)
    refused(archive, into, "more than 8 entries")
    monkeypatch.setattr(archives, "MAX_ENTRIES", 9)
    unpack(archive, into, max_bytes=total)
    assert tree(into) == FILES | {"mine.txt": b"mine"}


def test_a_bomb_is_refused_before_it_is_written(tmp_path, into, monkeypatch):
    bomb = bytes(50_000_000)
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bomb)
    with tarfile.open(tmp_path / "data.tgz", "w:gz") as archive:
        add(archive, "bomb", bomb)
    monkeypatch.setattr(archives, "_write", pytest.fail)
    for kind in ("data.zip", "data.tgz"):
        refused(
            tmp_path / kind,
            into,
            "unpacks to more than 1,000,000 bytes, at 'bomb'",
            max_bytes=1_000_000,
        )


def test_a_zip_that_lies_about_sizes(tmp_path, into):
    data = bytearray(pack(tmp_path / "data.zip", {"bomb": bytes(1_000_000)}).read_bytes())
    position = data.index(b"PK\1\2") + 24
    data[position : position + 4] = (1000).to_bytes(4, "little")
    (tmp_path / "data.zip").write_bytes(data)
    refused(tmp_path / "data.zip", into, "damaged", max_bytes=1000)


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]
)
def test_a_header_bomb_is_not_read_into_memory(tmp_path, into, kind):
    header = tarfile.TarInfo("bomb")
    header.type, header.size = kind, 2**33
    with gzip.open(tmp_path / "data.tgz", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(2**22))
    refused(tmp_path / "data.tgz", into, "has a header that is too long")


def test_consecutive_headers(tmp_path, into):
    header = tarfile.TarInfo("bomb")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4
    with gzip.open(tmp_path / "data.tgz", "wb") as file:
        file.write((header.tobuf() + b"name".ljust(512, b"\0")) * 5000)
    refused(tmp_path / "data.tgz", into, "has a header that is too long")


def test_a_sparse_file_of_many_parts(tmp_path, into):
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x",
        "GNU.sparse.realsize": "9",
    }
    with tarfile.open(tmp_path / "data.tgz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        add(archive, "x", b"9999999\n" + b"0\n" * 500_000, pax_headers=pax)
    refused(tmp_path / "data.tgz", into, "has a header that is too long")


def test_negative_sizes(tmp_path, into):
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "data.tar").write_bytes(bytes(header) * 3 + bytes(1024))
    refused(tmp_path / "data.tar", into, "with an invalid name or size")


def test_missing_disk_space_is_reported_before_the_disk_is_full(tmp_path, into, monkeypatch):
    usage = shutil.disk_usage(into)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=60_000))
    for kind in KINDS:
        with pytest.raises(
            DataError,
            match=r"No space left on device.*Free disk space and run the same command again",
        ):
            unpack(pack(tmp_path / kind), into)
        assert tree(into) == {"mine.txt": b"mine"}


def test_a_full_disk(tmp_path, into):
    archive = pack(tmp_path / "data.zip")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(
            DataError, match=r"File too large.*Free disk space and run the same command again"
        ):
            unpack(archive, into)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(into) == {"mine.txt": b"mine"}


def test_a_zip_that_lost_an_entry_is_damaged(tmp_path):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in "abc":
            file.writestr(name, name)
    data = archive.read_bytes()
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    first = data.index(b"PK\x01\x02")
    # The comment of the directory's first entry becomes so long that it swallows the second entry.
    comment_length = first + 32
    swallowed = data.index(b"PK\x01\x02", second + 1) - second
    spoiled = bytearray(data)
    spoiled[comment_length : comment_length + 2] = swallowed.to_bytes(2, "little")
    archive.write_bytes(spoiled)
    with pytest.raises(DataError, match=r"2 of 3 entries"):
        unpack(archive, tmp_path / "into")
