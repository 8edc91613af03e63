"""Semi-synthetic regions: their definition, stores, and the commands without any image."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from msdn_lit.build import task as build
from msdn_lit.build.features import feature_source
from msdn_lit.commands.data import extract
from msdn_lit.commands.train import evaluate, train
from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.features.extraction import write_store
from msdn_lit.data.features.published_hdf5 import PublishedFeatures
from msdn_lit.data.features.semisynthetic import AttributeRegions
from msdn_lit.data.features.store import FeatureStore
from msdn_lit.errors import ConfigError, DataError
from tests import miniature
from tests.hdf5_files import write_hdf5

REAL = Path(os.environ.get("MSDN_REAL_DATA", "/nonexistent")).absolute()
ATTRIBUTES_CK = np.array(
    [[4, 2, 1, 1, 0, -1], [0, 0, 3, 0, 1, 0], [0, 0, 0, 0, 0, 0]], dtype=np.float32
)
SHARES_CK = np.array(
    [[4 / 8, 2 / 8, 1 / 8, 1 / 8, 0, 0], [0, 0, 3 / 4, 0, 1 / 4, 0], [0, 0, 0, 0, 0, 0]]
)
SETTINGS = dict(
    num_channels=24, grid_side=3, attributes_per_region=2, background=0.25, noise=0.5, seed=0
)
R, D, M = 9, 24, 2


def make(labels, attributes_CK=ATTRIBUTES_CK, **changes):
    return AttributeRegions(attributes_CK, np.asarray(labels), **SETTINGS | changes)


def generate(labels, batch_size=7, **changes):
    """Generates all regions in batches, (N, R, D)."""
    rows = range(len(labels))
    claims = (rows[start : start + batch_size] for start in range(0, len(labels), batch_size))
    return np.concatenate([batch.regions_BRD for batch in make(labels, **changes).batches(claims)])


class TestDefinition:
    @pytest.mark.parametrize("label", [0, 1])
    def test_regions_show_attributes_as_often_as_the_class_has_them(self, label):
        regions_ND = generate([label] * 1000).astype(float).reshape(-1, D)
        directions_KD = make([label]).directions_KD
        expected_D = sum(0.75 * M * SHARES_CK[label, k] * directions_KD[k] for k in range(6))
        error_D = regions_ND.std(axis=0) / np.sqrt(len(regions_ND))
        assert (abs(regions_ND.mean(axis=0) - expected_D) < 5 * error_D).all()
        shares_K = np.linalg.lstsq(directions_KD.T, regions_ND.mean(axis=0), rcond=None)[0] / (
            0.75 * M
        )
        np.testing.assert_allclose(shares_K, SHARES_CK[label], atol=0.05)

    @pytest.mark.parametrize("label", [0, 1])
    def test_without_noise_and_background_every_region_is_a_sum_of_directions(self, label):
        directions_KD, has = make([label]).directions_KD, np.flatnonzero(SHARES_CK[label])
        sums = np.array(
            [directions_KD[list(pair)].sum(axis=0) for pair in itertools.product(has, repeat=M)]
        )
        regions_ND = generate([label] * 40, noise=0, background=0).reshape(-1, D)
        distances = np.linalg.norm(regions_ND[:, None] - sums, axis=2)
        assert distances.min(axis=1).max() < 2e-3  # fp16
        assert len(set(distances.argmin(axis=1))) == len({tuple(total) for total in sums.round(6)})

    def test_directions_are_unit_and_their_own(self):
        directions_KD = make([0], num_channels=4096).directions_KD
        np.testing.assert_allclose(directions_KD @ directions_KD.T, np.eye(6), atol=0.1)
        np.testing.assert_allclose(np.linalg.norm(directions_KD, axis=1), 1)

    @pytest.mark.parametrize("channels", [2, 24, 300])
    def test_the_length_of_noise_does_not_depend_on_the_channels(self, channels):
        regions = generate([0] * 400, background=1, noise=3, num_channels=channels).astype(float)
        assert np.sqrt((regions**2).sum(axis=2).mean()) == pytest.approx(3, rel=0.03)
        assert abs(regions.mean()) < 0.1

    def test_share_of_background(self):
        is_empty_NR = ~generate([0] * 1000, noise=0).any(axis=2)
        np.testing.assert_allclose(is_empty_NR.mean(axis=0), 0.25, atol=0.06)  # the same everywhere

    def test_background_does_not_depend_on_the_class(self):
        np.testing.assert_array_equal(
            generate([0] * 20, background=1), generate([1] * 20, background=1)
        )

    def test_a_class_without_attributes_shows_nothing(self):
        assert not generate([2] * 20, noise=0, background=0).any()


class TestGeneration:
    LABELS = np.arange(30) % 3

    @pytest.mark.parametrize("batch_size", [1, 8, 1000])
    def test_batches_do_not_matter(self, batch_size):
        np.testing.assert_array_equal(generate(self.LABELS, batch_size), generate(self.LABELS))

    def test_an_image_depends_on_its_row_and_class_only(self):
        others = np.zeros(30, dtype=int)
        others[17] = self.LABELS[17]
        np.testing.assert_array_equal(make(others).image(17), generate(self.LABELS)[17])

    def test_no_two_images_are_equal(self):
        assert len({regions.tobytes() for regions in generate([0] * 300)}) == 300

    def test_another_seed_gives_other_directions_and_images(self):
        assert not (generate(self.LABELS, seed=1) == generate(self.LABELS)).all(axis=(1, 2)).any()
        assert (
            not np.isclose(make([0], seed=1).directions_KD, make([0]).directions_KD)
            .any(axis=1)
            .all()
        )

    def test_two_processes_make_one_store(self, tmp_path):
        regions = make(self.LABELS)
        manifest = regions.manifest({"name": "x"}, "images", {})
        for folder, batch_size in (("one", 4), ("other", 11)):
            write_store(tmp_path / folder, manifest, regions, batch_size)
        assert (tmp_path / "one" / "regions.npy").read_bytes() == (
            tmp_path / "other" / "regions.npy"
        ).read_bytes()
        assert FeatureStore(tmp_path / "one").manifest.shape == (30, R, D)

    @pytest.mark.parametrize(
        "wrong",
        [
            dict(num_channels=0),
            dict(grid_side=-4),
            dict(attributes_per_region=0),
            dict(background=1.1),
            dict(background=-0.1),
            dict(noise=-1),
            dict(noise=np.nan),
            dict(seed=-1),
        ],
        ids=str,
    )
    def test_settings_out_of_range(self, wrong):
        with pytest.raises(ConfigError, match=r"features\.regions is out of range"):
            make(self.LABELS, **wrong)


@pytest.fixture
def config(load_config, data_dir, tmp_path):
    """The real config on the miniature benchmark, which has no images here."""

    def load(*overrides, name="train"):
        options = [
            "data.benchmark=MINI",
            "data.semantics.word_vectors=w2v/MINI_attribute.pkl",
            "trainer=cpu",
        ]
        options += [
            "features=semisynthetic",
            f"paths.data_dir={data_dir}",
            f"paths.feature_dir={tmp_path / 'stores'}",
        ]
        options += [
            f"paths.run_dir={tmp_path / 'run'}",
            "sampler.batch_size=10",
            "trainer.log_every_n_steps=1",
        ]
        options += [
            "trainer.val_check_interval=20",
            "~callbacks.progress",
            "+trainer.enable_progress_bar=false",
        ]
        return load_config(*options, *overrides, name=name)

    return load


class TestCommands:
    def test_extract_train_and_evaluate_without_images(self, config, load_config, tmp_path, capsys):
        extract.run(config(name="extract"))
        cfg = config("trainer.max_steps=60", "optimizer.lr=0.01", "prediction.calibration=0")
        train.run(cfg)
        result = json.loads((tmp_path / "run" / "result.json").read_text())
        assert (result["features"], result["data"]["regions"]) == ("semisynthetic", [96, 16, 128])
        assert result["scores"]["last"]["acc_seen"] > 2 * result["chance"]["acc_seen"]
        title = "MINI, semisynthetic, paper protocol, seed 214, SEMI-SYNTHETIC FEATURES"
        assert (tmp_path / "run" / "RESULT.md").read_text().startswith(f"# {title}\n")
        assert title in " ".join(capsys.readouterr().out.split())
        evaluate.run([str(tmp_path / "run"), f"--output={tmp_path / 'again'}", "--accelerator=cpu"])
        again = json.loads((tmp_path / "again" / "result.json").read_text())
        assert again["scores"]["last"] == result["scores"]["last"]

    @pytest.mark.parametrize("has_images", [False, True])
    def test_figures_leave_out_attention(self, config, data_dir, tmp_path, caplog, has_images):
        if has_images:
            miniature.write_images(data_dir)
        extract.run(config(name="extract"))
        with caplog.at_level("INFO"):
            train.run(config("callbacks=figures", "trainer.max_steps=20"))
        names = {file.name for file in (tmp_path / "run" / "figures").iterdir()}
        assert names == {"scores.png", "captions.md"}
        assert "No attention maps: semisynthetic features were not made from images" in caplog.text

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("num_channels", 8),
            ("grid_side", 2),
            ("attributes_per_region", 1),
            ("background", 0),
            ("noise", 2),
        ],
    )
    def test_a_store_of_other_settings_is_refused(self, config, name, value):
        extract.run(config(name="extract"))
        with pytest.raises(
            DataError, match=rf"made with other settings: expected .*'{name}': {value}"
        ):
            build.datamodule(config(f"features.regions.{name}={value}"))

    def test_every_setting_identifies_the_store(self, config):
        assert feature_source(config()) == {
            "name": "semisynthetic",
            "regions": SETTINGS | FILE,
        }

    def test_the_manifest_depends_on_attributes_and_labels(self):
        manifests = [
            regions.manifest({}, "", {}).weights_sha256
            for regions in (
                make([0, 1]),
                make([0, 1]),
                make([1, 0]),
                make([0, 1], ATTRIBUTES_CK + 1),
            )
        ]
        assert manifests[0] == manifests[1]
        assert len(set(manifests)) == 3

    def test_a_published_file_is_not_semisynthetic(self, config, tmp_path, data_dir):
        path = write_hdf5(tmp_path / "f.hdf5", miniature.MINI.read_split(data_dir))
        with pytest.raises(
            DataError, match="published feature files are ResNet-101's: found semisynthetic"
        ):
            PublishedFeatures(path, feature_source(config()), "")


FILE = dict(
    num_channels=128, grid_side=4, attributes_per_region=2, background=0.5, noise=1.0, seed=0
)  # the config's


@pytest.mark.skipif(
    not REAL.is_dir(),
    reason="no real data: set MSDN_REAL_DATA to a folder with xlsa17, w2v",
)
class TestRealData:
    @pytest.mark.parametrize("name", ["SUN", "AWA2"])
    def test_every_class_shows_its_attributes_only(self, name):
        split = BENCHMARKS[name].read_split(REAL)
        C = len(split.class_names)
        settings = FILE | dict(noise=0, background=0, attributes_per_region=3)
        regions = AttributeRegions(split.class_attributes_CK, np.arange(C), **settings)
        # K < D, so the attributes of a region can be computed from it.
        solve_DK = np.linalg.pinv(regions.directions_KD)
        for label in range(C):
            counts_RK = regions.image(label).astype(float) @ solve_DK
            np.testing.assert_allclose(counts_RK, counts_RK.round(), atol=0.05)
            np.testing.assert_array_equal(counts_RK.round().sum(axis=1), 3)
            assert (split.class_attributes_CK[label, counts_RK.round().any(axis=0)] > 0).all()

    def test_suns_recipe(self, load_config, tmp_path):
        options = [
            "experiment=sun_gzsl",
            "features=semisynthetic",
            "trainer=cpu",
            "seed=0",
            f"paths.data_dir={REAL}",
        ]
        options += [
            f"paths.feature_dir={tmp_path}",
            f"paths.run_dir={tmp_path / 'run'}",
            "trainer.max_steps=100",
        ]
        extract.run(load_config(*options, name="extract"))
        train.run(
            load_config(*options, "~callbacks.progress", "+trainer.enable_progress_bar=false")
        )
        result = json.loads((tmp_path / "run" / "result.json").read_text())
        assert result["data"]["regions"] == [14_340, 16, 128]
        assert (result["data"]["num_train"], result["data"]["split_variant"]) == (
            10_320,
            "official",
        )
        assert 0.1 < result["scores"]["last"]["acc_czsl"] < 0.8  # chance: 1/72
