"""Wrong stores, images, weights, checkpoints and run folders: one message for each."""

import json
import os
import pickle

import numpy as np
import pytest
import timm
import torch

from msdn_lit.data.features.store import MANIFEST, REGIONS, FeatureStore
from msdn_lit.errors import CheckpointError, DataError
from msdn_lit.models.backbones.backbone import RegionBackbone
from msdn_lit.runs.checkpoint import find_checkpoint, load_checkpoint
from msdn_lit.runs.config import read_config
from tests import miniature
from tests.miniature import D, Exploit, N, R

pytestmark = pytest.mark.fault("data files")


class TestFeatureStore:
    def test_absent(self, tmp_path):
        with pytest.raises(DataError, match=r"No region features at .* Run msdn extract"):
            FeatureStore(tmp_path / "none")

    def test_unfinished(self, store_dir):
        (store_dir / MANIFEST).unlink()
        with pytest.raises(DataError, match=r"No region features"):
            FeatureStore(store_dir)

    @pytest.mark.parametrize("size", [0, 50, 127, 1000])
    def test_truncated(self, store_dir, size):
        os.truncate(store_dir / REGIONS, size)
        with pytest.raises(
            DataError,
            match=r"regions.npy is missing or truncated.*Remove .* and run msdn extract again",
        ):
            FeatureStore(store_dir)

    @pytest.mark.fault("disk")
    @pytest.mark.parametrize("lost", [1, 4096, 10**9])
    def test_truncated_while_it_is_read(self, store_dir, lost):
        store = FeatureStore(store_dir)
        rows = np.arange(N)
        store.gather(rows)
        size = (store_dir / REGIONS).stat().st_size
        os.truncate(store_dir / REGIONS, max(0, size - lost))
        for reader in (store, pickle.loads(pickle.dumps(store))):  # a loader's worker has a copy
            with pytest.raises(DataError, match=r"regions.npy (was|is missing or) truncated"):
                reader.gather(rows)

    def test_regions_removed(self, store_dir):
        (store_dir / REGIONS).unlink()
        with pytest.raises(DataError, match=r"regions.npy is missing"):
            FeatureStore(store_dir)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"foreign": 1}'])
    def test_damaged_manifest(self, store_dir, text):
        (store_dir / MANIFEST).write_text(text)
        with pytest.raises(DataError, match=r"manifest.json is damaged"):
            FeatureStore(store_dir)

    def test_manifest_of_another_shape(self, store_dir):
        content = json.loads((store_dir / MANIFEST).read_text())
        (store_dir / MANIFEST).write_text(json.dumps(content | {"shape": [N, R, D + 1]}))
        with pytest.raises(DataError, match=r"does not match its manifest: expected float16"):
            FeatureStore(store_dir)

    def test_unknown_format(self, store_dir):
        content = json.loads((store_dir / MANIFEST).read_text())
        (store_dir / MANIFEST).write_text(json.dumps(content | {"format": 99}))
        with pytest.raises(DataError, match=r"another format: expected 1, found 99"):
            FeatureStore(store_dir)

    def test_made_with_another_backbone(self, store_dir):
        images = FeatureStore(store_dir).manifest.images_sha256
        wanted = miniature.SOURCE | {"backbone": {"model_name": "resnet101"}}
        with pytest.raises(
            DataError,
            match=r"made with other settings: "
            r"expected .*resnet101.*found .*none.*run msdn extract again",
        ):
            FeatureStore(store_dir).check(source=wanted, images_sha256=images)

    def test_made_from_another_image_list(self, store_dir):
        with pytest.raises(DataError, match=r"another image list than that of the dataset now"):
            FeatureStore(store_dir).check(source=miniature.SOURCE, images_sha256="0")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_bad_number_in_the_features(self, store_dir, bad):
        regions = np.lib.format.open_memmap(store_dir / REGIONS, mode="r+")
        regions[7, 2, 1] = bad
        regions.flush()
        store = FeatureStore(store_dir)
        store.gather(np.array([6, 8]))
        with pytest.raises(DataError, match=r"NaN or infinity in the features of image 7"):
            store.gather(np.array([6, 7]))

    def test_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="is damaged"):
            FeatureStore(tmp_path / "file")


class TestWeights:
    def test_of_another_model(self, tmp_path):
        torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "w.pth")
        with pytest.raises(
            DataError,
            match=r"w.pth is not of resnet10t: expected its weights, found \d+ missing, 1 foreign",
        ):
            RegionBackbone("resnet10t", weights_file=str(tmp_path / "w.pth"))

    @pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
    def test_damaged(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"garbage")
        with pytest.raises(DataError, match=rf"{name} cannot be read as weights"):
            RegionBackbone("resnet10t", weights_file=str(tmp_path / name))

    @pytest.mark.parametrize("counters", [True, False])
    def test_of_this_model_with_and_without_batchnorm_counters(self, tmp_path, counters):
        state = timm.create_model("resnet10t").state_dict()
        kept = {
            name: value
            for name, value in state.items()
            if counters or not name.endswith("num_batches_tracked")
        }
        torch.save(kept, tmp_path / "w.pth")
        backbone = RegionBackbone("resnet10t", weights_file=str(tmp_path / "w.pth"), seed=1)
        assert torch.equal(
            backbone.model.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"]
        )
        assert backbone.feature_map(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)

    def test_code_in_weights_does_not_run(self, tmp_path):
        torch.save({"x": Exploit(tmp_path / "trace")}, tmp_path / "w.pth")
        with pytest.raises(DataError, match="cannot be read as weights"):
            RegionBackbone("resnet10t", weights_file=str(tmp_path / "w.pth"))
        assert not (tmp_path / "trace").exists()

    def test_absent_and_no_network(self, tmp_path):
        with pytest.raises(
            DataError,
            match=r"No weights for resnet10t.c3_in1k: "
            r".*w.pth is missing and the download failed.*weights_file",
        ):
            RegionBackbone("resnet10t.c3_in1k", weights_file=str(tmp_path / "w.pth"))

    def test_file_required_when_no_download_exists(self, tmp_path):
        with pytest.raises(DataError, match=r"No weights for resnet10t: .*w.pth is missing"):
            RegionBackbone("resnet10t", weights_file=str(tmp_path / "w.pth"), pretrained=False)


class TestCheckpoints:
    def test_missing_names_what_there_is(self, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.ckpt").touch()
        with pytest.raises(CheckpointError, match=r"peak.ckpt is missing. That run has last"):
            find_checkpoint("peak", tmp_path)

    @pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"state_dict": 1})])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "x.ckpt").write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_checkpoint(tmp_path / "x.ckpt", torch.nn.Linear(1, 1))

    def test_code_does_not_run(self, tmp_path):
        torch.save({"state_dict": Exploit(tmp_path / "trace")}, tmp_path / "x.ckpt")
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_checkpoint(tmp_path / "x.ckpt", torch.nn.Linear(1, 1))
        assert not (tmp_path / "trace").exists()

    def test_of_another_model(self, tmp_path):
        torch.save({"state_dict": torch.nn.Linear(2, 1).state_dict()}, tmp_path / "x.ckpt")
        with pytest.raises(
            CheckpointError, match=r"of another model: weight: expected \(1, 1\), found \(1, 2\)"
        ):
            load_checkpoint(tmp_path / "x.ckpt", torch.nn.Linear(1, 1))

    def test_folder_of_no_run(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"no run folder: config.yaml is missing"):
            read_config(tmp_path)

    @pytest.mark.parametrize("text", ["a: [", "\t- x", "- a list", "5", "", "a: 1"])
    def test_damaged_run_config(self, tmp_path, text):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(CheckpointError, match=r"config.yaml is damaged"):
            read_config(tmp_path)
