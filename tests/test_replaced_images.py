"""Images that are replaced under the same names: noticed, and only they are extracted again."""

import json
import multiprocessing
import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from msdn_lit.build.task import datamodule
from msdn_lit.commands.data import extract
from msdn_lit.data.features import extraction
from msdn_lit.data.features import writer as store_writer
from msdn_lit.data.features.extraction import BackboneRegions, write_store
from msdn_lit.data.features.image_table import IMAGES, find_replaced
from msdn_lit.data.features.images import ImageFiles, ImageTransform
from msdn_lit.data.features.store import MANIFEST, REGIONS, FeatureStore, Manifest
from msdn_lit.data.features.writer import PARTIAL, PLAN, PROGRESS
from msdn_lit.data.inventory import inspect_stores
from msdn_lit.errors import DataError
from tests.helpers import png

N, BATCH = 20, 6
FORK = multiprocessing.get_context("fork")


class Means:
    """A backbone whose only region is the mean colour; it counts its images."""

    def __init__(self):
        self.num_images = 0

    def feature_map(self, images):
        self.num_images += len(images)
        return torch.nn.functional.adaptive_avg_pool2d(images, 1)


@pytest.fixture(autouse=True)
def _sync_at_once(monkeypatch):
    monkeypatch.setattr(store_writer, "SECONDS_BETWEEN_SYNCS", 0)
    monkeypatch.setattr(extraction, "POLL_SECONDS", 0.01)


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{row}.png" for row in range(N)]
    for row, path in enumerate(paths):
        paint(path, row)
    return paths


def paint(path, value):
    Image.new("RGB", (8, 8), (value, value, value)).save(path)


def make(folder, paths, *, versions=None, skip=False):
    """Makes or completes the store; returns the number of computed images."""
    backbone = Means()
    images = ImageFiles(paths, ImageTransform(8, (0.0,) * 3, (1.0,) * 3))
    regions = BackboneRegions(images, backbone, torch.device("cpu"), "fp32", 0, skip)
    manifest = Manifest({"name": "x"}, "", (N, 1, 3), (1, 1), "means", versions or {})
    progress = []
    write_store(folder, manifest, regions, BATCH, progress.append, paths)
    assert progress == sorted(progress)
    assert all(num_done <= N for num_done in progress)
    return backbone.num_images


def values(folder):
    """Values of the images that the features show."""
    store = FeatureStore(folder)
    return (store.gather(np.arange(N))[:, 0, 0].astype(float) * 255).round().astype(int).tolist()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def age(path, seconds=10):
    """Moves the time of a file."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + seconds * 10**9))


class TestStores:
    def test_nothing_changed(self, tmp_path, paths):
        assert make(tmp_path / "store", paths) == N
        before = content(tmp_path / "store")
        assert before.keys() == {REGIONS, MANIFEST, IMAGES}
        assert make(tmp_path / "store", paths) == 0
        assert content(tmp_path / "store") == before

    @pytest.mark.fault("records")
    @pytest.mark.parametrize("rows", [[3], [0, 19], [6, 7, 8], list(range(N))])
    def test_what_was_replaced_is_extracted_again(self, tmp_path, paths, rows):
        folder = tmp_path / "store"
        make(folder, paths)
        regions = np.lib.format.open_memmap(folder / REGIONS, mode="r+")
        regions[10] = 7  # a mark: an image that was not replaced is not written
        regions.flush()
        for row in rows:
            paint(paths[row], 100 + row)
        assert find_replaced(folder, paths) == rows
        assert make(folder, paths) == sum(min(BATCH, N - b) for b in {r // 6 * 6 for r in rows})
        expected = [100 + row if row in rows else row for row in range(N)]
        if 10 not in rows:
            expected[10] = 7 * 255
        assert values(folder) == expected
        assert content(folder).keys() == {REGIONS, MANIFEST, IMAGES}
        assert find_replaced(folder, paths) == []
        if 10 in rows:
            make(tmp_path / "new", paths)
            assert content(folder) == content(tmp_path / "new")

    @pytest.mark.fault("records")
    def test_a_replaced_image_of_the_same_size_is_noticed(self, tmp_path, paths):
        make(tmp_path / "store", paths)
        data = bytearray(paths[4].read_bytes())
        data[-20] ^= 1
        paths[4].write_bytes(data)
        age(paths[4])
        assert find_replaced(tmp_path / "store", paths) == [4]

    def test_the_same_content_at_another_time_is_recorded(self, tmp_path, paths, monkeypatch):
        folder = tmp_path / "store"
        make(folder, paths)
        before = content(folder)
        for path in paths:
            age(path)
        assert find_replaced(folder, paths) == []
        assert content(folder) == before
        assert find_replaced(folder, paths, record_times=True) == []
        table = np.load(folder / IMAGES)
        assert table["mtime_ns"].tolist() == [path.stat().st_mtime_ns for path in paths]
        assert {name: data for name, data in content(folder).items() if name != IMAGES} == {
            name: data for name, data in before.items() if name != IMAGES
        }

    def test_images_that_are_gone_are_not_needed(self, tmp_path, paths):
        make(tmp_path / "store", paths)
        shutil.rmtree(tmp_path / "images")
        assert find_replaced(tmp_path / "store", paths) == []

    @pytest.mark.fault("records")
    def test_a_repaired_image_is_no_longer_left_out(self, tmp_path, paths):
        paths[5].write_bytes(b"no image")
        make(tmp_path / "store", paths, skip=True)
        assert FeatureStore(tmp_path / "store").manifest.skipped == (5,)
        paint(paths[5], 5)
        make(tmp_path / "store", paths, skip=True)
        assert FeatureStore(tmp_path / "store").manifest.skipped == ()
        assert values(tmp_path / "store") == list(range(N))

    @pytest.mark.fault("records")
    def test_with_other_versions_everything_is_extracted_again(self, tmp_path, paths, caplog):
        make(tmp_path / "store", paths, versions={"torch": "1"})
        paint(paths[3], 103)
        assert make(tmp_path / "store", paths, versions={"torch": "2"}) == N
        assert "was made with other versions: it starts again" in caplog.text
        assert FeatureStore(tmp_path / "store").manifest.versions == {"torch": "2"}

    @pytest.mark.fault("records")
    @pytest.mark.parametrize("damage", [None, b"", b"no table", "short"])
    def test_a_store_without_a_table_is_kept(self, tmp_path, paths, damage):
        folder = tmp_path / "store"
        make(folder, paths)
        if damage is None:
            (folder / IMAGES).unlink()
        elif damage == "short":
            np.save(folder / IMAGES, np.load(folder / IMAGES)[:5])
        else:
            (folder / IMAGES).write_bytes(damage)
        paint(paths[3], 103)
        assert find_replaced(folder, paths) is None
        assert make(folder, paths) == 0
        assert values(folder) == list(range(N))


class Interrupt(Exception):
    pass


class TestInterruptions:
    @pytest.mark.fault("processes")
    def test_an_image_that_is_replaced_while_the_extraction_pauses(self, tmp_path, paths):
        folder, good = tmp_path / "store", paths[13].read_bytes()
        paths[13].write_bytes(b"broken")
        with pytest.raises(Exception, match="does not decode"):
            make(folder, paths)
        paths[13].write_bytes(good)
        paint(paths[2], 102)  # of a batch that is done
        assert make(folder, paths) == N
        assert values(folder) == [0, 1, 102, *range(3, N)]
        make(tmp_path / "new", paths)
        assert content(folder) == content(tmp_path / "new")

    @pytest.mark.fault("processes")
    @pytest.mark.parametrize("name", [PARTIAL, PROGRESS, PLAN, MANIFEST, REGIONS])
    def test_killed_while_the_store_is_reopened_or_published(
        self, tmp_path, paths, monkeypatch, name
    ):
        folder = tmp_path / "store"
        make(folder, paths)
        for row in (1, 14):
            paint(paths[row], 100 + row)

        def killed(*arguments):
            raise Interrupt

        step = {
            PARTIAL: (store_writer, "copy_file"),
            PROGRESS: (store_writer.ExtractionProgress, "mark"),
            PLAN: (store_writer, "write_atomically"),
            MANIFEST: (store_writer, "claims"),
            REGIONS: (store_writer, "hash_regions"),
        }[name]
        owner = store_writer.FeatureStoreWriter if name == MANIFEST else step[0]
        with monkeypatch.context() as patch:
            patch.setattr(owner, step[1], killed)
            with pytest.raises(Interrupt):
                make(folder, paths)
        make(folder, paths)
        assert values(folder) == [100 + row if row in (1, 14) else row for row in range(N)]
        make(tmp_path / "new", paths)
        assert content(folder) == content(tmp_path / "new")

    def test_a_training_that_reads_the_store_keeps_its_features(self, tmp_path, paths):
        make(tmp_path / "store", paths)
        reading = FeatureStore(tmp_path / "store")
        paint(paths[3], 103)
        make(tmp_path / "store", paths)
        assert reading.gather(np.array([3]))[0, 0, 0] * 255 == pytest.approx(3, abs=0.01)
        assert values(tmp_path / "store")[3] == 103

    @pytest.mark.fault("processes")
    def test_several_processes_at_once(self, tmp_path, paths):
        folder = tmp_path / "store"
        make(folder, paths)
        for row in (1, 8, 14):
            paint(paths[row], 100 + row)
        workers = [FORK.Process(target=make, args=(folder, paths)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        assert values(folder) == [100 + row if row in (1, 8, 14) else row for row in range(N)]


class TestCommands:
    @pytest.fixture
    def own(self, tmp_path, load_config):
        """A dataset of the user's own, and the config that extracts it with a tiny backbone."""
        folder = tmp_path / "own"
        rng = np.random.default_rng(0)
        for name in ("cat", "dog", "fox", "owl"):
            (folder / "images" / name).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
                (folder / "images" / name / f"{number}.png").write_bytes(png(pixels))
        table = "class,a,b\ncat,1,0\ndog,0,1\nfox,1,1\nowl,0.5,1\n"
        (folder / "attributes.csv").write_text(table)
        (folder / "unseen.txt").write_text("owl\n")
        words = [
            *("data=folder", f"data.folder={folder}", "data.benchmark=own"),
            *("features.name=tiny", "features.backbone.model_name=test_resnet"),
            *("features.backbone.pretrained=false", "features.backbone.weights_file=null"),
            *("features.transform.image_size=64", "features.num_workers=0"),
            *("features.device=cpu", f"paths.feature_dir={tmp_path}"),
        ]
        return folder, load_config(*words, name="extract"), tmp_path / "own_tiny"

    def test_extract_and_doctor_notice_them(self, own, caplog):
        folder, cfg, store = own
        extract.run(cfg)
        assert json.loads((store / MANIFEST).read_text())["source"]["decoding"]
        first = FeatureStore(store).gather(np.arange(12))
        (folder / "images" / "fox" / "1.png").write_bytes(png(np.zeros((40, 60, 3), np.uint8)))
        (state,) = inspect_stores(store.parent, verify=True)
        note = "complete, verified, but images were replaced (1): run msdn extract again"
        assert state.state == note
        assert caplog.text == ""
        datamodule(cfg)
        assert "1 images have another size or time than at the extraction, first " in caplog.text
        extract.run(cfg)
        text = "1 of 12 images were replaced since the extraction, first "
        assert text + f"{folder}/images/fox/1.png. They are extracted again" in caplog.text
        second = FeatureStore(store).gather(np.arange(12))
        assert np.flatnonzero((first != second).any(axis=(1, 2))).tolist() == [7]
        assert next(inspect_stores(store.parent, verify=True)).state == "complete, verified"

    def as_of_version_0_1(self, store):
        (store / IMAGES).unlink()
        manifest = json.loads((store / MANIFEST).read_text())
        del manifest["source"]["decoding"]
        (store / MANIFEST).write_text(json.dumps(manifest))

    def test_a_store_of_version_0_1_is_used_and_its_gap_is_named(self, own, caplog):
        _, cfg, store = own
        extract.run(cfg)
        self.as_of_version_0_1(store)
        extract.run(cfg)
        text = "has no images.npy, as in version 0.1: replaced images are not noticed"
        assert text in caplog.text

    @pytest.mark.fault("records")
    def test_a_store_of_version_0_1_that_ignored_exif_is_refused(self, own):
        folder, cfg, store = own
        exif = Image.Exif()
        exif[0x0112] = 6
        path = folder / "images" / "dog" / "2.png"
        Image.open(path).save(path, exif=exif)
        extract.run(cfg)
        self.as_of_version_0_1(store)
        text = (
            "was made by version 0.1, which ignored EXIF orientation and transparency: "
            f"found 1 of 12 images with them, first {path}. Remove {store} and run"
        )
        for refuse in (extract.run, datamodule):
            with pytest.raises(DataError, match=re.escape(text)):
                refuse(cfg)
        shutil.rmtree(store)
        extract.run(cfg)

    def test_orientation_is_obeyed(self, own):
        folder, cfg, store = own
        extract.run(cfg)
        before = FeatureStore(store).gather(np.arange(12))
        path = folder / "images" / "dog" / "2.png"
        exif = Image.Exif()
        exif[0x0112] = 6
        stored = Image.open(path).transpose(Image.Transpose.ROTATE_90)
        stored.save(path, exif=exif)  # the same image, as a camera stores it
        extract.run(cfg)
        np.testing.assert_array_equal(FeatureStore(store).gather(np.arange(12)), before)
        data = datamodule(cfg)
        upright = data.image(5)
        data.store.manifest.source.pop("decoding")
        assert (data.image(5) != upright).any()  # what a backbone of version 0.1 saw

    @pytest.mark.fault("records")
    @pytest.mark.parametrize("change", ["added", "removed"])
    def test_added_and_removed_images_are_refused(self, own, change):
        folder, cfg, store = own
        extract.run(cfg)
        if change == "added":
            shutil.copy(folder / "images" / "cat" / "0.png", folder / "images" / "cat" / "3.png")
        else:
            (folder / "images" / "cat" / "2.png").unlink()
        text = r"made from another image list than that of the dataset now. Remove .* and run msdn"
        with pytest.raises(DataError, match=text):
            extract.run(cfg)
        shutil.rmtree(store)
        extract.run(cfg)
