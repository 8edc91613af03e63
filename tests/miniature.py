"""A miniature benchmark in the real file formats: splits, word vectors, images, features."""

import os
import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from msdn_lit.data.benchmarks.xlsa import XlsaBenchmark
from msdn_lit.data.features.extraction import RegionBatch, write_store
from msdn_lit.data.features.store import Manifest, hash_image_list

C, K, E, N, R, D = 8, 6, 5, 96, 4, 12
UNSEEN = (2, 5)
MINI = XlsaBenchmark("MINI", {"images": ("MINI/images",)}, (C, len(UNSEEN), K, N))
SOURCE = {
    "name": "mini",
    "backbone": {
        "model_name": "none",
        "stage": None,
        "seed": 0,
        "model_args": {},
        "random_weights": False,
    },
    "transform": {
        "image_size": 16,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
# Overrides of the default features with which a config has this source.
FEATURES = [
    "features.name=mini",
    "features.backbone.model_name=none",
    "features.transform.image_size=16",
]


def cells(strings):
    """Returns strings as MATLAB's cell array, (n, 1)."""
    array = np.empty((len(strings), 1), dtype=object)
    array[:, 0] = strings
    return array


def split_contents(seed=0):
    """Returns the contents of att_splits.mat and res101.mat, which tests may change."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % C
    seen = np.setdiff1d(np.arange(C), UNSEEN)
    images_of_seen = np.flatnonzero(np.isin(labels, seen))
    test_seen, trainval = images_of_seen[::4], np.setdiff1d(images_of_seen, images_of_seen[::4])
    val_classes = seen[:2]
    att = rng.random((K, C)) + 0.1
    splits = {
        "trainval": trainval,
        "test_seen": test_seen,
        "test_unseen": np.flatnonzero(np.isin(labels, UNSEEN)),
    }
    # As in the official files, train and val leak test_seen.
    splits["train"] = images_of_seen[~np.isin(labels[images_of_seen], val_classes)]
    splits["val"] = images_of_seen[np.isin(labels[images_of_seen], val_classes)]
    names = [f"{c + 1:03d}.class_{c}" for c in range(C)]
    return {
        "att_splits.mat": {
            "att": att / np.linalg.norm(att, axis=0),
            "original_att": att,
            "allclasses_names": cells(names),
            **{
                f"{name}_loc": (rows + 1).astype(np.uint16)[:, None]
                for name, rows in splits.items()
            },
        },
        "res101.mat": {
            "image_files": cells(
                [f"/authors/disk/MINI/images/{names[c]}/{i:03d}.png" for i, c in enumerate(labels)]
            ),
            "labels": (labels + 1).astype(np.uint16)[:, None],
        },
    }


def write_split(data_dir: Path, contents=None):
    folder = data_dir / "xlsa17" / "data" / "MINI"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (contents or split_contents()).items():
        savemat(folder / name, content)
    return folder


def write_word_vectors(data_dir: Path):
    path = data_dir / "w2v" / "MINI_attribute.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(np.random.default_rng(1).standard_normal((K, E))))
    return path


def write_images(data_dir: Path, size=(20, 16)):
    rng = np.random.default_rng(2)
    for path in MINI.relative_paths(MINI.read_split(data_dir)):
        file = data_dir / "MINI" / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(file)


class GivenRegions:
    """A source of given regions."""

    def __init__(self, regions):
        self.regions = regions

    def batches(self, claims):
        for rows in claims:
            yield RegionBatch(rows, self.regions[rows.start : rows.stop])


def write_features(data_dir: Path, folder: Path):
    """Writes features that depend on the class: a linear map of its attributes, plus noise."""
    split = MINI.read_split(data_dir)
    rng = np.random.default_rng(3)
    signal_ND = (split.class_attributes_CK @ rng.standard_normal((K, D)))[split.labels_N]
    regions = np.abs(signal_ND[:, None] + 0.1 * rng.standard_normal((N, R, D))).astype(np.float16)
    manifest = Manifest(
        SOURCE, hash_image_list(MINI.relative_paths(split)), (N, R, D), (2, 2), "none"
    )
    write_store(folder, manifest, GivenRegions(regions), batch_size=32)
    return regions


class Exploit:
    """Unpickling an instance would create a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def spoil(folder, file, **changes):
    """Writes the miniature split with changed arrays; None removes an array."""
    contents = split_contents()
    for key, change in changes.items():
        contents[file][key] = change(contents[file][key]) if callable(change) else change
    contents[file] = {key: value for key, value in contents[file].items() if value is not None}
    return write_split(folder, contents)
