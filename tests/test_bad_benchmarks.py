"""Wrong split files and word vectors: one message with file, expected, found, what to do."""

import dataclasses
import pickle

import numpy as np
import pytest
from scipy.io import savemat

from msdn_lit.data.splits.xlsa17 import read_proposed_split
from msdn_lit.data.words.tables import read_word_vectors
from msdn_lit.errors import DataError
from tests import miniature
from tests.miniature import MINI, C, Exploit, K, N, spoil

pytestmark = pytest.mark.fault("data files")


class TestSplitFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"att_splits.mat is missing. Take xlsa17.zip"):
            read_proposed_split(tmp_path)

    @pytest.mark.parametrize("file", ["att_splits.mat", "res101.mat"])
    @pytest.mark.parametrize("keep", [0, 60, 130, 200, 0.5, 0.99])
    def test_truncated(self, data_dir, file, keep):
        path = data_dir / "xlsa17" / "data" / "MINI" / file
        content = path.read_bytes()
        path.write_bytes(content[: int(keep if keep > 1 or keep == 0 else keep * len(content))])
        with pytest.raises(DataError, match=rf"{file} (cannot be read|lacks)"):
            read_proposed_split(path.parent)

    @pytest.mark.parametrize(
        ("file", "key"),
        [
            ("att_splits.mat", "att"),
            ("att_splits.mat", "test_unseen_loc"),
            ("res101.mat", "image_files"),
            ("res101.mat", "labels"),
        ],
    )
    def test_without_a_key(self, tmp_path, file, key):
        folder = spoil(tmp_path, file, **{key: None})
        with pytest.raises(DataError, match=rf"{file} lacks {key}"):
            read_proposed_split(folder)

    def test_files_without_train_and_val_are_accepted(self, tmp_path):
        folder = spoil(tmp_path, "att_splits.mat", train_loc=None, val_loc=None)
        assert set(read_proposed_split(folder).indices) == {"trainval", "test_seen", "test_unseen"}

    @pytest.mark.parametrize("wrong", [0, N + 1, 60_000])
    def test_index_out_of_range(self, tmp_path, wrong):
        folder = spoil(
            tmp_path,
            "att_splits.mat",
            test_seen_loc=lambda rows: np.append(rows[1:], [[wrong]], axis=0).astype(np.int64),
        )
        with pytest.raises(
            DataError,
            match=rf"test_seen_loc leaves the image list: expected 1 to {N}, "
            rf"(found .*{wrong}|found {wrong} to)",
        ):
            read_proposed_split(folder)

    def test_overlapping_splits(self, tmp_path):
        trainval = miniature.split_contents()["att_splits.mat"]["trainval_loc"]
        folder = spoil(
            tmp_path,
            "att_splits.mat",
            test_seen_loc=lambda rows: np.concatenate([rows, trainval[:3]]),
        )
        with pytest.raises(
            DataError,
            match=r"trainval_loc and test_seen_loc overlap: expected no common image, found 3",
        ):
            read_proposed_split(folder)

    def test_class_both_seen_and_unseen(self, tmp_path):
        def move_one(rows):
            return rows[:-1]

        contents = miniature.split_contents()
        moved = contents["att_splits.mat"]["test_unseen_loc"][-1:]
        contents["att_splits.mat"]["test_unseen_loc"] = move_one(
            contents["att_splits.mat"]["test_unseen_loc"]
        )
        contents["att_splits.mat"]["trainval_loc"] = np.concatenate(
            [contents["att_splits.mat"]["trainval_loc"], moved]
        )
        with pytest.raises(
            DataError, match=r"classes both seen and unseen: expected none, found 1 \(00\d.class"
        ):
            read_proposed_split(miniature.write_split(tmp_path, contents))

    def test_number_of_classes_disagrees(self, tmp_path):
        folder = spoil(tmp_path, "att_splits.mat", att=lambda att: att[:, :-1])
        with pytest.raises(
            DataError,
            match=rf"att and allclasses_names disagree: expected {C} classes, found {C - 1}",
        ):
            read_proposed_split(folder)

    def test_number_of_labels_disagrees(self, tmp_path):
        folder = spoil(tmp_path, "res101.mat", labels=lambda labels: labels[:-2])
        with pytest.raises(
            DataError, match=rf"labels and image_files disagree: expected {N} labels, found {N - 2}"
        ):
            read_proposed_split(folder)

    def test_label_outside_the_classes(self, tmp_path):
        folder = spoil(
            tmp_path, "res101.mat", labels=lambda labels: np.where(labels == C, C + 3, labels)
        )
        with pytest.raises(
            DataError, match=rf"labels outside the classes.*expected 1 to {C}, found 1 to {C + 3}"
        ):
            read_proposed_split(folder)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_attribute_is_not_a_number(self, tmp_path, bad):
        folder = spoil(
            tmp_path, "att_splits.mat", att=lambda att: np.where(att == att.max(), bad, att)
        )
        with pytest.raises(DataError, match=r"att contains NaN, infinity"):
            read_proposed_split(folder)

    @pytest.mark.parametrize(
        "values", [np.array([[1.5]]), np.array([["a"]]), np.zeros((0, 1)), np.array([[np.nan]])]
    )
    def test_indices_are_not_whole_numbers(self, tmp_path, values):
        folder = spoil(tmp_path, "att_splits.mat", trainval_loc=values)
        with pytest.raises(
            DataError, match=r"trainval_loc is not a list of indices|cannot be read"
        ):
            read_proposed_split(folder)

    def test_sizes_of_another_benchmark(self, tmp_path):
        contents = miniature.split_contents()
        contents["att_splits.mat"]["att"] = contents["att_splits.mat"]["att"][:-1]
        miniature.write_split(tmp_path, contents)
        with pytest.raises(
            DataError,
            match=rf"not MINI's official split.*\({C}, 2, {K}, {N}\), "
            rf"found \({C}, 2, {K - 1}, {N}\)",
        ):
            MINI.read_split(tmp_path)


class TestAttributeNames:
    """Names in a MATLAB file, as for SUN."""

    NAMED = dataclasses.replace(MINI, attribute_files=("nowhere.mat", "attributes.mat"))

    def test_list(self, tmp_path):
        names = ("sailing/ boating", "", "日本語", *(f"attribute, {k}" for k in range(K - 3)))
        savemat(tmp_path / "attributes.mat", {"attributes": miniature.cells(names)})
        assert self.NAMED.attribute_names(tmp_path, K) == names
        assert self.NAMED.attribute_words(tmp_path, K)[0] == ("sailing", "boating")

    @pytest.mark.parametrize("length", [0, K - 1, K + 1])
    def test_names_of_other_attributes(self, tmp_path, length):
        savemat(tmp_path / "attributes.mat", {"attributes": miniature.cells(["a"] * length)})
        assert self.NAMED.attribute_names(tmp_path, K) == tuple(
            f"attribute {k}" for k in range(1, K + 1)
        )
        with pytest.raises(
            DataError,
            match=rf"are missing: expected {K} names in nowhere.mat or attributes.mat.*"
            rf"found {length}",
        ):
            self.NAMED.attribute_words(tmp_path, K)

    @pytest.mark.parametrize("content", [b"", b"text"])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "attributes.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"attributes.mat cannot be read .*Take SUNAttributeDB"):
            self.NAMED.attribute_names(tmp_path, K)

    def test_without_names(self, tmp_path):
        savemat(tmp_path / "attributes.mat", {"images": 1})
        with pytest.raises(DataError, match=r"attributes.mat lacks attributes"):
            self.NAMED.attribute_names(tmp_path, K)


class TestWordVectors:
    def test_missing(self, tmp_path):
        with pytest.raises(
            DataError,
            match=r"is missing. Take it from .* or learn the vectors .* "
            r"with data.semantics.word_vectors=null",
        ):
            read_word_vectors(tmp_path / "no.pkl", K)

    def test_code_in_a_pickle_does_not_run(self, tmp_path):
        path, trace = tmp_path / "evil.pkl", tmp_path / "trace"
        path.write_bytes(pickle.dumps(Exploit(trace)))
        with pytest.raises(
            DataError, match=r"cannot be read as a pickled array \(it refers to .*mkdir"
        ):
            read_word_vectors(path, K)
        assert not trace.exists()

    @pytest.mark.parametrize(
        "content",
        [b"", b"not a pickle", pickle.dumps(np.eye(K))[:-20], pickle.dumps(np.eye(K))[:40]],
    )
    def test_damaged(self, tmp_path, content):
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(DataError, match=r"x.pkl cannot be read"):
            read_word_vectors(tmp_path / "x.pkl", K)

    @pytest.mark.parametrize(
        "table", [np.eye(K + 1), [1, 2], np.zeros((K, 3), dtype=int), np.zeros(K), {"a": 1}]
    )
    def test_another_table(self, tmp_path, table):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(table))
        with pytest.raises(
            DataError,
            match=rf"does not fit the attributes: expected a float table of {K} rows, found",
        ):
            read_word_vectors(tmp_path / "x.pkl", K)

    def test_not_a_number(self, tmp_path):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(np.full((K, 3), np.nan)))
        with pytest.raises(DataError, match="NaN"):
            read_word_vectors(tmp_path / "x.pkl", K)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_every_pickle_protocol_of_an_array_is_read(self, tmp_path, protocol, order):
        table = np.asarray(np.random.default_rng(0).standard_normal((K, 3)), order=order)
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(table, protocol=protocol))
        np.testing.assert_array_equal(
            read_word_vectors(tmp_path / "x.pkl", K), table.astype(np.float32)
        )
