"""The synthetic benchmark: the real benchmarks' file formats, and parts at the stated locations."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from msdn_lit.data.benchmarks import drawing, synthetic
from msdn_lit.data.benchmarks.published import BENCHMARKS, find_benchmark
from msdn_lit.data.words.tables import read_word_vectors
from msdn_lit.errors import DataError

SEEN, UNSEEN = 20, 10


@pytest.fixture(scope="module")
def small():
    """The same classes with 5 images per seen and 2 per unseen class, drawn in a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "IMAGES_PER_SEEN", 5)
        patch.setattr(synthetic, "TEST_IMAGES_PER_SEEN", 2)
        patch.setattr(synthetic, "IMAGES_PER_UNSEEN", 2)
        benchmark = BENCHMARKS["SYNTHETIC"]
        patch.setitem(
            BENCHMARKS, "SYNTHETIC", replace(benchmark, sizes=(30, 10, 26, 5 * SEEN + 2 * UNSEEN))
        )
        yield patch


@pytest.fixture(scope="module")
def data_dir(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    synthetic.write_synthetic(folder)
    return folder


@pytest.fixture
def split(data_dir):
    return find_benchmark("SYNTHETIC").read_split(data_dir)


def pixels(data_dir):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(data_dir.rglob("*.png"))}


def landmarks(data_dir):
    with (data_dir / "SYNTHETIC" / "parts.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_read_like_any_benchmark(data_dir, split):
    assert split.class_attributes_CK.shape == (30, 26)
    assert {name: len(rows) for name, rows in split.indices.items()} == {
        "trainval": 60,
        "test_seen": 40,
        "test_unseen": 20,
        "train": 45,
        "val": 15,
    }
    assert len(split.classes_of("train")) == 15
    assert len(split.classes_of("test_unseen")) == UNSEEN
    assert not np.intersect1d(split.classes_of("train"), split.classes_of("val")).size
    for path, label in zip(
        find_benchmark("SYNTHETIC").image_paths(split, data_dir), split.labels_N, strict=True
    ):
        assert path.is_file()
        assert path.parent.name == split.class_names[label]


def test_files_are_in_the_official_form(data_dir):
    folder = data_dir / "xlsa17" / "data" / "SYNTHETIC"
    splits, images = loadmat(folder / "att_splits.mat"), loadmat(folder / "res101.mat")
    for name in ("trainval_loc", "train_loc", "val_loc", "test_seen_loc", "test_unseen_loc"):
        assert splits[name].dtype == np.uint16
        assert splits[name].shape == (splits[name].size, 1)
        assert splits[name].min() >= 1
    assert splits["att"].shape == splits["original_att"].shape == (26, 30)
    np.testing.assert_allclose(np.linalg.norm(splits["att"], axis=0), 1)
    assert images["image_files"].shape == images["labels"].shape == (120, 1)
    assert images["image_files"][0, 0][0].startswith("/home/author/")
    assert images["labels"].min() == 1
    with_leak = np.union1d(splits["train_loc"], splits["val_loc"])
    np.testing.assert_array_equal(
        with_leak, np.union1d(splits["trainval_loc"], splits["test_seen_loc"])
    )


def test_every_attribute_occurs_in_every_part_of_the_split(split):
    has_CK = split.class_attributes_CK > 0.5 * split.class_attributes_CK.max()
    assert has_CK.sum(axis=1).tolist() == [6] * 30
    for name in ("train", "val", "test_unseen"):
        assert has_CK[split.classes_of(name)].any(axis=0).all()


def test_unseen_classes_are_new_combinations():
    world = synthetic.make_world()
    assert all(
        (world.values_CT[a] != world.values_CT[b]).sum() >= 2 for a, b in combinations(range(30), 2)
    )
    assert np.bincount(np.concatenate(list(world.roles.values()))).tolist() == [1] * 30


def test_sizes_are_those_of_the_whole_benchmark():
    assert synthetic.SIZES == (30, 10, 26, 1300)
    assert len(synthetic.ATTRIBUTES) == len(set(synthetic.ATTRIBUTES)) == 26


def test_word_vectors_are_sums_over_words(data_dir):
    vectors_KE = read_word_vectors(data_dir / "w2v" / "SYNTHETIC_attribute.pkl", 26)
    of = dict(zip(synthetic.ATTRIBUTES, vectors_KE, strict=True))
    np.testing.assert_allclose(
        of["crown::red"] - of["belly::red"], of["crown::blue"] - of["belly::blue"], atol=1e-6
    )
    assert np.linalg.matrix_rank(vectors_KE) > 10


def test_parts_are_at_the_stated_locations(data_dir, split):
    attributes = (data_dir / "SYNTHETIC" / "attributes.txt").read_text().split()[1::2]
    has_CK = split.class_attributes_CK > 0.5 * split.class_attributes_CK.max()
    rows = landmarks(data_dir)
    assert len(rows) == 120 * len(drawing.PARTS)
    for row in rows:
        name = row["image"].split("/")[0]
        values = [attributes[k] for k in np.flatnonzero(has_CK[split.class_names.index(name)])]
        x, y, radius = (float(row[key]) for key in ("x", "y", "radius"))
        assert min(x, y) > 0
        assert max(x, y) < drawing.SIDE
        assert radius > 2
        image_HW3 = np.asarray(
            Image.open(data_dir / "SYNTHETIC" / "images" / row["image"]), dtype=float
        )
        centre_3 = image_HW3[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean(axis=(0, 1))
        nearest = min(
            drawing.PALETTE, key=lambda colour: np.linalg.norm(centre_3 - drawing.PALETTE[colour])
        )
        assert f"{row['part']}::{nearest}" in values, row


def test_a_second_drawing_has_the_same_pixels(data_dir, tmp_path):
    synthetic.write_synthetic(tmp_path)
    again, once = pixels(tmp_path), pixels(data_dir)
    assert again.keys() == once.keys()
    assert all(np.array_equal(again[name], once[name]) for name in once)
    assert landmarks(tmp_path) == landmarks(data_dir)
    assert find_benchmark("SYNTHETIC").read_split(tmp_path).fingerprint() == (
        find_benchmark("SYNTHETIC").read_split(data_dir).fingerprint()
    )


def test_no_two_images_are_equal(data_dir):
    assert len({image.tobytes() for image in pixels(data_dir).values()}) == 120


def test_a_complete_benchmark_is_kept(data_dir, monkeypatch):
    monkeypatch.setattr(synthetic, "draw_bird", lambda *_: pytest.fail("drew again"))
    synthetic.write_synthetic(data_dir)


@pytest.fixture
def blank_images(small, monkeypatch):
    monkeypatch.setattr(synthetic, "draw_bird", lambda *_: (Image.new("RGB", (4, 4)), []))


@pytest.fixture
def interrupted_drawing(small, monkeypatch):
    calls = iter(range(7))

    def draw(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return drawing.draw_bird(*arguments)

    monkeypatch.setattr(synthetic, "draw_bird", draw)


@pytest.mark.usefixtures("interrupted_drawing")
def test_interrupted_drawing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        synthetic.write_synthetic(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.usefixtures("blank_images")
def test_interrupted_renaming_is_repaired(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(synthetic.os, "replace", fail)
        with pytest.raises(
            DataError, match=r"cannot be written to .*no space left.*paths\.data_dir"
        ):
            synthetic.write_synthetic(tmp_path)
    assert not (tmp_path / "SYNTHETIC").exists()
    synthetic.write_synthetic(tmp_path)
    find_benchmark("SYNTHETIC").read_split(tmp_path)


@pytest.mark.usefixtures("blank_images")
def test_another_version_replaces_the_old_one_under_new_names(tmp_path, monkeypatch):
    synthetic.write_synthetic(tmp_path)
    old = pixels(tmp_path)
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    synthetic.write_synthetic(tmp_path)
    assert len(pixels(tmp_path)) == len(old)
    # Otherwise a feature store of the old images would still be valid.
    assert not old.keys() & pixels(tmp_path).keys()


def test_a_folder_that_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        synthetic.write_synthetic(tmp_path / "file" / "data")


@pytest.mark.slow
def test_the_demo_learns(tmp_path):
    paths = [
        f"paths.data_dir={tmp_path}",
        f"paths.feature_dir={tmp_path}",
        f"paths.run_dir={tmp_path / 'run'}",
    ]
    for command in ("extract", "train"):
        subprocess.run(
            [sys.executable, "-m", "msdn_lit", command, "experiment=demo", *paths],
            check=True,
            timeout=600,
        )
    scores = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]["last"]
    assert 0.60 <= scores["harmonic_mean"] <= 0.95
    assert 0.75 <= scores["acc_czsl"] <= 0.97
