"""Published feature files feature_map_ResNet_101_*.hdf5: reading, conversion, wrong files."""

import h5py
import numpy as np
import pytest

from msdn_lit.data.features.extraction import write_store
from msdn_lit.data.features.published_hdf5 import PublishedFeatures
from msdn_lit.data.features.store import FeatureStore, hash_image_list
from msdn_lit.errors import DataError
from tests.hdf5_files import MAPS_NDHW, SOURCE, D, H, W, write_hdf5
from tests.miniature import MINI, N


@pytest.fixture
def split(data_dir):
    return MINI.read_split(data_dir)


def test_without_a_known_source(tmp_path, split):
    """As `open_dataset` opens such a file."""
    write_hdf5(tmp_path / "f.hdf5", split)
    published = PublishedFeatures(tmp_path / "f.hdf5", {}, "images")
    assert published.manifest.shape == (N, H * W, D)


def open_hdf5(path, source=SOURCE):
    return PublishedFeatures(path, source, "images")


@pytest.mark.parametrize("compression", [None, "gzip"])
class TestReading:
    def test_each_region_is_a_cell_of_the_map(self, tmp_path, split, compression):
        published = open_hdf5(write_hdf5(tmp_path / "f.hdf5", split, compression=compression))
        rows = np.array([7, 3, 3, 95, 0])
        regions_BRD = published.gather(rows)
        assert regions_BRD.shape == (5, 9, D)
        assert regions_BRD.dtype == np.float16
        for position, row in enumerate(rows):
            for y in range(H):
                for x in range(W):
                    expected = MAPS_NDHW[row, :, y, x].astype(np.float16)
                    np.testing.assert_array_equal(regions_BRD[position, y * W + x], expected)

    def test_converted_store_has_the_same_regions(self, tmp_path, split, compression):
        published = open_hdf5(write_hdf5(tmp_path / "f.hdf5", split, compression=compression))
        published.check_split(split)
        write_store(tmp_path / "store", published.manifest, published, batch_size=10)
        store = FeatureStore(tmp_path / "store")
        np.testing.assert_array_equal(store.gather(np.arange(N)), published.gather(np.arange(N)))
        assert store.manifest.grid == (3, 3)
        assert store.manifest.computation == {"published_hdf5": "f.hdf5"}


def test_training_reads_the_file_directly(mini_config, tmp_path, split, monkeypatch):
    from msdn_lit.build import task as build

    monkeypatch.setattr("msdn_lit.build.task.feature_source", lambda cfg: SOURCE)
    path = write_hdf5(tmp_path / "f.hdf5", split)
    module = build.datamodule(mini_config(f"data.store_dir={path}"))
    batch = module.dataset("trainval").__getitems__([3, 1])
    row = split.indices["trainval"][3]
    expected = MAPS_NDHW[row].reshape(D, H * W).T.astype(np.float16)
    np.testing.assert_array_equal(batch.regions[0].numpy(), expected)


def test_training_from_a_compressed_file_warns(mini_config, tmp_path, split, monkeypatch):
    from msdn_lit.build import task as build

    monkeypatch.setattr("msdn_lit.build.task.feature_source", lambda cfg: SOURCE)
    path = write_hdf5(tmp_path / "f.hdf5", split, compression="gzip")
    with pytest.warns(
        UserWarning, match=r"compressed, \d+ images to a block.*msdn extract features.hdf5="
    ):
        build.datamodule(mini_config(f"data.store_dir={path}"))


class TestWrongFiles:
    def test_an_interrupted_writer(self, tmp_path, split):
        """HDF5 reads zeros for chunks that were never written."""
        path = write_hdf5(tmp_path / "f.hdf5", split, maps=None)
        with h5py.File(path, "r+") as file:
            maps = file.create_dataset("feature_map", (N, D, H, W), "f4", chunks=(1, D, H, W))
            maps[: N // 2] = MAPS_NDHW[: N // 2]
        with pytest.raises(DataError, match="feature_map was never written completely"):
            open_hdf5(path)

    def test_data_in_other_files(self, tmp_path, split):
        """HDF5 reads zeros if the other file is missing."""
        path = write_hdf5(tmp_path / "f.hdf5", split, maps=None)
        with h5py.File(path, "r+") as file:
            layout = h5py.VirtualLayout((N, D, H, W), np.float32)
            layout[:] = h5py.VirtualSource("moved.hdf5", "feature_map", (N, D, H, W))
            file.create_virtual_dataset("feature_map", layout)
        with pytest.raises(DataError, match="the data of feature_map are in other files"):
            open_hdf5(path)

    def test_dazles_7x7_file_under_the_same_name(self, tmp_path, split):
        path = write_hdf5(tmp_path / "f.hdf5", split, maps=np.ones((N, D, 7, 7), np.float32))
        source = SOURCE | {"transform": {"image_size": 448}}
        with pytest.raises(
            DataError, match=r"expected 14x14 regions at 448 px, found 7x7.*DAZLE's.*resnet101_224"
        ):
            open_hdf5(path, source)
        assert open_hdf5(path, SOURCE | {"transform": {"image_size": 224}}).manifest.grid == (7, 7)

    def test_another_backbone_than_in_the_config(self, tmp_path, split):
        path = write_hdf5(tmp_path / "f.hdf5", split)
        with pytest.raises(
            DataError, match="published feature files are ResNet-101's: found mobilenetv2_100"
        ):
            open_hdf5(path, SOURCE | {"backbone": {"model_name": "mobilenetv2_100"}})

    @pytest.mark.parametrize("content", [None, b"", b"no hdf5", "truncated"])
    def test_unreadable(self, tmp_path, split, content):
        path = tmp_path / "f.hdf5"
        if content == "truncated":
            path.write_bytes(write_hdf5(path, split).read_bytes()[:2000])
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=r"f.hdf5 cannot be read as a published feature file"):
            open_hdf5(path)

    @pytest.mark.parametrize(
        "maps",
        [
            np.ones((N, D), np.float32),
            np.ones((N, D, H, W), np.int32),
            np.ones((0, D, H, W), np.float32),
            None,
        ],
    )
    def test_of_another_layout(self, tmp_path, split, maps):
        with pytest.raises(DataError, match=r"(cannot be read as|not a table of features)"):
            open_hdf5(write_hdf5(tmp_path / "f.hdf5", split, maps=maps))

    @pytest.mark.parametrize("key", ["labels", "trainval_loc", "test_seen_loc", "test_unseen_loc"])
    def test_of_another_split(self, tmp_path, split, key):
        values = split.labels_N if key == "labels" else split.indices[key.removesuffix("_loc")]
        published = open_hdf5(write_hdf5(tmp_path / "f.hdf5", split, **{key: (values + 1) % N}))
        with pytest.raises(DataError, match=f"{key} differs from the split file's"):
            published.check_split(split)

    def test_without_labels(self, tmp_path, split):
        published = open_hdf5(write_hdf5(tmp_path / "f.hdf5", split, labels=None))
        with pytest.raises(DataError, match="lacks labels"):
            published.check_split(split)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
    def test_features_that_do_not_fit(self, tmp_path, split, bad):
        maps = MAPS_NDHW.copy()
        maps[4, 1, 1, 1] = bad
        with pytest.raises(DataError, match="NaN or a value beyond fp16 in the features"):
            open_hdf5(write_hdf5(tmp_path / "f.hdf5", split, maps=maps)).gather(np.array([4]))


def test_hash_of_images_is_kept(tmp_path, split):
    images = hash_image_list(MINI.relative_paths(split))
    assert (
        PublishedFeatures(
            write_hdf5(tmp_path / "f.hdf5", split), SOURCE, images
        ).manifest.images_sha256
        == images
    )
