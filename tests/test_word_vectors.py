"""Attribute vectors from word vectors: the naming rules, every format, and damaged files."""

import gzip
import pickle
import tracemalloc
from hashlib import sha256

import numpy as np
import pytest

from msdn_lit.data.semantics import SemanticsConfig
from msdn_lit.data.words import files as word_files
from msdn_lit.data.words.attributes import (
    awa2_words,
    cub_words,
    plain_words,
    sum_of_words,
    sun_words,
)
from msdn_lit.data.words.files import is_word_file, read_words
from msdn_lit.data.words.tables import read_word_vectors
from msdn_lit.errors import DataError
from tests.miniature import MINI, Exploit, K

WORDS = ("the", "red", "wing", "long", "beak", "naïve", "unwanted", "tail")
VECTORS = np.random.default_rng(0).standard_normal((len(WORDS), 7)).astype(np.float32)
OF = dict(zip(WORDS, VECTORS, strict=True))


@pytest.mark.parametrize(
    ("rule", "name", "words"),
    [
        (cub_words, "has_bill_shape::curved_(up_or_down)", "bill shape curved"),
        (cub_words, "has_bill_shape::hooked_seabird", "bill shape hooked seabird"),
        (cub_words, "has_bill_shape::spatulate", "bill shape broad"),
        (cub_words, "has_size::very_small_(3_-_5_in)", "size very small"),
        (cub_words, "has_upperparts_color::grey", "upper parts color gray"),
        (cub_words, "has_wing_shape::rounded-wings", "wing shape rounded wings"),
        (cub_words, "has_back_pattern::multi-colored", "back pattern multi colored"),
        (awa2_words, "black", "black"),
        (awa2_words, "newworld", "new world"),
        (awa2_words, "longleg", "long leg"),
        (awa2_words, "longneck", "longneck"),
        (awa2_words, "strainteeth", "strain teeth"),
        (awa2_words, "quadrapedal", "quadrupedal"),
        (sun_words, "sailing/ boating", "sailing boating"),
        (sun_words, "rock/stone", "rock stone"),
        (sun_words, "direct sun/sunny", "direct sun sunny"),
        (sun_words, "electric/indoor lighting", "electric indoor lighting"),
        (sun_words, "semi-enclosed area", "semi enclosed area"),
        (sun_words, "far-away horizon", "faraway horizon"),
        (sun_words, "man-made", "man-made"),
        (sun_words, "wood (not part of a tree)", "wood (not part of a tree)"),
        (plain_words, "crown::red", "crown red"),
        (plain_words, "2D Boxy", "d boxy"),
        (plain_words, "Écailles_grandes 3", "écailles grandes"),
        (plain_words, "7", ""),
    ],
)
def test_words_of_a_name(rule, name, words):
    assert rule(name) == tuple(words.split())


class TestSums:
    def test_against_a_loop(self):
        names = [("red", "wing"), ("long", "long", "unknown"), ("naïve",), ("missing", "unknown")]
        vectors_KE, unknown = sum_of_words(names, OF, "x")
        expected = np.zeros((4, 7))
        for k, words in enumerate(names):
            for word in words:
                expected[k] += OF.get(word, 0)
        np.testing.assert_allclose(vectors_KE, expected, rtol=1e-6)
        assert vectors_KE.dtype == np.float32
        assert unknown == ("missing", "unknown")

    @pytest.mark.parametrize("names", [[("a", "b"), ("red",)], [()], []])
    def test_too_few_words_are_known(self, names):
        with pytest.raises(
            DataError,
            match="x lacks most words of the attribute names: expected at least half of",
        ):
            sum_of_words(names, OF, "x")

    def test_half_of_the_words_is_enough(self):
        assert sum_of_words([("a",), ("red",)], OF, "x")[1] == ("a",)


def text(header=b"", end=b"\n"):
    rows = (
        word.encode() + b"".join(b" %.9g" % value for value in vector)
        for word, vector in OF.items()
    )
    return header + b"".join(row + end for row in rows)


def binary(end=b"\n"):
    records = (word.encode() + b" " + vector.tobytes() + end for word, vector in OF.items())
    return b"%d 7\n" % len(OF) + b"".join(records)


CONTENTS = {
    "glove.txt": text(),
    "glove.txt.gz": gzip.compress(text()),
    "word2vec.vec": text(b"%d 7\n" % len(OF), b" \n"),
    "windows.txt": text(end=b"\r\n"),
    "word2vec.bin": binary(),
    "no_newlines.bin": binary(b""),
    "word2vec.bin.gz": gzip.compress(binary()),
}


class TestWordFiles:
    @pytest.mark.parametrize("name", CONTENTS)
    @pytest.mark.parametrize("block", [16, 1 << 20])
    def test_formats(self, tmp_path, monkeypatch, name, block):
        monkeypatch.setattr(word_files, "_BLOCK_BYTES", block)
        path = tmp_path / name
        path.write_bytes(CONTENTS[name])
        self.check(path)

    def test_archive(self, tmp_path):
        np.savez(tmp_path / "x.npz", words=np.array(WORDS), vectors=VECTORS)
        self.check(tmp_path / "x.npz")

    def check(self, path):
        found = read_words(path, {"red", "naïve", "tail", "nowhere"})
        assert is_word_file(path)
        assert set(found) == {"red", "naïve", "tail"}
        for word, vector in found.items():
            np.testing.assert_allclose(vector, OF[word], rtol=1e-6)

    def test_words_with_spaces_and_repeated_words(self, tmp_path):
        path = tmp_path / "glove.txt"
        path.write_bytes(text() + b"long name@domain.com 1 2 3 4 5 6 7\nred 1 2 3 4 5 6 7\n")
        np.testing.assert_allclose(
            read_words(path, {"red", "long", "nowhere"})["red"], OF["red"], rtol=1e-6
        )

    def test_nothing_is_read_after_the_last_wanted_word(self, tmp_path):
        (tmp_path / "x.txt").write_bytes(text() + b"later not numbers at all x y z")
        assert list(read_words(tmp_path / "x.txt", {"tail"})) == ["tail"]

    @pytest.mark.parametrize("suffix", ["txt", "bin"])
    def test_a_file_is_never_completely_in_memory(self, tmp_path, suffix):
        word, values = b"w%d", np.ones(100, dtype=np.float32)
        row = b" 1" * 100 + b"\n" if suffix == "txt" else b" " + values.tobytes()
        header = b"40000 100\n"
        (tmp_path / f"x.{suffix}").write_bytes(
            header + b"".join(word % number + row for number in range(40_000))
        )
        tracemalloc.start()
        found = read_words(tmp_path / f"x.{suffix}", {"w7", "w39999"})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [*map(sum, found.values())] == [100, 100]
        assert peak < 4_000_000 < (tmp_path / f"x.{suffix}").stat().st_size

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.txt", b"", "does not begin like a table"),
            ("x.txt", b"\n\n", "does not begin like a table"),
            ("x.txt", text() + b"nowhere 1 2\n", "line 9 has 2 numbers, not 7"),
            ("x.vec", text(b"8 7\n") + b"nowhere 1 2\n", "line 10 has 2 numbers, not 7"),
            ("x.txt", text() + b"nowhere 1 2 3 4 5 6 x\n", "could not convert"),
            ("x.vec", b"8 x\n", "invalid literal"),
            ("x.bin", b"", "not enough values"),
            ("x.bin", b"8 0\n", "does not begin like a table"),
            ("x.bin", b"8 999999999999\n", "does not begin like a table"),
            ("x.bin", binary()[:-9], "ends after 7 of 8 words"),
            ("x.bin", text(), "does not begin|invalid literal|not enough|too many"),
            ("x.txt.gz", text(), "gzip"),
            ("x.txt.gz", gzip.compress(text())[:-60], "end-of-stream|Error -3"),
        ],
    )
    def test_damaged(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            DataError, match=rf"{name} cannot be read as word vectors \(.*({message})"
        ):
            read_words(tmp_path / name, {"nowhere"})

    @pytest.mark.parametrize(
        "arrays",
        [
            {"words": np.array(["red"]), "vectors": np.zeros((2, 3))},
            {"words": np.array([["red"]]), "vectors": np.zeros((1, 3))},
            {"words": np.array([1]), "vectors": np.zeros((1, 3))},
            {"words": np.array(["red"]), "vectors": np.zeros(1)},
            {"words": np.array(["red"])},
        ],
    )
    def test_another_archive(self, tmp_path, arrays):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(DataError, match=r"x.npz cannot be read as word vectors"):
            read_words(tmp_path / "x.npz", {"red"})

    def test_not_a_number(self, tmp_path):
        (tmp_path / "x.txt").write_bytes(b"red 1 nan\n")
        with pytest.raises(DataError, match=r"x.txt contains NaN"):
            read_words(tmp_path / "x.txt", {"red"})

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"x.txt is missing. Check data.semantics.word_vectors"):
            read_words(tmp_path / "x.txt", {"red"})


class TestTables:
    @pytest.mark.parametrize("name", ["x.npy", "x.npz"])
    def test_numpy_files_are_read_like_pickles(self, tmp_path, name):
        table = np.random.default_rng(0).standard_normal((K, 3))
        (np.save if name == "x.npy" else np.savez)(tmp_path / name, table)
        np.testing.assert_array_equal(
            read_word_vectors(tmp_path / name, K), table.astype(np.float32)
        )
        assert not is_word_file(tmp_path / name)

    @pytest.mark.parametrize("name", ["x.npy", "x.npz", "words.npz"])
    def test_code_in_a_numpy_file_does_not_run(self, tmp_path, name):
        path, trace = tmp_path / name, tmp_path / "trace"
        evil = np.array([Exploit(trace)], dtype=object)
        if name == "x.npy":
            np.save(path, evil, allow_pickle=True)
        else:
            np.savez(
                path,
                **{"words" if name == "words.npz" else "table": evil, "vectors": np.zeros((1, 3))},
            )
        read = read_words if is_word_file(path) else read_word_vectors
        with pytest.raises(DataError, match=f"{name} cannot be read as"):
            read(path, {"red"})
        assert not trace.exists()

    def test_code_in_a_file_with_a_wrong_suffix_does_not_run(self, tmp_path):
        trace = tmp_path / "trace"
        for name in ("x.npy", "x.npz", "x.txt", "x.bin", "x.pkl", "x.model"):
            (tmp_path / name).write_bytes(pickle.dumps(Exploit(trace)))
            read = read_words if is_word_file(tmp_path / name) else read_word_vectors
            with pytest.raises(DataError, match="cannot be read as"):
                read(tmp_path / name, {"red"})
        assert not trace.exists()

    @pytest.mark.parametrize("content", [b"", b"no array", b"PK\x05\x06" + bytes(18)])
    @pytest.mark.parametrize("name", ["x.npy", "x.npz"])
    def test_damaged(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read as a NumPy array"):
            read_word_vectors(tmp_path / name, K)

    def test_an_archive_of_two_arrays(self, tmp_path):
        np.savez(tmp_path / "x.npz", a=np.eye(K), b=np.eye(K))
        with pytest.raises(
            DataError, match=r"x.npz cannot be read as a NumPy array \(too many values"
        ):
            read_word_vectors(tmp_path / "x.npz", K)


class Named:
    """A benchmark with the given attribute names."""

    def __init__(self, *names):
        self.names = names

    def attribute_names(self, data_dir, num_attributes):
        return self.names

    def attribute_words(self, data_dir, num_attributes):
        return tuple(map(plain_words, self.names))


class TestSemantics:
    def load(self, data_dir, word_vectors, benchmark=MINI):
        config = SemanticsConfig(
            word_vectors, word_vector_dim=9, clamp_negative=False, shuffle_seed=None
        )
        return config.load(
            MINI.read_split(data_dir), benchmark, data_dir, "trainval", "test_unseen"
        )

    def test_from_a_word_file(self, data_dir):
        (data_dir / "glove.txt").write_bytes(text())
        names = ("red::wing", "long beak", "the", "Tail", "nowhere", "naïve")
        semantics = self.load(data_dir, "glove.txt", Named(*names))
        expected_KE = [
            OF["red"] + OF["wing"],
            OF["long"] + OF["beak"],
            OF["the"],
            OF["tail"],
            0 * OF["the"],
            OF["naïve"],
        ]
        np.testing.assert_allclose(semantics.attribute_vectors_KE, expected_KE, rtol=1e-6)
        assert semantics.word_dim == 7
        assert semantics.word_vectors == {
            "file": "glove.txt",
            "sha256": sha256(semantics.attribute_vectors_KE.tobytes()).hexdigest(),
            "unknown_words": ["nowhere"],
            "without_vector": ["nowhere"],
        }

    def test_from_a_table_anywhere(self, data_dir, tmp_path):
        table = np.ones((K, 3))
        np.save(tmp_path / "table.npy", table)
        semantics = self.load(data_dir, str(tmp_path / "table.npy"))
        np.testing.assert_array_equal(semantics.attribute_vectors_KE, table)
        assert semantics.word_vectors["file"] == "table.npy"
        assert (
            semantics.word_vectors["sha256"]
            == sha256(table.astype(np.float32).tobytes()).hexdigest()
        )

    def test_from_scratch(self, data_dir):
        semantics = self.load(data_dir, None)
        assert (semantics.attribute_vectors_KE, semantics.word_dim) == (None, 9)
        assert semantics.word_vectors == {"file": "learned from scratch"}

    def test_attribute_names_are_missing(self, data_dir):
        (data_dir / "glove.txt").write_bytes(text())
        with pytest.raises(
            DataError,
            match=f"names of MINI's attributes are missing: expected {K} names",
        ):
            self.load(data_dir, "glove.txt")
