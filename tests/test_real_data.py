"""Tests on the real benchmark files in the folder MSDN_REAL_DATA, in the official layout."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from scipy.io import loadmat, savemat

from msdn_lit.commands.data import extract
from msdn_lit.commands.train import evaluate, train
from msdn_lit.data import ImageTransform
from msdn_lit.data.benchmarks import published
from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.features.images import ImageFiles
from msdn_lit.data.semantics import SemanticsConfig, unit_class_attributes
from msdn_lit.data.splits.variants import with_train_and_val
from msdn_lit.data.words.attributes import awa2_words, cub_words, sun_words
from msdn_lit.data.words.tables import _load, read_word_vectors
from msdn_lit.errors import DataError
from msdn_lit.models.backbones.weights import find_packaged, load_tensors, renamed_by_order
from tests.helpers import WEIGHTS_PACKAGE
from tests.miniature import cells

REAL = Path(os.environ.get("MSDN_REAL_DATA", "/nonexistent")).absolute()
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(),
    reason="no real data: set MSDN_REAL_DATA to a folder with CUB_200_2011, xlsa17 and w2v",
)
# Images of trainval, test_seen, test_unseen, train and val; classes of train and val. train and val
# are those without overlap.
COUNTS = {
    "CUB": (7_057, 1_764, 2_967, 4_702, 2_355, 100, 50),
    "SUN": (10_320, 2_580, 1_440, 9_280, 1_040, 580, 65),
    "AWA2": (23_527, 5_882, 7_913, 16_187, 7_340, 27, 13),
}
FIRST_AND_LAST = {
    "CUB": ("has_bill_shape::curved_(up_or_down)", "has_wing_pattern::multi-colored"),
    "SUN": ("sailing/ boating", "stressful"),
    "AWA2": ("black", "domestic"),
}


@pytest.mark.parametrize("name", COUNTS)
def test_official_splits_have_the_published_counts(name):
    split = BENCHMARKS[name].read_split(REAL)
    images = [
        len(split.indices[part])
        for part in ("trainval", "test_seen", "test_unseen", "train", "val")
    ]
    assert (*images, len(split.classes_of("train")), len(split.classes_of("val"))) == COUNTS[name]
    assert not set(split.classes_of("train")) & set(split.classes_of("val"))
    assert len(set(BENCHMARKS[name].relative_paths(split))) == len(split.image_files)
    assert (split.variant, split.train_val) == (
        "official",
        "of the split file, less its test_seen images",
    )


def edited(name, data_dir, change):
    """A data folder with a benchmark's real split files, the first one edited."""
    source, folder = REAL / "xlsa17" / "data" / name, data_dir / "xlsa17" / "data" / name
    folder.mkdir(parents=True)
    (folder / "res101.mat").symlink_to(source / "res101.mat")
    content = {
        key: value
        for key, value in loadmat(source / "att_splits.mat").items()
        if not key.startswith("__")
    }
    change(content)
    savemat(folder / "att_splits.mat", content)
    return data_dir


@pytest.mark.parametrize("name", COUNTS)
def test_variants_of_the_real_files(name, tmp_path):
    def drop(content):
        del content["train_loc"], content["val_loc"]

    def correct(content):
        for part in ("train_loc", "val_loc"):
            content[part] = np.intersect1d(content[part], content["trainval_loc"])[::-1, None]

    def swap(content):
        for part, other in (("test_seen_loc", "trainval_loc"), ("trainval_loc", "test_seen_loc")):
            content[part] = np.concatenate(
                [loadmat(source / "att_splits.mat")[other][:1], content[part][1:]]
            )

    source = REAL / "xlsa17" / "data" / name
    benchmark, official = BENCHMARKS[name], BENCHMARKS[name].read_split(REAL)
    older = benchmark.read_split(edited(name, tmp_path / "older", drop))
    assert older.variant == "official without train and val"
    drawn = with_train_and_val(older, fraction=0.33, seed=0)
    assert len(drawn.classes_of("val")) == round(0.33 * sum(COUNTS[name][5:]))
    corrected = benchmark.read_split(edited(name, tmp_path / "corrected", correct))
    assert (corrected.variant, corrected.fingerprint()) == ("corrected", official.fingerprint())
    with pytest.raises(
        DataError, match=r"other images in trainval, test_seen or test_unseen \(att_splits.mat\)"
    ):
        benchmark.read_split(edited(name, tmp_path / "other", swap))


def write_apy(data_dir):
    """The real att_splits.mat of aPY with a made-up image list in the official form."""
    source, folder = REAL / "xlsa17" / "data" / "APY", data_dir / "xlsa17" / "data" / "APY"
    folder.mkdir(parents=True)
    (folder / "att_splits.mat").symlink_to(source / "att_splits.mat")
    content = loadmat(source / "att_splits.mat")
    unseen = np.isin(
        np.concatenate(content["allclasses_names"].ravel()),
        (source / "testclasses.txt").read_text().split(),
    )
    labels = np.resize(np.flatnonzero(~unseen) + 1, 15_339)
    rows = content["test_unseen_loc"].ravel() - 1
    labels[rows] = np.resize(np.flatnonzero(unseen) + 1, len(rows))
    files = [f"/authors/VOC2008/JPEGImages/2008_{row // 2:06d}.jpg" for row in range(12_695)]
    files += [f"/authors/aPY/ayahoo_test_images/bag_{row}.jpg" for row in range(15_339 - 12_695)]
    savemat(folder / "res101.mat", {"image_files": cells(files), "labels": labels[:, None]})


def test_apy(tmp_path):
    write_apy(tmp_path)
    split = BENCHMARKS["APY"].read_split(tmp_path)
    images = [
        len(split.indices[part])
        for part in ("trainval", "test_seen", "test_unseen", "train", "val")
    ]
    assert images == [5_932, 1_483, 7_924, 4_906, 1_026]
    assert (split.variant, split.train_val) == (
        "official",
        "of the split file, less its test_seen images",
    )
    assert split.class_attributes_CK.shape == (32, 64)
    np.testing.assert_allclose(np.linalg.norm(split.class_attributes_CK, axis=1), 1, atol=1e-6)
    assert (len(split.classes_of("trainval")), len(split.classes_of("test_unseen"))) == (20, 12)
    relative = BENCHMARKS["APY"].relative_paths(split)
    assert (relative[0], relative[12_694], relative[12_695]) == (
        "2008_000000.jpg",
        "2008_006347.jpg",
        "bag_0.jpg",
    )


def test_cub_labels_are_in_the_order_of_xlsa17():
    split = BENCHMARKS["CUB"].read_split(REAL)
    assert (split.class_names[0], split.class_names[150]) == (
        "002.Laysan_Albatross",
        "001.Black_footed_Albatross",
    )
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


RULES = {"CUB": cub_words, "SUN": sun_words, "AWA2": awa2_words}


def test_published_word_vectors_are_sums_by_the_naming_rules():
    """The three tables are sums of the same word vectors: 499 rows, of which 262 are independent.

    Where the tables determine the vector of a word, it has 8 significant bits as the vectors of
    Google News have. Sums of several words have more.
    """
    names = {name: BENCHMARKS[name].attribute_names(REAL, len(table(name))) for name in RULES}
    assert {name: (of[0], of[-1]) for name, of in names.items()} == FIRST_AND_LAST
    attributes = [rule(attribute) for name, rule in RULES.items() for attribute in names[name]]
    words = sorted({word for attribute in attributes for word in attribute})
    counts = np.array(
        [[attribute.count(word) for word in words] for attribute in attributes], dtype=float
    )
    tables = np.concatenate([table(name) for name in RULES])
    vectors, _, rank, _ = np.linalg.lstsq(counts, tables, rcond=None)
    assert (len(counts), len(words), rank) == (499, 315, 262)
    np.testing.assert_allclose(counts @ vectors, tables, atol=1e-12)
    determined = np.isclose(np.linalg.pinv(counts) @ counts, np.eye(len(words)), atol=1e-9).all(
        axis=1
    )
    mantissas = 2**8 * np.frexp(np.where(abs(vectors) > 1e-12, vectors, 0)[determined])[0]
    assert len(mantissas) == 198
    np.testing.assert_allclose(mantissas, mantissas.round(), atol=1e-6)


def table(name):
    """A published table in its own precision."""
    return _load(REAL / "w2v" / f"{name}_attribute.pkl")


@pytest.mark.parametrize("name", COUNTS)
def test_the_record_of_word_vectors(name):
    split = BENCHMARKS[name].read_split(REAL)
    source = SemanticsConfig(
        f"w2v/{name}_attribute.pkl", word_vector_dim=0, clamp_negative=False, shuffle_seed=None
    )
    record = source.load(split, BENCHMARKS[name], REAL, "trainval", "test_unseen").word_vectors
    assert record["file"] == f"{name}_attribute.pkl"
    assert record["without_vector"] == (["man-made"] if name == "SUN" else [])


def write_small_cub(data_dir):
    """Sixty-four real images, four of each of twelve seen and four unseen classes."""
    split = BENCHMARKS["CUB"].read_split(REAL)
    seen, unseen = split.classes_of("trainval")[:12], split.classes_of("test_unseen")[:4]
    chosen = np.concatenate(
        [np.flatnonzero(split.labels_N == label)[:4] for label in (*seen, *unseen)]
    )
    position = np.arange(len(chosen)).reshape(16, 4)
    parts = {
        "trainval": position[:12, :3],
        "test_seen": position[:12, 3:],
        "test_unseen": position[12:],
    }
    folder = data_dir / "xlsa17" / "data" / "CUB"
    folder.mkdir(parents=True)
    names, files = cells(split.class_names), cells([split.image_files[row] for row in chosen])
    indices = {f"{name}_loc": rows.reshape(-1, 1) + 1 for name, rows in parts.items()}
    savemat(
        folder / "att_splits.mat",
        {"att": split.class_attributes_CK.T, "allclasses_names": names, **indices},
    )
    savemat(
        folder / "res101.mat",
        {"image_files": files, "labels": split.labels_N[chosen].reshape(-1, 1) + 1},
    )
    for name in ("CUB_200_2011", "w2v", "weights"):
        (data_dir / name).symlink_to(REAL / name)


@pytest.mark.parametrize(
    ("features", "regions"), [("mobilenetv2_224", 49), ("efficientnet_lite2_260", 81)]
)
def test_extract_train_and_evaluate_64_real_images(
    load_config, tmp_path, monkeypatch, features, regions
):
    monkeypatch.setitem(
        published.BENCHMARKS,
        "CUB",
        dataclasses.replace(BENCHMARKS["CUB"], sizes=None, official=None),
    )
    write_small_cub(tmp_path / "data")
    common = [f"paths.data_dir={tmp_path / 'data'}", f"paths.feature_dir={tmp_path / 'features'}"]
    options = [
        "experiment=cub_gzsl",
        f"features={features}",
        "features.num_workers=0",
        "trainer=cpu",
        *common,
    ]
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
    assert result["data"]["regions"] == [64, regions, 1280]
    assert result["scores"]["last"]["acc_czsl"] > 0.25  # chance
    assert (tmp_path / "run" / "figures" / "attention.png").stat().st_size > 10_000
    evaluate.run([str(tmp_path / "run"), f"--output={tmp_path / 'again'}", "--accelerator=cpu"])
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["scores"]["last"] == result["scores"]["last"]


IN_IMAGENET = {  # classes of CUB, and their numbers in ImageNet-1k
    "014.Indigo_Bunting": 14,
    "047.American_Goldfinch": 11,
    "073.Blue_Jay": 17,
    "068.Ruby_throated_Hummingbird": 94,
    "090.Red_breasted_Merganser": 98,
}


def test_the_weights_of_the_pip_package_know_five_birds():
    """A net whose tensors were mixed up would be at chance: 0 of 60."""
    net = timm.create_model("tf_efficientnet_lite2").eval()
    weights = renamed_by_order(load_tensors(find_packaged(WEIGHTS_PACKAGE)), net.state_dict())
    net.load_state_dict(weights)
    transform = ImageTransform(260, (0.5,) * 3, (0.5,) * 3)
    right = 0
    for folder, label in IN_IMAGENET.items():
        files = sorted((REAL / "CUB_200_2011" / "images" / folder).glob("*.jpg"))[:12]
        images = ImageFiles(files, transform)
        pixels_BHW3 = torch.stack([images[row] for row in range(12)])
        with torch.inference_mode():
            right += (net(transform.standardise(pixels_BHW3)).argmax(1) == label).sum().item()
    assert right == 59
