"""On the real benchmark files, where they are: set MSDN_REAL_DATA to a folder laid out as the official archives."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from msdn_lit import evaluate, extract, train
from msdn_lit.data import benchmarks
from msdn_lit.data.benchmarks import BENCHMARKS
from msdn_lit.data.semantics import unit_class_attributes
from msdn_lit.data.word_vectors import read_word_vectors
from tests.miniature import cells

REAL = Path(os.environ.get("MSDN_REAL_DATA", "/nonexistent")).absolute()
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="real data are not here: set MSDN_REAL_DATA to a folder with CUB_200_2011, xlsa17 and w2v"
)
# method.md, section 6: images of trainval, test_seen, test_unseen and, without the leak, of train and val
COUNTS = {
    "CUB": (7_057, 1_764, 2_967, 4_702, 2_355, 100, 50),
    "SUN": (10_320, 2_580, 1_440, 9_280, 1_040, 580, 65),
    "AWA2": (23_527, 5_882, 7_913, 16_187, 7_340, 27, 13),
}


@pytest.mark.parametrize("name", COUNTS)
def test_official_splits_have_the_published_counts(name):
    split = BENCHMARKS[name].read_split(REAL)
    images = [len(split.locations[part]) for part in ("trainval", "test_seen", "test_unseen", "train", "val")]
    assert (*images, len(split.classes_of("train")), len(split.classes_of("val"))) == COUNTS[name]
    assert not set(split.classes_of("train")) & set(split.classes_of("val"))
    assert len(set(BENCHMARKS[name].relative_paths(split))) == len(split.image_files)


def test_cub_labels_are_in_the_order_of_xlsa17():
    split = BENCHMARKS["CUB"].read_split(REAL)
    assert (split.class_names[0], split.class_names[150]) == ("002.Laysan_Albatross", "001.Black_footed_Albatross")
    folders = [path.split("/")[0] for path in BENCHMARKS["CUB"].relative_paths(split)]
    assert folders == [split.class_names[label] for label in split.labels_N]


@pytest.mark.parametrize("name", COUNTS)
def test_word_vectors_and_class_attributes(name):
    split = BENCHMARKS[name].read_split(REAL)
    K = split.class_attributes_CK.shape[1]
    vectors_KE = read_word_vectors(REAL / "w2v" / f"{name}_attribute.pkl", K)
    assert vectors_KE.shape == (K, 300)
    assert np.flatnonzero(~vectors_KE.any(axis=1)).tolist() == ([88] if name == "SUN" else [])
    unit_CK = unit_class_attributes(split.class_attributes_CK, clamp_negative=name == "AWA2")
    np.testing.assert_allclose(np.linalg.norm(unit_CK, axis=1), 1, atol=1e-6)
    assert unit_CK.min() >= 0


def write_small_cub(data_dir):
    """Sixty-four real images: four of each of twelve seen and four unseen classes, in the official form."""
    split = BENCHMARKS["CUB"].read_split(REAL)
    seen, unseen = split.classes_of("trainval")[:12], split.classes_of("test_unseen")[:4]
    chosen = np.concatenate([np.flatnonzero(split.labels_N == label)[:4] for label in (*seen, *unseen)])
    position = np.arange(len(chosen)).reshape(16, 4)
    parts = {"trainval": position[:12, :3], "test_seen": position[:12, 3:], "test_unseen": position[12:]}
    folder = data_dir / "xlsa17" / "data" / "CUB"
    folder.mkdir(parents=True)
    names, files = cells(split.class_names), cells([split.image_files[row] for row in chosen])
    locations = {f"{name}_loc": rows.reshape(-1, 1) + 1 for name, rows in parts.items()}
    savemat(folder / "att_splits.mat", {"att": split.class_attributes_CK.T, "allclasses_names": names, **locations})
    savemat(folder / "res101.mat", {"image_files": files, "labels": split.labels_N[chosen].reshape(-1, 1) + 1})
    for name in ("CUB_200_2011", "w2v", "weights"):
        (data_dir / name).symlink_to(REAL / name)


def test_extract_train_and_evaluate_64_real_images(load_config, tmp_path, monkeypatch):
    monkeypatch.setitem(benchmarks.BENCHMARKS, "CUB", dataclasses.replace(BENCHMARKS["CUB"], sizes=None))
    write_small_cub(tmp_path / "data")
    common = [f"paths.data_dir={tmp_path / 'data'}", f"paths.feature_dir={tmp_path / 'features'}"]
    options = ["experiment=cub_gzsl", "features=mobilenetv2_224", "features.num_workers=0", "trainer=cpu", *common]
    extract.run(load_config(*options, name="extract"))
    cfg = load_config(
        *options,
        "trainer.max_steps=20",
        "trainer.val_check_interval=10",
        "callbacks=figures",
        "trainer.log_every_n_steps=1",
        "~callbacks.progress",
        "+trainer.enable_progress_bar=false",
        f"paths.run_dir={tmp_path / 'run'}",
    )
    train.run(cfg)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["data"]["regions"] == [64, 49, 1280]
    assert result["scores"]["last"]["acc_czsl"] > 0.25  # chance
    assert (tmp_path / "run" / "figures" / "attention.png").stat().st_size > 10_000
    evaluation = [f"run_dir={tmp_path / 'run'}", f"output_dir={tmp_path / 'again'}", "accelerator=cpu"]
    evaluate.run(load_config(*evaluation, name="evaluate"))
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["scores"]["last"] == result["scores"]["last"]
