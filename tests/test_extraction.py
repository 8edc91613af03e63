"""Writing a store: from images and arrays, interrupted, in several processes, on a full disk."""

import json
import multiprocessing
import os
import re
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from msdn_lit.build.features import num_workers
from msdn_lit.data.features import extraction
from msdn_lit.data.features import writer as store_writer
from msdn_lit.data.features.extraction import BackboneRegions, write_store
from msdn_lit.data.features.images import ImageFiles, ImageTransform, open_image
from msdn_lit.data.features.store import MANIFEST, REGIONS, FeatureStore, Manifest
from msdn_lit.data.features.writer import PARTIAL, PLAN, PROGRESS, FeatureStoreWriter
from msdn_lit.data.splits.xlsa17 import read_proposed_split
from msdn_lit.errors import ConfigError, DataError
from tests import miniature
from tests.miniature import MINI, GivenRegions, spoil

N, R, D = 50, 4, 12
MANIFEST_OF_50 = Manifest({"name": "x"}, "", (N, R, D), (2, 2), "")
REGIONS_OF_50 = np.random.default_rng(0).random((N, R, D)).astype(np.float16)
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _sync_at_once(monkeypatch):
    monkeypatch.setattr(store_writer, "SECONDS_BETWEEN_SYNCS", 0)
    monkeypatch.setattr(extraction, "POLL_SECONDS", 0.01)


class Failing:
    """Yields some batches, then fails like a real run."""

    def __init__(self, num_batches, failure):
        self.num_batches, self.failure = num_batches, failure

    def batches(self, claims):
        for number, batch in enumerate(GivenRegions(REGIONS_OF_50).batches(claims)):
            if number == self.num_batches:
                self.failure()
            yield batch


class Recording(GivenRegions):
    """Records the requested rows."""

    def __init__(self, regions, seconds=0.0):
        super().__init__(regions)
        self.rows, self.seconds = [], seconds

    def batches(self, claims):
        for batch in super().batches(claims):
            self.rows += batch.rows
            time.sleep(self.seconds)
            yield batch


def interrupt():
    raise KeyboardInterrupt


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def reference(tmp_path):
    """The files of an uninterrupted run."""
    write_store(tmp_path / "reference", MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
    return content(tmp_path / "reference")


class TestWriting:
    def test_a_complete_store_has_two_files(self, reference):
        assert reference.keys() == {REGIONS, MANIFEST}

    def test_all_regions_are_written(self, tmp_path):
        write_store(tmp_path / "store", MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
        np.testing.assert_array_equal(
            FeatureStore(tmp_path / "store").gather(np.arange(N)), REGIONS_OF_50
        )
        np.testing.assert_array_equal(np.load(tmp_path / "store" / REGIONS), REGIONS_OF_50)

    def test_progress_is_reported(self, tmp_path):
        reported = []
        write_store(
            tmp_path / "store", MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 20, reported.append
        )
        assert reported == [0, 20, 40, 50]

    @pytest.mark.parametrize("num_batches", range(7))
    def test_an_interrupted_run_continues_to_the_same_bytes(self, tmp_path, reference, num_batches):
        folder = tmp_path / "store"
        with pytest.raises(KeyboardInterrupt):
            write_store(folder, MANIFEST_OF_50, Failing(num_batches, interrupt), 8)
        assert not FeatureStore.exists(folder)
        rest = Recording(REGIONS_OF_50)
        write_store(folder, MANIFEST_OF_50, rest, 8)
        assert rest.rows == list(range(8 * num_batches, N))  # no batch is computed twice
        assert content(folder) == reference

    def test_another_manifest_starts_again(self, tmp_path, reference):
        folder = tmp_path / "store"
        other = Manifest({"name": "other"}, "", (N + 3, R, D), (2, 2), "")
        with FeatureStoreWriter(folder, other, 8) as store:
            for rows in store.claims():
                store.write(rows, np.ones((len(rows), R, D), np.float16))
        write_store(folder, MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
        assert content(folder) == reference

    @pytest.mark.parametrize("lost", [PLAN, PARTIAL, PROGRESS])
    def test_a_lost_file_starts_again(self, tmp_path, reference, lost):
        folder = tmp_path / "store"
        with pytest.raises(KeyboardInterrupt):
            write_store(folder, MANIFEST_OF_50, Failing(3, interrupt), 8)
        (folder / lost).unlink()
        write_store(folder, MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
        assert content(folder) == reference

    @pytest.mark.parametrize("name", [REGIONS, MANIFEST])
    def test_interrupted_while_publishing(self, tmp_path, reference, name, monkeypatch):
        folder, replace = tmp_path / "store", os.replace

        def fail_after(source, target):
            replace(source, target)
            if target.name == name:
                raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", fail_after)
        with pytest.raises(KeyboardInterrupt):
            write_store(folder, MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
        monkeypatch.undo()
        write_store(folder, MANIFEST_OF_50, Failing(0, interrupt), 8)  # nothing is left to compute
        assert {
            name: data for name, data in content(folder).items() if name in reference
        } == reference

    def test_nan_is_refused_and_only_its_batch_is_lost(self, tmp_path, reference):
        folder, spoiled = tmp_path / "store", REGIONS_OF_50.copy()
        spoiled[20, 1, 1] = np.nan
        with pytest.raises(
            DataError, match="NaN or a value beyond fp16 in the features of images 16 to 23"
        ):
            write_store(folder, MANIFEST_OF_50, GivenRegions(spoiled), 8)
        assert not FeatureStore.exists(folder)
        write_store(folder, MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
        assert content(folder) == reference

    def test_not_enough_room(self, tmp_path):
        manifest = Manifest({}, "", (10**12, 1, 1), (1, 1), "")
        with pytest.raises(
            DataError, match=r"Not enough room for .*: expected 2000.0 GB free, found .*feature_dir"
        ):
            FeatureStoreWriter(tmp_path / "store", manifest, 1).__enter__()

    def test_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="cannot be written"):
            FeatureStoreWriter(tmp_path / "file" / "store", MANIFEST_OF_50, 8).__enter__()

    def test_disk_that_fills_up(self, tmp_path, reference, monkeypatch):
        folder, pwrite, calls = tmp_path / "store", os.pwrite, []

        def full_after_three(file, data, position):
            calls.append(len(data))
            if len(data) > R * D and len(calls) > 5:  # regions, not progress
                half = pwrite(file, data[: len(data) // 2], position)
                assert half
                raise OSError(28, "No space left on device")
            return pwrite(file, data, position)

        monkeypatch.setattr(os, "pwrite", full_after_three)
        with pytest.raises(
            DataError,
            match=r"cannot be written \(No space left.*run the same command again to continue",
        ):
            write_store(folder, MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
        monkeypatch.undo()
        write_store(folder, MANIFEST_OF_50, GivenRegions(REGIONS_OF_50), 8)
        assert content(folder) == reference


def write_in_process(folder, seconds, queue=None):
    source = Recording(REGIONS_OF_50, seconds)
    write_store(folder, MANIFEST_OF_50, source, 4)
    if queue:
        queue.put(source.rows)


class TestManyProcesses:
    def test_the_work_is_shared(self, tmp_path, reference):
        queue = FORK.Queue()
        workers = [
            FORK.Process(target=write_in_process, args=(tmp_path / "store", 0.01, queue))
            for _ in range(3)
        ]
        for worker in workers:
            worker.start()
        done = [queue.get(timeout=30) for _ in workers]
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        assert sorted(row for rows in done for row in rows) == list(range(N))  # each image once
        assert content(tmp_path / "store") == reference

    @pytest.mark.fault("processes")
    def test_a_killed_one_is_replaced_by_the_others(self, tmp_path, reference):
        victim = FORK.Process(target=write_in_process, args=(tmp_path / "store", 1000))
        victim.start()
        while not (tmp_path / "store" / PLAN).exists():
            time.sleep(0.01)
        time.sleep(0.1)  # it holds the first batch now
        other = FORK.Process(target=write_in_process, args=(tmp_path / "store", 0))
        other.start()
        time.sleep(0.2)
        assert not FeatureStore.exists(tmp_path / "store")
        os.kill(victim.pid, signal.SIGKILL)
        other.join(30)
        assert other.exitcode == 0
        assert content(tmp_path / "store") == reference

    def test_two_with_different_settings_do_not_mix(self, tmp_path):
        victim = FORK.Process(target=write_in_process, args=(tmp_path / "store", 1000))
        victim.start()
        while not (tmp_path / "store" / PLAN).exists():
            time.sleep(0.01)
        time.sleep(0.1)
        other = Manifest({"name": "other"}, "", (N, R, D), (2, 2), "")
        with pytest.raises(DataError, match=r"Another process is making .* with other settings"):
            write_store(tmp_path / "store", other, GivenRegions(REGIONS_OF_50), 4)
        victim.kill()
        victim.join()

    @pytest.mark.fault("processes")
    def test_kills_at_random_moments(self, tmp_path, reference):
        rng, folder, kills = np.random.default_rng(0), tmp_path / "store", 0
        while not FeatureStore.exists(folder):
            worker = FORK.Process(target=write_in_process, args=(folder, 0.01))
            worker.start()
            worker.join(rng.uniform(0.01, 0.08))
            kills += worker.is_alive()
            worker.kill()
            worker.join()
        assert kills > 2
        assert {
            name: data for name, data in content(folder).items() if name in reference
        } == reference


class Means:
    """A backbone: the first three channels are the mean colours of the image's quarters."""

    def feature_map(self, images):
        means = torch.nn.functional.adaptive_avg_pool2d(images, 2)
        return torch.cat([means, torch.ones(len(images), miniature.D - 3, 2, 2)], dim=1)

    def weights_sha256(self):
        return "means"


class TestWorkers:
    @pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 2), (64, 16)])
    def test_auto_is_one_per_core(self, monkeypatch, cores, expected):
        monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
        assert [num_workers(setting) for setting in ("auto", 0, 3)] == [expected, 0, 3]

    @pytest.mark.fault("settings")
    @pytest.mark.parametrize("value", ["-1", "two", "1.5", "true", "null", "[1]"])
    def test_other_values_are_refused_in_one_line(self, load_config, value):
        cfg = load_config(f"features.num_workers={value}", name="extract")
        with pytest.raises(ConfigError, match=r"expected auto, or a whole number from 0, found"):
            num_workers(cfg.features.num_workers)


class TestImages:
    TRANSFORM = ImageTransform(8, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))

    def extract(self, data_dir, folder, workers=0, skip=False, batch_size=10):
        split = MINI.read_split(data_dir)
        images = ImageFiles(MINI.image_paths(split, data_dir), self.TRANSFORM)
        regions = BackboneRegions(images, Means(), torch.device("cpu"), "fp32", workers, skip)
        D, H, W = regions.grid()
        write_store(
            folder, Manifest({}, "", (len(images), H * W, D), (H, W), "means"), regions, batch_size
        )
        return FeatureStore(folder)

    @pytest.mark.parametrize(("workers", "batch_size"), [(0, 10), (2, 7), (1, 1000)])
    def test_regions_are_those_of_the_images_in_order(
        self, data_dir, tmp_path, workers, batch_size
    ):
        miniature.write_images(data_dir)
        regions_NRD = self.extract(
            data_dir, tmp_path / "store", workers, batch_size=batch_size
        ).gather(np.arange(96))
        for row, path in enumerate(MINI.image_paths(MINI.read_split(data_dir), data_dir)):
            pixels = (
                np.asarray(
                    Image.open(path).resize((8, 10), Image.Resampling.BILINEAR).crop((0, 1, 8, 9))
                )
                / 255
            )
            scaled = (pixels - self.TRANSFORM.mean) / self.TRANSFORM.std
            quarters = [scaled[y : y + 4, x : x + 4].mean((0, 1)) for y in (0, 4) for x in (0, 4)]
            np.testing.assert_allclose(regions_NRD[row, :, :3], quarters, atol=2e-3)

    def test_no_image_folder(self, data_dir):
        with pytest.raises(
            DataError,
            match=r"images of MINI are missing: "
            r"expected a folder at .*MINI/images, found none. Unpack",
        ):
            MINI.image_paths(MINI.read_split(data_dir), data_dir)

    def test_path_of_another_benchmark(self, tmp_path):
        folder = spoil(
            tmp_path,
            "res101.mat",
            image_files=lambda files: miniature.cells(["/elsewhere/a.jpg"] * len(files)),
        )
        with pytest.raises(
            DataError,
            match=r"image_files\[0\] is not a path of MINI: "
            r"expected '.../images/...', found '/elsewhere",
        ):
            MINI.relative_paths(read_proposed_split(folder))

    def damage(self, path, damage):
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:300] if damage == "truncated" else damage)

    @pytest.mark.parametrize("workers", [0, 1])
    @pytest.mark.parametrize("damage", [b"", b"no image at all", "truncated", "missing"])
    def test_image_that_does_not_decode(self, data_dir, tmp_path, damage, workers):
        miniature.write_images(data_dir)
        path = MINI.image_paths(MINI.read_split(data_dir), data_dir)[37]
        intact = path.read_bytes()
        self.damage(path, damage)
        with pytest.raises(
            DataError, match=rf"{path.name} (is missing|does not decode).*skip_undecodable=true"
        ):
            self.extract(data_dir, tmp_path / "store", workers)
        assert not FeatureStore.exists(tmp_path / "store")
        path.write_bytes(intact)
        self.extract(data_dir, tmp_path / "store", workers)

    def test_all_failures_of_a_batch_are_reported(self, data_dir, tmp_path):
        miniature.write_images(data_dir)
        paths = MINI.image_paths(MINI.read_split(data_dir), data_dir)[:8]
        for path in paths:
            path.unlink()
        with pytest.raises(DataError) as caught:
            self.extract(data_dir, tmp_path / "store")
        assert all(path.name in str(caught.value) for path in paths[:5])
        assert re.search("And 3 more of the same batch", str(caught.value))

    def test_skipped_on_request_and_recorded(self, data_dir, tmp_path):
        miniature.write_images(data_dir)
        paths = MINI.image_paths(MINI.read_split(data_dir), data_dir)
        for row in (5, 11, 95):
            self.damage(paths[row], b"")
        store = self.extract(data_dir, tmp_path / "store", skip=True)
        assert store.manifest.skipped == (5, 11, 95)
        empty = ~store.gather(np.arange(96)).any(axis=(1, 2))
        assert np.flatnonzero(empty).tolist() == [5, 11, 95]

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA", "I;16"])
    def test_every_mode_becomes_rgb(self, mode):
        image = self.TRANSFORM.crop(Image.new(mode, (30, 9)))
        assert (image.mode, image.size) == ("RGB", (8, 8))

    def test_16_bits_keep_their_brightness(self):
        grey = Image.fromarray(np.full((9, 30), 40_000, dtype=np.uint16))
        assert self.TRANSFORM.crop(grey).getpixel((4, 4)) == (156, 156, 156)

    def test_postscript_is_not_read_under_any_suffix(self, tmp_path):
        for name in ("x.eps", "x.png"):
            Image.new("RGB", (9, 9)).save(tmp_path / name, "EPS")
            with pytest.raises(DataError, match=rf"{name} does not decode \(unknown format\)"):
                open_image(tmp_path / name)

    def test_boxes(self, tmp_path):
        image = Image.new("RGB", (40, 20))
        image.paste((200, 100, 50), (10, 5, 20, 15))
        image.save(tmp_path / "x.png")
        inside = ImageFiles([tmp_path / "x.png"], self.TRANSFORM, boxes=[(10, 5, 20, 15)])[0]
        assert (inside == torch.tensor([200, 100, 50])).all()


def test_precision_is_used():
    class Kind:
        def feature_map(self, images):
            return torch.nn.functional.conv2d(images, torch.ones(1, 3, 1, 1))

    images = ImageFiles([], TestImages.TRANSFORM)
    outputs = {
        name: BackboneRegions(images, Kind(), torch.device("cpu"), name, 0, False)._feature_map(
            torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
        )
        for name in ("fp32", "bf16")
    }
    assert outputs["fp32"].dtype == torch.float32
    assert outputs["bf16"].dtype == torch.bfloat16


class TestReading:
    def test_length_and_rows(self, store_dir):
        store, regions_NRD = FeatureStore(store_dir), np.load(store_dir / REGIONS)
        assert len(store) == len(regions_NRD) == miniature.N
        for row in (0, 3, miniature.N - 1, -1):
            assert store[row].shape == (miniature.R, miniature.D)
            assert store[row].dtype == torch.float16
            np.testing.assert_array_equal(store[row].numpy(), regions_NRD[row])
        kept = [store[row] for row in range(20)]  # not overwritten by later reads
        np.testing.assert_array_equal(torch.stack(kept).numpy(), regions_NRD[:20])

    @pytest.mark.parametrize("row", [miniature.N, -miniature.N - 1])
    def test_a_row_out_of_range(self, store_dir, row):
        with pytest.raises(IndexError):
            FeatureStore(store_dir)[row]

    def test_iteration_ends(self, store_dir):
        assert sum(1 for _ in FeatureStore(str(store_dir))) == miniature.N


def test_old_manifests_are_read(store_dir):
    path = store_dir / MANIFEST
    old = {
        key: value
        for key, value in json.loads(path.read_text()).items()
        if key not in ("skipped", "computation")
    }
    path.write_text(json.dumps(old))
    assert FeatureStore(store_dir).manifest.skipped == ()
