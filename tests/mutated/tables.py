"""Tables of word vectors: pickles, NumPy files, and files of words."""

import functools
import gzip
import io
import pickle
import struct
import zipfile
import zlib

import numpy as np

from msdn_lit.data.words.attributes import sum_of_words
from msdn_lit.data.words.files import is_word_file, read_words
from msdn_lit.data.words.tables import read_word_vectors
from tests.miniature import E, Exploit, K
from tests.mutated.format import TRACE, is_array, of_one_file
from tests.mutated.pickles import pickles

WORDS = ("a", "b", "red", "wing", "naïve", "tail")
_NAMES = b"".join(word[0].encode("utf-32-le") for word in WORDS)


def formats(folder):
    table = np.random.default_rng(1).standard_normal((K, E))
    is_table = functools.partial(is_array, dtype=np.float32, shape=(K, None))
    for name, data, hostile in (
        *[(f"protocol{protocol}.pkl", pickle.dumps(table, protocol), ()) for protocol in range(5)],
        ("x.pkl", pickle.dumps(np.asfortranarray(table)), [*pickles(), *_wrong_tables()]),
        ("x.npy", saved(np.save, table), [*npys(), *pickles()]),
        ("stored.npz", saved(np.savez, table), _npzs()),
        ("deflated.npz", saved(np.savez_compressed, table), ()),
    ):
        yield of_one_file(name, data, lambda path: read_word_vectors(path, K), is_table, hostile)
    for name, data in _word_files(table.astype(np.float32)):
        hostile = _npzs() if name == "words.npz" else _texts() if name == "x.txt" else ()
        yield of_one_file(name, data, _attribute_vectors, is_table, hostile)


def _attribute_vectors(path):
    """Makes attribute vectors like SemanticsConfig."""
    if not is_word_file(path):
        return read_word_vectors(path, K)
    return sum_of_words([(word,) for word in WORDS], read_words(path, WORDS), path)[0]


def _word_files(vectors_KE):
    rows = [(word.encode(), vector_E) for word, vector_E in zip(WORDS, vectors_KE, strict=True)]
    text = b"".join(
        word + b"".join(b" %.9g" % value for value in vector_E) + b"\n" for word, vector_E in rows
    )
    binary = b"6 5\n" + b"".join(
        word + b" " + vector_E.tobytes() + b"\n" for word, vector_E in rows
    )
    yield "x.txt", text
    yield "x.vec", b"6 5\n" + text
    yield "x.bin", binary
    yield "x.txt.gz", gzip.compress(text, mtime=0)
    yield "x.bin.gz", gzip.compress(binary, mtime=0)
    yield "words.npz", saved(np.savez, words=np.array(WORDS), vectors=vectors_KE)
    yield (
        "deflated words.npz",
        saved(np.savez_compressed, words=np.array(WORDS), vectors=vectors_KE),
    )


def _texts():
    for number in ("nan", "inf", "-inf", "1e999", "1e200", "1_0", "0x1", "x", "", "9" * 5000):
        yield f"number {number[:9]}", "".join(f"{word} {number} 2\n" for word in WORDS).encode()
    yield "one line", b"red " + b"1 " * 2**21
    yield "no line", b"x" * 2**22


def _wrong_tables():
    for dtype in ("O", "f2", ">f8", "g", "c16", "i8", "S8", "U4", "M8[s]", "V8", "f4,f4"):
        yield f"type {dtype}", pickle.dumps(np.zeros((K, E), dtype=dtype), 2)
    for value in (np.nan, np.inf, 1e200):
        yield f"value {value}", pickle.dumps(np.full((K, E), value))
    intact = pickle.dumps(np.zeros((K, E)), 2)
    for old, new in (
        (b"f8", b"O8"),
        (b"f8", b"V8"),
        (b"K\x06K\x05", b"K\x06K\xff"),
        (b"K\x06K\x05", b"J\xff\xff\xff\xffK\x05"),
    ):
        yield f"{new!r} for {old!r}", intact.replace(old, new)


def npy(descr="<f8", shape="(6, 5)", data=bytes(240), version=1, header=None):
    """Returns a .npy file with any header."""
    text = (
        header or f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    ).encode() + b"\n"
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", len(text))
        + text
        + data
    )


def npys():
    """Yields .npy files with false headers, and with code."""
    for shape in (
        "(6, -5)",
        "(-1, 5)",
        "(10**9, 10**9)",
        "(1000000000, 1000000000)",
        "(4611686018427387904, 8)",
        "(6, 5.0)",
        "6",
        "(True, 5)",
        "(6, 1000000000)",
        "(" + "1, " * 70 + ")",
        "()",
        "(0, 5)",
    ):
        yield f"shape {shape[:30]}", npy(shape=shape)
    for descr in (
        "|O",
        "<U5",
        "|V8",
        ">f8",
        "<c16",
        "<i8",
        "<M8[s]",
        "<f2",
        "|b1",
        "<V99999999",
        "?" * 40,
        "f8,O",
    ):
        yield f"type {descr}", npy(descr=descr)
    for header in (
        " ",
        "{",
        "(" * 3000,
        "{'a': 1, 2: 3}",
        "[1]",
        "{'a':" * 90,
        "\x0b",
        "0L",
        "'",
        "'''",
        " \t1\n  2\n 3",
        " " * 60_000,
        "{'descr': [('a', '<f8'), ('b', '|O')], 'fortran_order': False, 'shape': (6, 5)}",
        "{'descr': '<f8', 'fortran_order': 1, 'shape': (6, 5)}",
        "f()",
        "-" * 5000 + "1",
    ):
        yield f"header {header[:40]!r}", npy(header=header)
    yield "header of Python 2", npy(shape="(6L, 5L)")
    yield "header beyond the file", npy(version=2)[:8] + b"\xff\xff\xff\xff" + bytes(99)
    yield "unknown version", npy(version=9)
    yield "code", saved(np.save, np.array([[Exploit(TRACE)]], dtype=object))
    for value in (np.nan, np.inf, 1e200):
        yield f"value {value}", npy(data=np.full(30, value).tobytes())


def _npzs():
    """Yields .npz files with false members, and with code."""
    names = npy("<U1", "(6,)", data=_NAMES)
    yield "code", saved(np.savez, np.array([[Exploit(TRACE)]], dtype=object))
    yield "two arrays", saved(np.savez, np.eye(6), np.eye(6))
    yield "no member", saved(np.savez)
    yield "a pickle", zipped({"arr_0.npy": pickle.dumps(Exploit(TRACE))})
    yield "no array", zipped({"arr_0.npy": b"text"})
    yield "name that leads out", zipped({"../../x.npy": npy()})
    yield "behind an array", npy() + zipped({"words.npy": names, "vectors.npy": npy()})
    for name, data in npys():
        yield f"table, {name}", zipped({"arr_0.npy": data})
        yield f"words, {name}", zipped({"words.npy": data, "vectors.npy": npy()})
        yield f"vectors, {name}", zipped({"words.npy": names, "vectors.npy": data})
    head = npy("<f8", "(6, 6000000)", data=b"")
    yield "bomb of vectors", zip_bomb({"words.npy": names}, "vectors.npy", head, 300)
    yield "bomb", zip_bomb({}, "arr_0.npy", head, 300)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        data = zipped({"words.npy": names, "vectors.npy": npy()}, method)
        yield f"method {method}", data
        yield f"method {method}, damaged", data[:60] + bytes(9) + data[69:]
    encrypted = bytearray(zipped({"words.npy": npy(), "vectors.npy": npy()}))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        encrypted[encrypted.index(signature) + offset] |= 1
    yield "encrypted", bytes(encrypted)


def zipped(members, method=zipfile.ZIP_DEFLATED):
    """Returns a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)  # without the time
    return file.getvalue()


def zip_bomb(members, name, head, megabytes):
    """Returns a zip archive with a member of a head and many zeros, compressed block by block."""
    block, packer = bytes(2**20), zlib.compressobj(wbits=-15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    data, crc = start + zeros * megabytes + packer.flush(), zlib.crc32(head)
    for _ in range(megabytes):
        crc = zlib.crc32(block, crc)
    archive = bytearray(zipped(members | {name: data}, zipfile.ZIP_STORED))
    for signature, method, numbers in ((b"PK\3\4", 8, 14), (b"PK\1\2", 10, 16)):
        start = archive.rindex(signature)
        archive[start + method] = zipfile.ZIP_DEFLATED
        struct.pack_into(
            "<III", archive, start + numbers, crc, len(data), len(head) + megabytes * 2**20
        )
    return bytes(archive)


def saved(save, *arrays, **named):
    """Returns the file that NumPy writes."""
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()
