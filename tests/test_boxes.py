"""aPascal/aYahoo, whose images are boxes in image files: two image folders, three tables."""

import dataclasses

import numpy as np
import pytest

from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.errors import DataError

APY = BENCHMARKS["APY"]
FILES = (
    "VOC2008/JPEGImages/a.jpg",
    "VOC2008/JPEGImages/a.jpg",
    "/x/JPEGImages/b.jpg",
    "/x/ayahoo_test_images/bag_1.jpg",
)
TABLES = {
    "apascal_train": "a.jpg cat 1 1 5 4 0 1 0\na.jpg person 2 3 2 3 1 1 1\n",
    "apascal_test": "b.jpg cat 0 2 7 9 0 0 1\n",
    "ayahoo_test": "bag_1.jpg bag 10 20 300 400 1 0 0\n",
}


@pytest.fixture
def split(tmp_path):
    nothing = np.zeros((3, 2), dtype=np.float32)
    return ProposedSplit(
        tmp_path, ("bag", "cat", "person"), nothing, FILES, np.array([1, 2, 1, 0]), {}
    )


@pytest.fixture
def data_dir(tmp_path):
    for folder in ("VOCdevkit/VOC2008/JPEGImages", "ayahoo_test_images", "attribute_data"):
        (tmp_path / folder).mkdir(parents=True)
    for name, text in TABLES.items():
        (tmp_path / "attribute_data" / f"{name}.txt").write_text(text)
    return tmp_path


def test_boxes_are_converted_for_crop(split, data_dir):
    boxes = APY.image_boxes(split, data_dir)
    assert boxes == [(0, 0, 5, 4), (1, 2, 2, 3), (0, 1, 7, 9), (9, 19, 300, 400)]
    image_HW = np.arange(20).reshape(4, 5)
    left, upper, right, lower = boxes[1]
    # VOC counts pixels from 1, and both corners are inside the box.
    assert image_HW[upper:lower, left:right].tolist() == [[image_HW[3 - 1, 2 - 1]]]


def test_images_are_in_two_folders(split, data_dir):
    voc, yahoo = data_dir / "VOCdevkit" / "VOC2008" / "JPEGImages", data_dir / "ayahoo_test_images"
    assert APY.relative_paths(split) == ["a.jpg", "a.jpg", "b.jpg", "bag_1.jpg"]
    assert APY.image_paths(split, data_dir) == [
        voc / "a.jpg",
        voc / "a.jpg",
        voc / "b.jpg",
        yahoo / "bag_1.jpg",
    ]


def test_a_missing_image_folder(split, data_dir):
    (data_dir / "ayahoo_test_images").rmdir()
    with pytest.raises(
        DataError,
        match=r"The images of APY are missing: expected a folder at .*ayahoo_test_images",
    ):
        APY.image_paths(split, data_dir)


def test_a_path_of_another_benchmark(split):
    split = dataclasses.replace(
        split, image_files=(*FILES[:2], "CUB_200_2011/images/a.jpg", FILES[3])
    )
    with pytest.raises(
        DataError,
        match=r"image_files\[2\] is not a path of APY: expected '.*JPEGImages.*' or '.*ayahoo",
    ):
        APY.relative_paths(split)


def test_other_benchmarks_have_no_boxes(split, data_dir):
    assert BENCHMARKS["CUB"].image_boxes(split, data_dir) is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "apascal_test",
            "",
            r"apascal_train.txt, .* do not fit the split: expected 4 boxes, found 3",
        ),
        (
            "apascal_train",
            "a.jpg person 2 3 2 3\na.jpg cat 1 1 5 4",
            r"line 1 is not image 0.*a.jpg cat, found a.jpg person",
        ),
        (
            "apascal_test",
            "c.jpg cat 1 2 3 4",
            r"apascal_test.txt, line 1 is not image 2.*b.jpg cat, found c.jpg cat",
        ),
        (
            "ayahoo_test",
            "bag_1.jpg bag 1 2 3",
            r"line 1 is not a box: expected image class x1 y1 x2 y2, found 'bag_1.jpg",
        ),
        ("ayahoo_test", "bag_1.jpg bag 1 2 3 x\n", r"line 1 is not a box"),
        ("ayahoo_test", "\n", r"line 1 is not a box"),
        (
            "ayahoo_test",
            "bag_1.jpg bag 4 2 3 9\n",
            r"line 1: the box is empty: found \(4, 2, 3, 9\)",
        ),
        ("ayahoo_test", "bag_1.jpg bag 4 2 9 0\n", r"the box is empty"),
        ("ayahoo_test", "\xff", r"ayahoo_test.txt is not UTF-8 .*Unpack attribute_data"),
    ],
)
def test_tables_that_do_not_fit(split, data_dir, name, text, message):
    (data_dir / "attribute_data" / f"{name}.txt").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=message):
        APY.image_boxes(split, data_dir)


def test_missing_table(split, data_dir):
    (data_dir / "attribute_data" / "ayahoo_test.txt").unlink()
    with pytest.raises(
        DataError, match=r"ayahoo_test.txt is missing. Unpack attribute_data.tar.gz"
    ):
        APY.image_boxes(split, data_dir)


def test_attribute_names_with_numbers_in_them(data_dir):
    names = ["2D Boxy", "3D Boxy", "Round", *(f"part {k}" for k in range(61))]
    (data_dir / "attribute_data" / "attribute_names.txt").write_text("\n".join(names) + "\n")
    assert APY.attribute_names(data_dir, 64) == tuple(names)
    assert APY.attribute_words(data_dir, 64)[:3] == (("d", "boxy"), ("d", "boxy"), ("round",))
