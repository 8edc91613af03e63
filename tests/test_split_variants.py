"""Known variants of split files, unknown files, and the choice of missing train and val."""

import dataclasses

import numpy as np
import pytest

from msdn_lit.data.splits.holdout import split_classes
from msdn_lit.data.splits.variants import fingerprints, with_train_and_val
from msdn_lit.errors import ConfigError, DataError
from tests import miniature
from tests.miniature import MINI, C, K, N


@pytest.fixture
def known(data_dir):
    """The miniature benchmark with its own files as the published ones."""
    split = MINI.read_split(data_dir)
    return dataclasses.replace(MINI, official=fingerprints(split, MINI.relative_paths(split)))


def edit(data_dir, change):
    """Writes the miniature split after a change of the contents of its two files."""
    contents = miniature.split_contents()
    change(contents["att_splits.mat"], contents["res101.mat"])
    miniature.write_split(data_dir, contents)


def drop_train_and_val(splits, images):
    del splits["train_loc"], splits["val_loc"]


def drop_val(splits, images):
    del splits["val_loc"]


def correct(splits, images):
    for name in ("train_loc", "val_loc"):
        splits[name] = splits[name][np.isin(splits[name], splits["trainval_loc"])][:, None]


def shuffle_within_splits(splits, images):
    for name in splits:
        if name.endswith("_loc"):
            splits[name] = np.random.default_rng(0).permutation(splits[name])


def leave(splits, images):
    pass


@pytest.mark.parametrize(
    ("change", "variant", "train_val"),
    [
        (leave, "official", "of the split file, less its test_seen images"),
        (shuffle_within_splits, "official", "of the split file, less its test_seen images"),
        (drop_train_and_val, "official without train and val", "none"),
        (drop_val, "official without train and val", "none"),
        (correct, "corrected", "of the split file"),
    ],
)
def test_known_variants_are_recognised(known, data_dir, change, variant, train_val):
    edit(data_dir, change)
    split = known.read_split(data_dir)
    assert (split.variant, split.train_val) == (variant, train_val)


def swap_class_names(splits, images):
    splits["allclasses_names"][[0, 1]] = splits["allclasses_names"][[1, 0]]


def change_class_order(splits, images):
    order = np.array([1, 0, *range(2, C)])
    splits["allclasses_names"], splits["att"] = (
        splits["allclasses_names"][order],
        splits["att"][:, order],
    )
    images["labels"] = (np.argsort(order)[images["labels"] - 1] + 1).astype(np.uint16)


def change_image_order(splits, images):
    order = np.random.default_rng(0).permutation(N)
    images["image_files"], images["labels"] = images["image_files"][order], images["labels"][order]
    for name in splits:
        if name.endswith("_loc"):
            splits[name] = (np.argsort(order)[splits[name] - 1] + 1).astype(np.uint16)


def change_a_label(splits, images):
    first, second = splits["trainval_loc"][:2, 0] - 1
    images["labels"][first] = images["labels"][second]


def rename_an_image(splits, images):
    images["image_files"][3, 0] = images["image_files"][3, 0].replace(".png", "_edited.png")


def move_to_test_seen(splits, images):
    moved, splits["trainval_loc"] = splits["trainval_loc"][:1], splits["trainval_loc"][1:]
    splits["test_seen_loc"] = np.concatenate([splits["test_seen_loc"], moved])


def drop_a_test_image(splits, images):
    splits["test_unseen_loc"] = splits["test_unseen_loc"][:-1]


def repeat_a_test_image(splits, images):
    splits["test_unseen_loc"] = np.concatenate(
        [splits["test_unseen_loc"], splits["test_unseen_loc"][:1]]
    )


def swap_train_and_val(splits, images):
    splits["train_loc"], splits["val_loc"] = splits["val_loc"], splits["train_loc"]


def train_on_unseen(splits, images):
    splits["train_loc"] = np.concatenate([splits["train_loc"], splits["test_unseen_loc"][:1]])


SPLITS = r"other classes or other images in trainval, test_seen or test_unseen \(att_splits.mat\)"
TRAIN_VAL = r"other images in train or val \(att_splits.mat\)"
IMAGES = r"other images or labels, or in another order \(res101.mat\)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_class_names, SPLITS),
        (change_class_order, f"{SPLITS} and {IMAGES}"),
        (change_image_order, f"{SPLITS} and {TRAIN_VAL} and {IMAGES}"),
        (change_a_label, IMAGES),
        (rename_an_image, IMAGES),
        (move_to_test_seen, f"{SPLITS} and {TRAIN_VAL}"),
        (drop_a_test_image, SPLITS),
        (repeat_a_test_image, SPLITS),
        (swap_train_and_val, TRAIN_VAL),
        (train_on_unseen, TRAIN_VAL),
    ],
)
def test_unknown_files_are_refused_or_marked_unknown(known, data_dir, change, message):
    edit(data_dir, change)
    refusal = (
        rf"is no known variant of MINI's split files: found {message}. "
        r"Take xlsa17.zip .*data.allow_unknown_split=true"
    )
    with pytest.raises(DataError, match=refusal):
        known.read_split(data_dir)
    split = known.read_split(data_dir, allow_unknown=True)
    assert split.variant == f"unknown {split.fingerprint()[:8]}"


def test_an_unknown_image_list_is_not_compared(known, data_dir):
    known = dataclasses.replace(known, official=dataclasses.replace(known.official, images=None))
    edit(data_dir, rename_an_image)
    assert known.read_split(data_dir).variant == "official"


def test_other_sizes_can_be_accepted(known, data_dir):
    def drop_an_attribute(splits, images):
        splits["att"] = splits["att"][:-1]

    edit(data_dir, drop_an_attribute)
    with pytest.raises(
        DataError, match=r"not MINI's official split.*data.allow_unknown_split=true"
    ):
        known.read_split(data_dir)
    split = known.read_split(data_dir, allow_unknown=True)
    assert split.class_attributes_CK.shape == (C, K - 1)
    assert split.variant.startswith("unknown ")


def test_a_benchmark_without_published_files_is_its_own(data_dir):
    assert MINI.read_split(data_dir).variant == "own"


def test_fingerprints_depend_on_the_limits_of_splits(data_dir):
    split = MINI.read_split(data_dir)
    rows = np.sort(split.indices["trainval"])
    cuts = [{**split.indices, "train": rows[:cut], "val": rows[cut:]} for cut in (3, 4)]
    first, second = (
        fingerprints(dataclasses.replace(split, indices=indices), ()) for indices in cuts
    )
    assert first.splits == second.splits
    assert first.train_val != second.train_val


class TestChosenTrainAndVal:
    @pytest.fixture
    def split(self, data_dir):
        edit(data_dir, drop_train_and_val)
        return MINI.read_split(data_dir)

    def test_classes_are_disjoint_and_test_images_excluded(self, split):
        chosen = with_train_and_val(split, fraction=0.33, seed=0)
        train, val = (set(chosen.indices[name]) for name in ("train", "val"))
        assert train | val == set(split.indices["trainval"])
        assert not train & val
        assert not set(chosen.labels_N[list(train)]) & set(chosen.labels_N[list(val)])
        assert len(chosen.classes_of("val")) == 2  # of six seen classes
        assert chosen.train_val == "drawn, fraction 0.33, seed 0"
        assert all(
            np.array_equal(chosen.indices[name], rows) for name, rows in split.indices.items()
        )

    def test_the_fingerprint_depends_on_the_choice(self, split):
        hashes = [
            with_train_and_val(split, fraction=0.33, seed=seed).fingerprint()
            for seed in (0, 0, 1, 2)
        ]
        assert hashes[0] == hashes[1]
        assert len({*hashes, split.fingerprint()}) > 2

    def test_train_and_val_of_the_file_are_kept(self, data_dir):
        edit(data_dir, leave)
        split = MINI.read_split(data_dir)
        assert with_train_and_val(split, fraction=0.33, seed=0) is split

    @pytest.mark.parametrize(
        ("num_seen", "fraction", "count"),
        [(150, 0.33, 50), (40, 0.33, 13), (2, 0.1, 1), (2, 0.9, 1)],
    )
    def test_number_of_val_classes(self, num_seen, fraction, count):
        seen = np.arange(num_seen) * 2
        val = split_classes(seen, fraction, seed=0)
        assert len(set(val)) == count
        assert np.isin(val, seen).all()
        assert (np.diff(val) > 0).all()

    def test_the_choice_never_changes(self):
        assert split_classes(np.arange(12), 0.33, seed=0).tolist() == [2, 4, 7, 9]

    @pytest.mark.parametrize(
        ("fraction", "num_seen"), [(0, 9), (1, 9), (-0.1, 9), (np.nan, 9), (0.5, 1)]
    )
    def test_wrong_fractions(self, fraction, num_seen):
        with pytest.raises(
            ConfigError,
            match=r"data.val_classes leaves no validation classes: "
            r"expected a fraction of two or more seen classes",
        ):
            split_classes(np.arange(num_seen), fraction, seed=0)
