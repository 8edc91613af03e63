"""Feature caches: the choice, the same batches from each, and reading ahead."""

import threading
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from msdn_lit.build import task as build
from msdn_lit.commands.train import train
from msdn_lit.data.batches import read_ahead
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.feature_cache import (
    choose_cache,
    gather_from_disk,
    gather_from_gpu,
    gather_from_ram,
)
from msdn_lit.data.features.store import FeatureStore
from msdn_lit.errors import ConfigError, DataError
from tests.helpers import weights_of
from tests.miniature import N

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def free(monkeypatch):
    """Sets the free memory, bytes."""

    def set_free(ram, gpu):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=ram))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (gpu, 10 * gpu))

    return set_free


@pytest.mark.parametrize(
    ("device", "ram", "gpu", "chosen"),
    [
        (CPU, 200, 0, "disk"),  # exactly half would leave too little
        (CPU, 201, 0, "ram"),
        (GPU, 201, 160, "ram"),
        (GPU, 201, 170, "gpu"),
        (GPU, 100, 160, "disk"),
    ],
)
def test_auto_chooses_the_fastest_cache_with_room(free, device, ram, gpu, chosen):
    free(ram, gpu)
    assert choose_cache("auto", 100, device) == chosen


@pytest.mark.parametrize("wanted", ["disk", "ram"])
def test_a_named_cache_is_used(free, wanted):
    free(0, 0)
    assert choose_cache(wanted, 100, CPU) == wanted


def test_wrong_names():
    with pytest.raises(ConfigError, match="expected one of auto, disk, ram, gpu, found floppy"):
        choose_cache("floppy", 1, CPU)
    with pytest.raises(
        ConfigError, match=r"data.feature_cache=gpu needs a GPU.*Use data.feature_cache=auto"
    ):
        choose_cache("gpu", 1, CPU)


def test_every_cache_gives_the_same_batch(store_dir, monkeypatch):
    monkeypatch.setattr("msdn_lit.data.feature_cache._CHUNK_BYTES", 1000)  # several chunks
    store, rows = FeatureStore(store_dir), np.array([5, 90, 0, 5])
    expected = torch.from_numpy(np.load(store.path)[rows])
    used = np.array([0, 3, 5, 44, 90])
    on_device = gather_from_gpu(store, used, CPU)
    for gather in (gather_from_disk(store), gather_from_ram(store), on_device):
        batch = gather(rows)
        assert batch.dtype == torch.float16
        assert torch.equal(batch, expected)


def test_bad_features_are_found_while_copying_to_the_device(store_dir):
    regions = np.lib.format.open_memmap(store_dir / "regions.npy", mode="r+")
    regions[N - 1] = np.nan
    regions.flush()
    with pytest.raises(DataError, match=f"NaN or infinity in the features of image {N - 1}"):
        gather_from_gpu(FeatureStore(store_dir), np.arange(N), CPU)


def test_only_images_of_the_protocol_are_copied_to_the_device(mini_config, monkeypatch):
    module = build.datamodule(mini_config("protocol=validation"))
    truth = torch.from_numpy(np.load(module.store.path))
    sizes = []

    def measured(wanted, num_bytes, device):
        sizes.append(num_bytes)
        return "gpu"

    monkeypatch.setattr("msdn_lit.data.datamodule.choose_cache", measured)
    used = {row for name in ("train", "val_seen", "val") for row in module.indices[name]}
    for name in ("train", "val", "test_seen"):  # the last from the disk
        dataset = module.dataset(name)
        batch = dataset.read(list(range(len(dataset))))
        assert torch.equal(batch.regions, truth[batch.rows])
    assert sizes == [2 * len(used) * truth[0].numel()]
    assert len(used) < N


@pytest.mark.fault("processes")
@pytest.mark.parametrize("wanted", ["auto", "gpu"])
def test_memory_that_another_trial_took(mini_config, monkeypatch, caplog, wanted):
    module = build.datamodule(mini_config(f"data.feature_cache={wanted}"))
    chosen = ["gpu", "ram"]
    monkeypatch.setattr("msdn_lit.data.datamodule.choose_cache", lambda *_: chosen.pop(0))

    def full(*size, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(torch, "empty", full)
        if wanted == "gpu":
            with pytest.raises(ConfigError, match=r"need 0.0 GB on cpu. Use .*auto, ram or disk"):
                module.dataset("trainval")
            return
        dataset = module.dataset("trainval")
    assert module.chosen_cache == "ram"
    (line,) = [record.message for record in caplog.records if "GB on cpu" in record.message]
    assert line == "The features need 0.0 GB on cpu, and another program uses it: they stay in ram"
    assert torch.equal(dataset.read([1]).regions, gather_from_disk(module.store)(dataset.rows[1:2]))


@pytest.mark.parametrize("cache", ["auto", "disk", "ram"])
def test_the_config_decides(mini_config, cache):
    module = build.datamodule(mini_config(f"data.feature_cache={cache}"))
    assert module.chosen_cache == ("ram" if cache == "auto" else cache)
    assert len(module.dataset("trainval").__getitems__([0, 1]).labels) == 2


def test_skipped_images_are_in_no_split(mini_config, store_dir):
    import json

    path = store_dir / "manifest.json"
    manifest = json.loads(path.read_text())
    module = build.datamodule(mini_config())
    victims = [int(module.indices[name][0]) for name in ("trainval", "test_seen", "test_unseen")]
    path.write_text(json.dumps(manifest | {"skipped": victims}))
    again = build.datamodule(mini_config())
    for name, rows in module.indices.items():
        assert set(again.indices[name]) == set(rows) - set(victims)


class TestBuffers:
    def test_a_batch_in_use_is_never_overwritten(self, store_dir):
        store, truth = FeatureStore(store_dir), np.load(store_dir / "regions.npy")
        rows_of = [np.random.default_rng(seed).permutation(N)[: 1 + seed % 7] for seed in range(50)]
        held = [gather_from_disk(store)(rows) for rows in rows_of]
        for rows, batch in zip(rows_of, held, strict=True):
            np.testing.assert_array_equal(batch.numpy(), truth[rows])

    def test_a_view_of_a_batch_is_never_overwritten(self, store_dir):
        store = FeatureStore(store_dir)
        corner = gather_from_disk(store)(np.array([3, 4]))[1:, :1, :1]
        before = corner.clone()
        for row in range(20):
            store.gather(np.array([row, row]))
        assert torch.equal(corner, before)

    def test_free_memory_is_used_again(self, store_dir):
        store = FeatureStore(store_dir)
        addresses = {store.gather(np.array([row, row + 1])).ctypes.data for row in range(20)}
        assert len(addresses) == 1
        assert len(store._buffers) == 1


class TestReadingAhead:
    def test_batches_stay_in_order(self):
        assert list(read_ahead(iter(range(20)), 3)) == list(range(20))
        assert list(read_ahead(iter([]), 2)) == []

    def test_reads_while_a_batch_is_in_use(self):
        asked = []
        read = threading.Semaphore(0)

        def batches():
            for number in range(5):
                asked.append(number)
                read.release()
                yield number

        ahead = read_ahead(batches(), 2)
        assert next(ahead) == 0
        for _ in range(3):
            assert read.acquire(timeout=10)
        assert asked[:3] == [0, 1, 2]  # 1 and 2 were not requested

    def test_an_error_keeps_its_position(self):
        def batches():
            yield 1
            raise DataError("the second is damaged")

        ahead = read_ahead(batches(), 2)
        assert next(ahead) == 1
        with pytest.raises(DataError, match="the second is damaged"):
            next(ahead)

    def test_no_thread_is_left_behind(self):
        ahead = read_ahead(iter(range(20)), 2)
        next(ahead)
        ahead.close()
        assert not [
            thread for thread in threading.enumerate() if thread.name.startswith("read-ahead_")
        ]

    def test_training_reads_the_same_batches(self, mini_config, monkeypatch, tmp_path):
        weights = []
        original = ZSLDataModule._loader_args
        for number in (0, 2):
            with monkeypatch.context() as patch:
                patch.setattr(
                    ZSLDataModule,
                    "_loader_args",
                    lambda self, number=number: original(self) | {"ahead": number},
                )
                train.run(mini_config(f"paths.run_dir={tmp_path / str(number)}"))
            weights.append(weights_of(tmp_path / str(number)))
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
