"""The template of an own dataset works as soon as it has images, and overwrites nothing."""

import warnings

import pytest
from PIL import Image

from msdn_lit.data.benchmarks.attribute_table import read_attribute_table
from msdn_lit.data.benchmarks.folder import FolderBenchmark
from msdn_lit.data.benchmarks.template import write_template
from msdn_lit.errors import DataError


def read_split(folder):
    return FolderBenchmark("own", folder, fraction=0.2, seed=0).read_split(folder)


def test_it_works_with_images(tmp_path):
    write_template(tmp_path / "new" / "own")
    for name in ("giraffe", "horse", "tiger", "zebra"):
        for number in range(2):
            Image.new("RGB", (4, 3)).save(
                tmp_path / "new" / "own" / "images" / name / f"{number}.jpg"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = read_split(tmp_path / "new" / "own")
    assert {name: len(rows) for name, rows in split.indices.items()} == {
        "trainval": 3,
        "test_seen": 3,
        "test_unseen": 2,
    }
    assert split.class_attributes_CK.shape == (4, 5)


def test_without_images_it_reports_them_missing(tmp_path):
    write_template(tmp_path)
    with pytest.raises(DataError, match=r"images/giraffe has no images"):
        read_split(tmp_path)


def test_the_yaml_example_in_the_readme_is_valid(tmp_path):
    write_template(tmp_path / "template")
    lines = (tmp_path / "template" / "README.txt").read_text().splitlines()
    example = "\n".join(line for line in lines if line.startswith("    ") and ": {" in line)
    (tmp_path / "attributes.yaml").write_text(example.replace("    ", ""))
    assert read_attribute_table(tmp_path).attribute_names == ("stripes", "hooves")


@pytest.mark.parametrize(
    "name", ["attributes.csv", "unseen.txt", "README.txt", "images/README.txt"]
)
def test_nothing_is_overwritten(tmp_path, name):
    (tmp_path / "images").mkdir()
    (tmp_path / name).write_text("mine")
    with pytest.raises(
        DataError, match=rf"is in use: expected none of the template's files, found {name}"
    ):
        write_template(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_text() for path in files] == ["mine"]


def test_a_folder_that_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file cannot be written \(Not a directory"):
        write_template(tmp_path / "file")
