"""The user's own dataset: the same problem on every machine, and a message for every mistake."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from msdn_lit.build import task as build
from msdn_lit.data.benchmarks.folder import FolderBenchmark
from msdn_lit.data.benchmarks.published import find_benchmark
from msdn_lit.data.features.extraction import write_store
from msdn_lit.data.features.image_files import IMAGE_SUFFIXES, find_images
from msdn_lit.data.features.store import (
    AS_IN_PREDICTION,
    DECODING,
    Manifest,
    hash_image_list,
)
from msdn_lit.data.splits.holdout import split_images
from msdn_lit.errors import ConfigError, DataError
from tests import miniature

TABLE = {
    "zebra": {"stripes": "1", "hooves": "1", "size": "0.5"},
    "cat": {"stripes": "0", "hooves": "0", "size": "0.1"},
    "Éléphant d'Afrique": {"stripes": "0", "hooves": "0.2", "size": "1"},
    "tiger": {"stripes": "1", "hooves": "0", "size": "0.6"},
}
IMAGES = {"zebra": 3, "cat": 5, "Éléphant d'Afrique": 10, "tiger": 1}


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)


def csv_text(table=TABLE, separator=","):
    rows = [
        ["class", *next(iter(table.values()))],
        *([name, *values.values()] for name, values in table.items()),
    ]
    return "\n".join(map(separator.join, rows)) + "\n"


@pytest.fixture
def folder(tmp_path):
    """Four classes with images, a table and one unseen class; tests damage it."""
    own = tmp_path / "own"
    for name, count in IMAGES.items():
        for number in range(count):
            write_image(own / "images" / name / f"{number}.png")
    (own / "attributes.csv").write_text(csv_text(), encoding="utf-8")
    (own / "unseen.txt").write_text("# not seen in training\nzebra\n\n")
    return own


def read(folder, fraction=0.2, seed=0):
    return FolderBenchmark("own", folder, fraction, seed).read_split(folder)


class TestSplit:
    def test_content(self, folder):
        split = read(folder)
        assert split.class_names == ("cat", "tiger", "zebra", "Éléphant d'Afrique")
        expected_CK = [
            [float(value) for value in TABLE[name].values()] for name in split.class_names
        ]
        np.testing.assert_allclose(split.class_attributes_CK, expected_CK)
        assert [file.split("/")[0] for file in split.image_files] == [
            split.class_names[c] for c in split.labels_N
        ]
        assert split.image_files[:2] == ("cat/0.png", "cat/1.png")
        assert {name: len(rows) for name, rows in split.indices.items()} == {
            "trainval": 4 + 8 + 1,
            "test_seen": 1 + 2,
            "test_unseen": 3,
        }
        assert sorted(np.concatenate(list(split.indices.values()))) == list(range(19))
        assert [split.class_names[c] for c in split.classes_of("test_unseen")] == ["zebra"]
        assert (split.variant, split.train_val) == ("own", "none")

    def test_interface(self, folder):
        benchmark = find_benchmark("mine", str(folder), {"fraction": 0.2, "seed": 0})
        split = benchmark.read_split(folder / "unused", allow_unknown=True)
        assert (benchmark.name, benchmark.make, benchmark.image_boxes(split, folder)) == (
            "mine",
            None,
            None,
        )
        assert all(path.is_file() for path in benchmark.image_paths(split, folder))
        assert benchmark.relative_paths(split) == list(split.image_files)
        assert benchmark.attribute_names(folder, 3) == ("stripes", "hooves", "size")
        assert benchmark.attribute_words(folder, 3) == (("stripes",), ("hooves",), ("size",))

    def test_the_seed_decides(self, folder):
        prints = [read(folder, seed=seed).fingerprint() for seed in (0, 0, 1)]
        assert prints[0] == prints[1] != prints[2]

    def test_the_unicode_form_and_order_of_files_do_not_matter(self, folder, tmp_path):
        benchmark, other = (
            FolderBenchmark("own", root, 0.2, 0) for root in (folder, tmp_path / "decomposed")
        )
        for name in reversed(IMAGES):
            for number in reversed(range(IMAGES[name])):
                write_image(
                    other.folder / "images" / unicodedata.normalize("NFD", name) / f"{number}.png"
                )
        (other.folder / "attributes.csv").write_text(
            csv_text(dict(reversed(TABLE.items()))), encoding="utf-8"
        )
        (other.folder / "unseen.txt").write_text("zebra")
        first, second = (item.read_split(folder) for item in (benchmark, other))
        assert benchmark.relative_paths(first) == other.relative_paths(second)
        assert first.fingerprint() == second.fingerprint()
        assert (first.class_names, first.labels_N.tolist()) == (
            second.class_names,
            second.labels_N.tolist(),
        )
        assert all(
            np.array_equal(first.indices[name], second.indices[name]) for name in first.indices
        )
        assert all(path.is_file() for path in other.image_paths(second, folder))

    def test_other_files_are_ignored(self, folder):
        before = read(folder).image_files
        for name in (
            "images/README.md",
            "images/cat/notes.txt",
            "images/cat/.hidden.png",
            "images/.cache/x.png",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("x")
        assert read(folder).image_files == before

    @pytest.mark.parametrize("suffix", [*sorted(IMAGE_SUFFIXES), ".JPEG"])
    def test_suffixes_of_images(self, folder, suffix):
        path = folder / "images" / "tiger" / f"photo{suffix}"
        write_image(path.with_suffix(".png"))
        path.with_suffix(".png").rename(path)
        assert f"tiger/photo{suffix}" in read(folder).image_files
        assert path in find_images([str(folder / "images")])

    @pytest.mark.fault("images")
    def test_images_that_are_not_read_are_counted_and_named(self, folder, caplog):
        before = read(folder).image_files
        assert caplog.text == ""
        cat = folder / "images" / "cat"
        for name in ("a.HEIC", "b.heic", "c.jxl", "d.svg", "e.cr2", "f.jpg~"):
            (cat / name).write_bytes(b"x")
        (cat / "DSC_0001").write_bytes(b"\xff\xd8\xff\xe0\0")
        for name in ("README", "notes.txt", "Thumbs.db", "desktop.ini", "._a.jpg", ".DS_Store"):
            (cat / name).write_text("text")
        (folder / "images" / "__MACOSX" / "cat").mkdir(parents=True)
        os.mkfifo(cat / "pipe")  # opening it would wait for ever
        assert read(folder).image_files == before
        (line,) = caplog.messages
        assert line == (
            f"{folder / 'images'}: 7 of 26 images are not read (2 .heic, 1 without ending, 1 .jxl, "
            "1 .svg, 1 .cr2, ...), first cat/DSC_0001. Convert them to JPEG or PNG."
        )
        caplog.clear()
        assert len(find_images([str(folder / "images")])) == 19
        (line,) = caplog.messages
        assert "7 of 26 images are not read (2 .heic" in line

    @pytest.mark.fault("images")
    def test_images_in_no_class_folder_are_named(self, folder, caplog):
        write_image(folder / "images" / "loose.png")
        (folder / "images" / "other.heic").write_bytes(b"x")
        (folder / "images" / "README.md").write_text("x")
        read(folder)
        assert "2 images are in no class folder, first loose.png. Move them" in caplog.text

    @pytest.mark.fault("images")
    def test_a_class_of_images_that_are_not_read(self, folder):
        (folder / "images" / "tiger" / "0.png").rename(folder / "images" / "tiger" / "0.heic")
        with pytest.raises(DataError, match=r"tiger has no images.*found 1 .heic. Convert them to"):
            read(folder)
        with pytest.raises(DataError, match=r"tiger has no images.*found 1 .heic. Convert them to"):
            find_images([str(folder / "images" / "tiger")])

    def test_postscript_is_not_an_image(self, folder):
        (folder / "images" / "tiger" / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0")
        assert "tiger/drawing.eps" not in read(folder).image_files
        assert ".eps" not in {path.suffix for path in find_images([str(folder / "images")])}


class TestHoldOut:
    @pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
    def test_against_the_rule(self, fraction):
        labels_N = np.repeat(np.arange(6), [1, 2, 3, 5, 10, 100])
        held_N = split_images(labels_N, fraction, seed=3, keep_some=True)
        for label, n in enumerate([1, 2, 3, 5, 10, 100]):
            count = held_N[labels_N == label].sum()
            assert count == (0 if n == 1 else np.clip(round(fraction * n), 1, n - 1))

    @pytest.mark.parametrize("fraction", [0, 1, -1, np.nan])
    def test_a_wrong_fraction(self, fraction):
        with pytest.raises(
            ConfigError, match=r"hold-out fraction is wrong: expected between 0 and 1"
        ):
            split_images(np.zeros(4, dtype=int), fraction, seed=0, keep_some=True)


class TestFolders:
    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16-be"])
    @pytest.mark.parametrize("name", ["attributes.csv", "unseen.txt"])
    def test_other_encodings(self, folder, name, encoding):
        (folder / name).write_text((folder / name).read_text() + "Éléphant", encoding=encoding)
        with pytest.raises(DataError, match=rf"{name} is not UTF-8 .*Save it as UTF-8"):
            read(folder)

    def test_no_table_or_two(self, folder):
        (folder / "attributes.yaml").write_text("x: {a: 1}")
        with pytest.raises(
            DataError,
            match=r"has two tables of attributes: "
            r"expected attributes.csv or attributes.yaml, not both",
        ):
            read(folder)
        for name in ("attributes.csv", "attributes.yaml"):
            (folder / name).unlink()
        with pytest.raises(
            DataError,
            match=r"has no table of attributes: expected attributes.csv or attributes.yaml. "
            r"msdn init-dataset DIR writes an example",
        ):
            read(folder)

    def test_no_images_at_all(self, folder):
        (folder / "images").rename(folder / "renamed")
        with pytest.raises(
            DataError,
            match=r"images is not a readable folder \(No such file.*msdn init-dataset DIR writes",
        ):
            read(folder)

    def test_a_class_without_a_folder(self, folder):
        (folder / "images" / "tiger").rename(folder / "images" / "tigre")
        with pytest.raises(
            DataError,
            match=r"'tiger' has attributes but no folder in images/. Did you mean 'tigre'\?",
        ):
            read(folder)

    def test_a_folder_without_attributes(self, folder):
        write_image(folder / "images" / "zebras" / "1.png")
        with pytest.raises(
            DataError,
            match=r"'zebras' has a folder in images/ but no attributes. Did you mean 'zebra'\?",
        ):
            read(folder)

    def test_an_empty_class(self, folder):
        (folder / "images" / "tiger" / "0.png").rename(folder / "images" / "tiger" / "0.heic")
        with pytest.raises(
            DataError, match=r"tiger has no images: expected files .avif .bmp .gif .jfif"
        ):
            read(folder)

    def test_a_nested_folder(self, folder):
        write_image(folder / "images" / "cat" / "kittens" / "1.png")
        with pytest.raises(
            DataError,
            match=r"kittens is a folder inside a class folder: expected images. Move its images up",
        ):
            read(folder)

    @pytest.mark.parametrize("link", ["images/loop", "images/cat/loop.jpg"])
    @pytest.mark.parametrize("target", ["loop", "loop.jpg", "nowhere"])
    def test_broken_links(self, folder, link, target):
        os.symlink(target, folder / link)
        with pytest.raises(DataError, match=r"loop(.jpg)? is a broken link"):
            read(folder)

    def test_a_link_to_a_folder_above(self, folder):
        os.symlink("..", folder / "images" / "loop")
        with pytest.raises(DataError, match=r"loop/images is a folder inside a class folder"):
            read(folder)

    def test_linked_images_are_images(self, folder, tmp_path):
        (folder / "images" / "cat").rename(tmp_path / "elsewhere")
        os.symlink(tmp_path / "elsewhere", folder / "images" / "cat")
        assert "cat/0.png" in read(folder).image_files

    def test_two_folders_of_one_name(self, folder):
        name = unicodedata.normalize("NFD", "Éléphant d'Afrique")
        write_image(folder / "images" / name / "1.png")
        with pytest.raises(
            DataError, match=r"another folder has the same name. Rename or merge them"
        ):
            read(folder)

    def test_no_image_to_test_on(self, folder):
        for name in IMAGES:
            for path in sorted((folder / "images" / name).iterdir())[1:]:
                path.unlink()
        with pytest.raises(
            DataError, match=r"no seen class has an image to test on: expected two or more images"
        ):
            read(folder)

    def test_an_image_that_has_gone(self, folder):
        benchmark = FolderBenchmark("own", folder, 0.2, 0)
        split = benchmark.read_split(folder)
        (folder / "images" / "cat" / "3.png").unlink()
        with pytest.raises(DataError, match=r"cat/3.png is missing. Put it back"):
            benchmark.image_paths(split, folder)


class TestUnseen:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("zebro", r"unseen.txt: there is no class 'zebro'. Did you mean 'zebra'\?"),
            ("xylophone", r"there is no class 'xylophone'.$"),
            ("zebra\ncat\n zebra ", "'zebra' occurs twice. Remove one"),
            (
                "",
                "does not form a zero-shot problem: "
                "expected one unseen, two seen classes, found 0 unseen, 4 seen",
            ),
            ("#zebra", "found 0 unseen, 4 seen"),
            ("zebra\ncat\ntiger", "found 3 unseen, 1 seen"),
        ],
    )
    def test_wrong_lists(self, folder, text, message):
        (folder / "unseen.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            read(folder)

    def test_missing(self, folder):
        (folder / "unseen.txt").unlink()
        with pytest.raises(DataError, match=r"unseen.txt is missing. msdn init-dataset DIR writes"):
            read(folder)

    def test_a_folder_instead_of_the_file(self, folder):
        (folder / "unseen.txt").unlink()
        (folder / "unseen.txt").mkdir()
        with pytest.raises(DataError, match=r"unseen.txt cannot be read"):
            read(folder)


class TestNames:
    def test_a_folder_must_not_have_a_published_name(self, folder):
        with pytest.raises(
            DataError,
            match=r"has a published benchmark's name: expected .*data.benchmark=NAME, found CUB",
        ):
            find_benchmark("CUB", str(folder), {"fraction": 0.2, "seed": 0})

    def test_a_missing_folder_option(self):
        with pytest.raises(
            DataError, match=r"or a folder of your own: data=folder data.folder=DIR, found 'folder'"
        ):
            find_benchmark("folder")


def test_training_reads_it_like_any_benchmark(folder, tmp_path, load_config):
    split = read(folder)
    regions = np.zeros((len(split.labels_N), 4, 12), dtype=np.float16)
    source = miniature.SOURCE | {DECODING: AS_IN_PREDICTION}
    manifest = Manifest(source, hash_image_list(split.image_files), regions.shape, (2, 2), "none")
    write_store(tmp_path / "store", manifest, miniature.GivenRegions(regions), batch_size=32)
    (tmp_path / "glove.txt").write_text("size 1 2\nstripes 3 4\n")
    cfg = load_config(
        *miniature.FEATURES,
        "data=folder",
        "data.benchmark=own",
        "protocol=validation",
        f"data.folder={folder}",
        f"data.store_dir={tmp_path / 'store'}",
        f"data.semantics.word_vectors={tmp_path / 'glove.txt'}",
    )
    data = build.datamodule(cfg)
    assert (data.split.variant, data.split.train_val) == ("own", "drawn, fraction 0.33, seed 0")
    assert (len(data.semantics.seen), len(data.semantics.unseen)) == (2, 1)
    assert not set(data.semantics.seen) & set(data.semantics.unseen)
    assert (
        len(data.dataset("val")) + len(data.indices["train"]) + len(data.indices["val_seen"]) == 13
    )
    assert data.semantics.attribute_vectors_KE.tolist() == [[3, 4], [0, 0], [1, 2]]
    assert data.semantics.word_vectors["without_vector"] == ["hooves"]
    assert data.attribute_names == ("stripes", "hooves", "size")
