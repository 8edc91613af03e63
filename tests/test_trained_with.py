"""A run is used again only with the data that it was trained with; attributes match by name."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import msdn_lit
from msdn_lit.build.training import training
from msdn_lit.commands.train import evaluate
from msdn_lit.errors import DataError
from msdn_lit.files import config_dir
from msdn_lit.training.fit import fit
from tests.helpers import result_of

OWN = Path(__file__).resolve().parent / "data" / "v0_1"
PICTURE = OWN / "dataset" / "images" / "red barred" / "0.png"
ARGS = (
    "+features.backbone.model_args={stem_width: 4, channels: [8, 8, 4, 16], zero_init_last: false}"
)


def settings(folder, *more):
    """The config of a short training of the dataset in a folder."""
    overrides = [
        *("data=folder", f"data.folder={folder}/dataset", "data.benchmark=OLD"),
        *("features=resnet101_448", "features.name=tiny", "features.backbone.pretrained=false"),
        *("features.backbone.model_name=test_resnet", ARGS, "features.transform.image_size=96"),
        f"features.backbone.weights_file={folder}/weights/tiny.safetensors",
        *(f"paths.data_dir={folder}", f"paths.feature_dir={folder}/features"),
        *(f"paths.run_dir={folder}/new", "trainer=cpu", "data.semantics.word_vector_dim=8"),
        *("callbacks=default", "~callbacks.progress", "+trainer.enable_progress_bar=false"),
        *("trainer.max_steps=4", "trainer.val_check_interval=2", "sampler.batch_size=8"),
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", overrides=[*overrides, *more])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The dataset, and a run that was trained with it."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("dataset", "features", "weights", "run"):
        shutil.copytree(OWN / name, folder / name)
    for path in (folder / "run" / "config.yaml", folder / "run" / "result.json"):
        path.write_text(path.read_text().replace("/FIXTURE", str(folder)))
    fit(training(settings(folder)))
    return folder


@pytest.fixture
def own(written, tmp_path):
    """A copy of dataset and run; the run names the place of the copy."""
    folder = tmp_path / "own"
    shutil.copytree(written, folder)
    for path in folder.glob("*/config.yaml"):
        path.write_text(path.read_text().replace(str(written), str(folder)))
    return folder


def rewrite(own, change):
    """Changes the rows of attributes.csv, the header included."""
    path = own / "dataset" / "attributes.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(change(rows))


def reorder(rows):
    return [[name, *reversed(values)] for name, *values in rows]


def change_value(rows):
    rows[3][1] = "70"
    return rows


def rename_attribute(rows):
    rows[0][1] = "crimson"
    return rows


def rename_class(own):
    rewrite(own, lambda rows: [[row[0].replace("blue barred", "cyan"), *row[1:]] for row in rows])
    folder = own / "dataset" / "images"
    (folder / "blue barred").rename(folder / "cyan")


def unseen(own, *names):
    (own / "dataset" / "unseen.txt").write_text("\n".join(names))


CHANGES = {
    "a value": (
        lambda own: rewrite(own, change_value),
        "the values of red differ for red barred",
    ),
    "an attribute's name": (
        lambda own: rewrite(own, rename_attribute),
        "the attributes differ (missing: red; new: crimson)",
    ),
    "a class's name": (
        rename_class,
        "the classes differ (missing: blue barred; new: cyan)",
    ),
    "the unseen classes": (
        lambda own: unseen(own, "red spotted", "blue barred"),
        "the unseen classes differ (missing: ",
    ),
    "an attribute more": (
        lambda own: rewrite(own, lambda rows: [[*row, str(7 * n)] for n, row in enumerate(rows)]),
        "the attributes differ (new: 0)",
    ),
}


@pytest.mark.fault("records")
def test_reordered_attributes_are_matched_by_name(own, command):
    before = msdn_lit.load(own / "new").predict(str(PICTURE))
    scores = result_of(own / "new")["scores"]["last"]
    rewrite(own, reorder)
    after = msdn_lit.load(own / "new").predict(str(PICTURE))
    assert after.attribute_names == before.attribute_names
    assert after.attribute_scores_K.tolist() == before.attribute_scores_K.tolist()
    assert [(c.name, c.score) for c in after.classes] == [(c.name, c.score) for c in before.classes]
    new_class = {"x": {"red": 100, "framed": 50}}
    assert msdn_lit.load(own / "new").candidates(new_class).attributes_CK[0].nonzero()[
        0
    ].tolist() == [
        before.attribute_names.index("red"),
        before.attribute_names.index("framed"),
    ]
    code, _, _ = command(evaluate, str(own / "new"), "--output", str(own / "out"))
    assert code == 0
    again = result_of(own / "out")["scores"]["last"]
    assert again == pytest.approx(scores, abs=1e-6)


@pytest.mark.fault("records")
@pytest.mark.parametrize("change", CHANGES)
def test_other_classes_are_refused(own, command, change):
    make, message = CHANGES[change]
    make(own)
    with pytest.raises(DataError) as refused:
        msdn_lit.load(own / "new")
    assert message in str(refused.value)
    code, out, err = command(evaluate, str(own / "new"), "--output", str(own / "out"))
    assert (code, out.count("\n")) == (2, 1)  # what it works on
    assert message in err
    assert not (own / "out").exists()
    with pytest.raises(DataError):
        training(settings(own, "ckpt_path=last", "trainer.max_steps=8"))


@pytest.mark.fault("records")
@pytest.mark.parametrize(
    "change", [*(name for name in CHANGES if name != "an attribute's name"), "the order"]
)
def test_a_run_of_version_0_1_is_refused_too(own, change):
    """Version 0.1 recorded one fingerprint, which has no attribute names."""
    make, _ = CHANGES.get(change, (lambda own: rewrite(own, reorder), ""))
    assert msdn_lit.load(own / "run")
    make(own)
    with pytest.raises(DataError, match="classes, attributes, values or images differ"):
        msdn_lit.load(own / "run")


@pytest.mark.fault("records")
def test_another_split_is_refused(own):
    training(settings(own, "ckpt_path=last", "trainer.max_steps=8"))
    with pytest.raises(DataError, match="the images of test_seen differ; the images of trainval"):
        training(settings(own, "ckpt_path=last", "trainer.max_steps=8", "data.test_seen.seed=3"))


@pytest.mark.fault("records")
def test_another_backbone_is_refused(own):
    manifest = own / "features" / "OLD_tiny" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"weights_sha256": "0" * 64}))
    with pytest.raises(DataError, match="the features are of another backbone"):
        training(settings(own, "ckpt_path=last", "trainer.max_steps=8"))


@pytest.mark.fault("records")
def test_features_that_were_extracted_again_are_named(own, caplog):
    manifest = own / "features" / "OLD_tiny" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"regions_sha256": "0" * 64}))
    training(settings(own, "ckpt_path=last", "trainer.max_steps=8"))
    assert "was extracted again after the training: scores may differ" in caplog.text


@pytest.mark.fault("run folders")
@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"classes": {}, "images": {}}', "\0", "[" * 9999]
)
def test_damaged_identity(own, text, command):
    (own / "new" / "data.json").write_text(text)
    code, out, err = command(evaluate, str(own / "new"))
    assert (code, out.count("\n"), err.count("\n")) == (2, 1, 1)
    assert "data.json is damaged" in err
