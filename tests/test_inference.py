"""Prediction of single images: scores equal those of the evaluation, explanations add up."""

import gc
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import msdn_lit
from msdn_lit.build import predictor as build_predictor
from msdn_lit.build.load import load_config
from msdn_lit.build.task import unread_datamodule
from msdn_lit.commands._arguments import load_model
from msdn_lit.commands.train import train
from msdn_lit.commands.use import predict
from msdn_lit.data.features.images import open_image
from msdn_lit.data.splits.holdout import split_indices
from msdn_lit.data.words.attributes import spelling
from msdn_lit.errors import CheckpointError, ConfigError, DataError
from msdn_lit.inference import Candidates
from msdn_lit.inference.candidates import describe
from msdn_lit.inference.class_file import read_class_file
from msdn_lit.inference.counterfactual import counterfactuals
from msdn_lit.runs.score_cache import ScoreCache
from tests import miniature

NAMES = (
    "has_wing_color::black",
    "has_wing_color::red",
    "has_bill_shape::cone",
    "has_size::large_(16_-_32_in)",
)
KNOWN = Candidates(
    ("001.Black_Bird", "002.Red_Bird"),
    np.array([[1, 0, 0, 0], [0, 0.6, 0.8, 0]], np.float32),
    ("seen", "unseen"),
)


class RowBackbone(torch.nn.Module):
    """Returns the regions of one row of the store; an image's first pixel says which row."""

    def __init__(self, regions_NRD):
        super().__init__()
        self.regions_NRD = torch.from_numpy(regions_NRD)

    def feature_map(self, images_B3HW):
        transform = miniature.SOURCE["transform"]
        pixels_B = images_B3HW[:, 0, 0, 0] * transform["std"][0] + transform["mean"][0]
        rows = pixels_B.mul(255).round().long().clamp(max=miniature.N - 1)
        return self.regions_NRD[rows].float().transpose(1, 2).unflatten(2, (2, 2))

    def weights_sha256(self):
        return "none"  # the entry of the miniature store


def image_of(row):
    return np.full((16, 16, 3), row, dtype=np.uint8)


@pytest.fixture(scope="module")
def made():
    """The run folder of `trained` and the features of its images, once they are made."""
    return {}


@pytest.fixture
def trained(made, request, monkeypatch):
    """A run folder whose images have the features of the store; no test changes it."""
    if not made:
        train_once(made, request)
    monkeypatch.setattr(build_predictor, "backbone", lambda _: RowBackbone(made["regions_NRD"]))
    return made["folder"]


def train_once(made, request):
    folder = request.getfixturevalue("tmp_path")
    made["regions_NRD"] = miniature.write_features(
        request.getfixturevalue("data_dir"), folder / "again"
    )
    train.run(request.getfixturevalue("mini_config")("prediction.calibration=0.3"))
    request.getfixturevalue("capsys").readouterr()
    made["folder"] = folder / "run"


def test_a_prediction_is_the_evaluations(trained):
    model, cache = msdn_lit.load(trained), ScoreCache.load(trained / "scores" / "last.npz")
    predictions = model.predict([image_of(row) for row in cache.rows_N])
    assert len(predictions) > 20
    for n, found in enumerate(predictions):
        margins = np.where(np.isin(np.arange(miniature.C), cache.unseen), 0.3, -0.3)
        expected = sum(
            a * (z[n] + margins) for a, z in zip(cache.fusion, cache.logits_ONC, strict=True)
        )
        order = np.argsort(-expected)[:5]
        assert [c.name for c in found.classes] == [f"{c + 1:03d}.class_{c}" for c in order]
        assert [c.score for c in found.classes] == pytest.approx(expected[order].tolist(), abs=1e-5)
        assert {c.name: c.domain for c in found.classes}.items() <= {
            f"{c + 1:03d}.class_{c}": "unseen" if c in miniature.UNSEEN else "seen"
            for c in range(miniature.C)
        }.items()


def test_every_score_is_the_sum_of_its_parts(trained):
    found = msdn_lit.load(trained).predict(image_of(3), top_k=8)
    for part in found.classes:
        assert part.contributions_K.sum() + part.margin == pytest.approx(part.score, abs=1e-5)
    fused = (
        0.9 * found.subnet_scores["attribute_to_visual"]
        + 0.1 * found.subnet_scores["visual_to_attribute"]
    )
    np.testing.assert_allclose(found.attribute_scores_K, fused, rtol=1e-6)
    assert found.attention["attribute_to_visual"].shape == (miniature.K, 2, 2)
    np.testing.assert_allclose(
        found.attention["attribute_to_visual"].sum(axis=(1, 2)), 1, rtol=1e-5
    )
    np.testing.assert_allclose(found.attention["visual_to_attribute"].sum(axis=0), 1, rtol=1e-5)
    record = json.loads(json.dumps(found.to_dict()))
    for part in record["classes"]:
        total = sum(part["contributions"].values()) + part["other contributions"] + part["margin"]
        assert total == pytest.approx(part["score"])


def test_leads_and_likeness_are_those_of_the_evaluation(trained):
    """Each against a loop over the score cache and the features of the store."""
    model, cache = msdn_lit.load(trained), ScoreCache.load(trained / "scores" / "last.npz")
    leads = []
    for n, label in enumerate(cache.labels_N):
        fused_C = np.zeros(miniature.C)
        for weight, logits_NC in zip(cache.fusion, cache.logits_ONC, strict=True):
            for c in range(miniature.C):
                margin = 0.3 if c in cache.unseen else -0.3
                fused_C[c] += weight * (logits_NC[n, c] + margin)
        first, second = np.argsort(-fused_C)[:2]
        if first == label:
            leads.append(fused_C[first] - fused_C[second])
    expected = [np.percentile(leads, percent) for percent in range(101)]
    assert model.reference.leads.tolist() == pytest.approx(expected, abs=1e-5)
    found = model.predict([image_of(row) for row in cache.rows_N])
    middle = sorted(leads)[len(leads) // 2]
    certain = [one.certainty for one in found if one.lead < middle]
    assert 0 <= max(certain) <= 0.5 + 1 / len(leads)
    assert model.predict(image_of(0), classes=["class 0", "class 1"]).certainty is None

    means_ND = np.load(trained.parent / "again" / "regions.npy").astype(float).mean(axis=1)
    split = model_split(trained)
    training = [means_ND[row] for row in split["trainval"]]

    def likeness(row):
        x = means_ND[row]
        return max(x @ t / (np.linalg.norm(x) * np.linalg.norm(t)) for t in training)

    tests = [likeness(row) for row in cache.rows_N]
    for row, one in zip(cache.rows_N, found, strict=True):
        less = np.mean([value < likeness(row) - 1e-6 for value in tests])
        assert one.likeness == pytest.approx(less, abs=1.5 / len(tests))
    assert model.predict(image_of(split["trainval"][0])).likeness == 1


def model_split(folder):
    """Rows of each split of a run."""
    data = unread_datamodule(load_config(folder))
    return split_indices(data.read_split(), data.val_seen, ("trainval", "test_seen"))


def test_a_model_without_attention(pooled_model):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = pooled_model.predict(image, top_k=8)
    assert found.attention == {}
    with torch.no_grad():
        maps_BDHW = pooled_model.backbone.feature_map(
            pooled_model.transform.standardise(torch.from_numpy(image)[None])
        )
        scores_K = maps_BDHW.mean(dim=(2, 3))[0] @ pooled_model.net.weights_DK
    np.testing.assert_allclose(found.attribute_scores_K, scores_K, rtol=1e-4, atol=1e-5)
    assert list(found.subnet_scores) == ["image"]
    assert len(found.counterfactuals) == len(found.classes) - 1
    assert json.loads(json.dumps(found.to_dict()))["classes"][0]["class"] == found.best.name


def test_one_image_or_many_in_any_form(trained, tmp_path):
    model, file = msdn_lit.load(trained), tmp_path / "Vögel ä.png"
    Image.fromarray(image_of(7)).save(file)
    scores = [
        model.predict(image).best.score
        for image in (file, str(file), Image.open(file), image_of(7))
    ]
    assert scores == [scores[0]] * 4
    assert [found.best.score for found in model.predict([file] * 40)] == pytest.approx(
        [scores[0]] * 40, abs=1e-6
    )
    assert model.predict([]) == []
    with pytest.raises(DataError, match="is missing"):
        model.predict([file, tmp_path / "none.png"])
    with pytest.raises(DataError, match=r"expected uint8 from 0 to 255, found float64"):
        model.predict(np.zeros((2, 2)))


def test_classes_that_are_typed_for_one_call(trained):
    model = msdn_lit.load(trained)
    known = model.predict(image_of(0), classes=["class 3", "001.class_0"], top_k=9)
    assert {c.name for c in known.classes} == {"004.class_3", "001.class_0"}
    values_K = model.classes.attributes_CK[3]
    typed = dict(
        zip(model.attribute_names, (values_K / values_K.max() * 100).tolist(), strict=True)
    )
    found = model.predict(image_of(0), classes={"mine": typed, "other": {"like": "class 0"}})
    same = {c.name: c.score - c.margin for c in known.classes}
    assert {c.name: c.score - c.margin for c in found.classes} == pytest.approx(
        {"mine": same["004.class_3"], "other": same["001.class_0"]}, abs=1e-5
    )
    assert {c.domain for c in found.classes} == {"new"}


def test_a_run_that_does_not_fit(trained, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="is no run folder"):
        msdn_lit.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"best\.ckpt is missing"):
        msdn_lit.load(trained, checkpoint="best")
    monkeypatch.setattr(RowBackbone, "weights_sha256", lambda _: "others")
    with pytest.raises(
        DataError, match="The backbone has other weights: expected none, found others"
    ):
        msdn_lit.load(trained)


def test_regions_without_a_backbone(load_config):
    with pytest.raises(DataError, match="features are not extracted from images"):
        build_predictor.predictor(load_config("features=semisynthetic"))


def test_the_package_imports_no_torch_until_it_is_asked_for():
    code = "import sys, msdn_lit; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = msdn_lit.lode


def test_the_page_is_shown_before_slow_packages_are_imported():
    modules = "msdn_lit.commands.use.app, msdn_lit.inference.page.server"
    code = f"import sys, {modules}; print(sorted({{'numpy', 'PIL', 'torch'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_garbage_is_collected_again_after_a_command_has_opened_a_model(tiny_run, monkeypatch):
    options = Namespace(run=tiny_run, checkpoint="last", data_dir=None, trust=False)
    collected = []
    with monkeypatch.context() as patch:
        patch.setattr("msdn_lit.build.load.load", lambda *_, **__: collected.append(gc.isenabled()))
        load_model(options)
    options.run = tiny_run / "missing"
    with pytest.raises(CheckpointError):
        load_model(options)
    assert (collected, gc.isenabled()) == ([False], True)


_OPEN_AND_COMPILE = """
import sys
from pathlib import Path
import msdn_lit
from msdn_lit.data.benchmarks import published
from tests import miniature

published.BENCHMARKS["MINI"] = miniature.MINI
model = msdn_lit.load(Path(sys.argv[1]))
assert model.net.training is False
slow = "lightning pytorch_lightning torchmetrics wandb matplotlib pandas jinja2 torch._dynamo"
print("loaded:", *({*slow.split()} & {*sys.modules}))

import torch
from torchvision.ops import roi_align

regions = torch.arange(16.0).reshape(1, 1, 4, 4)
pooled = roi_align(regions, torch.tensor([[0.0, 0, 0, 4, 4]]), 2, sampling_ratio=1, aligned=True)
print("pooled:", *pooled.flatten().tolist())
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported("cpu") is torch._dynamo.utils.is_compile_supported("cpu")
compiled = torch.compile(lambda x: 2 * x + 1, backend="eager")
print("compiled:", *compiled(torch.tensor([1.0, 2.0])).tolist())
import wandb
assert wandb.init and torch._dynamo.utils.counters is not None
"""


def test_opening_a_model_imports_nothing_for_training(tiny_run):
    command = [sys.executable, "-c", _OPEN_AND_COMPILE, str(tiny_run)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Each pooled value is the mean of 2 x 2 neighbours: bilinear interpolation between them.
    expected = ["loaded:", "pooled: 2.5 4.5 10.5 12.5", "compiled: 3.0 5.0"]
    assert done.stdout.splitlines() == expected


class TestDescribe:
    def test_a_row_has_the_proportions_and_unit_length(self):
        made = describe({"x": {"Wing color: red": 30, "bill shape cone": 40}}, NAMES, KNOWN)
        np.testing.assert_allclose(made.attributes_CK, [[0, 0.6, 0.8, 0]])
        assert (made.names, made.domains) == (("x",), ("new",))

    def test_in_words(self):
        made = describe({"x": "red wings 30, a cone-shaped bill: 40"}, NAMES, KNOWN)
        np.testing.assert_allclose(made.attributes_CK, [[0, 0.6, 0.8, 0]])
        assert (made.names, made.domains) == (("x",), ("new",))

    def test_like_a_known_class(self):
        made = describe({"x": {"like": "red bird", "wing color: black": True}}, NAMES, KNOWN)
        np.testing.assert_allclose(
            made.attributes_CK[0], np.array([100, 75, 100, 0]) / np.sqrt(100**2 * 2 + 75**2)
        )

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({}, "No class is described"),
            (["x"], "No class is described"),
            ({1: {"wing color: red": 3}, "1": {"wing color: red": 4}}, "Two classes have one name"),
            ({"x": 3}, "Class 'x' has no attributes"),
            ({"x": ""}, "Class 'x' has no attributes"),
            ({"x": "webbed feet"}, "'webbed feet' of 'x' names no one attribute"),
            (
                {"x": "cone, wings"},
                r"'wings' of 'x' names no one attribute. Did you mean wing color: black, wing",
            ),
            ({"x": "red wing 101"}, "'red wing 101' is out of range: expected 0 to 100"),
            ({"x": "no red wings"}, "no attribute above zero"),
            (
                {"x": {"wing color: red": 101}},
                "wing color: red of 'x' is out of range: expected 0 to 100",
            ),
            ({"x": {"wing color: red": -1}}, "out of range"),
            ({"x": {"wing color: red": float("nan")}}, "out of range"),
            ({"x": {"wing color: red": "much"}}, "out of range"),
            ({"x": {"wing color: red": 0}}, "no attribute above zero"),
            (
                {"x": {"wing colour: red": 5}},
                "There is no attribute 'wing colour: red'. Did you mean wing color: red",
            ),
            (
                {"x": {"wing color: red": 5, "has_wing_color::red": 6}},
                "gives has_wing_color::red twice",
            ),
            ({"x": {"like": "blue bird"}}, "There is no class 'blue bird'. Did you mean"),
        ],
    )
    def test_what_makes_no_sense(self, content, message):
        with pytest.raises(ConfigError, match=message):
            describe(content, NAMES, KNOWN)

    def test_names_that_are_taken(self):
        with pytest.raises(ConfigError, match=r"There is a class '002\.Red_Bird' already"):
            KNOWN + describe({"002.Red_Bird": {"like": "black bird"}}, NAMES, KNOWN)

    def test_classes_that_cannot_be_told_apart(self):
        same = {
            "a": {"wing color: red": 60, "bill shape: cone": 80},
            "b": {"wing color: red": 61, "bill shape: cone": 80},
        }
        assert describe(same, NAMES, KNOWN).indistinguishable() == [("a", "b")]
        assert (
            KNOWN + describe({"c": {"like": "red bird"}}, NAMES, KNOWN)
        ).indistinguishable() == [("002.Red_Bird", "c")]
        assert KNOWN.indistinguishable() == []

    def test_many_equal_classes_are_each_named_once(self):
        row_K = np.eye(1, len(NAMES), dtype=np.float32)
        names = tuple(f"class {number}" for number in range(2000))
        many = Candidates(names, np.repeat(row_K, 2000, axis=0), ("new",) * 2000)
        assert many.indistinguishable() == [("class 0", name) for name in names[1:]]

    def test_domains(self):
        assert KNOWN.in_domain("unseen").names == ("002.Red_Bird",)
        with pytest.raises(ConfigError, match="No class is named"):
            KNOWN.in_domain("new")


@pytest.mark.parametrize("name", NAMES)
def test_spelling_knows_what_was_typed(name):
    assert spelling(name) == spelling(
        name.removeprefix("has_").replace("::", ": ").replace("_", " ").upper()
    )


class TestClassFile:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: {x: 1}\na: {x: 2}\n", "'a' is given twice, line 1"),
            ("a:\n  x: 1\n  x: 2\n", "'x' is given twice"),
            ("a: {x: [}\n", "cannot be read as a class file"),
            ("- a\n", "is not a class file: expected class: {attribute: value}, found list"),
            ("!!python/object/apply:os.system ['true']\n", "cannot be read as a class file"),
            ("{[1]: 2}\n", "cannot be read as a class file"),
            ("{a: " * 30_000, "nested deeper than 100 levels"),
            ("b: &b [x, x]\nc: &c [*b, *b]\na: [*c, *c]\n", r"repeats a part by its name, \*b"),
        ],
    )
    def test_damaged(self, tmp_path, text, message):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_class_file(tmp_path / "c.yaml")

    def test_missing(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_class_file(tmp_path / "c.yaml")

    def test_classes_in_words(self, tmp_path):
        text = "fire finch: red wings, cone bill\nother:\n  wing color red: 5\n"
        (tmp_path / "c.yaml").write_text(text)
        made = describe(read_class_file(tmp_path / "c.yaml"), NAMES, KNOWN)
        np.testing.assert_allclose(made.attributes_CK, [[0, 0.5**0.5, 0.5**0.5, 0], [0, 1, 0, 0]])


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 5))
def test_counterfactuals_are_exact_and_none_is_smaller(seed, C, K):
    rng = np.random.default_rng(seed)
    scores_K, attributes_CK, margins_C = (
        rng.normal(size=K),
        rng.normal(size=(C, K)),
        rng.normal(size=C),
    )
    classes, attributes = [f"class {c}" for c in range(C)], [f"attribute {k}" for k in range(K)]
    found = counterfactuals(scores_K, attributes_CK, margins_C, classes, attributes)
    winner = int((attributes_CK @ scores_K + margins_C).argmax())

    def lead(change_K, rival):
        scores_C = attributes_CK @ (scores_K + change_K) + margins_C
        return scores_C[winner] - scores_C[rival]

    assert sorted(one.rival for one in found) == classes[:winner] + classes[winner + 1 :]
    for one in found:
        rival, k = classes.index(one.rival), attributes.index(one.attribute)
        one_K = one.change * np.eye(K)[k]
        assert lead(one_K, rival) == pytest.approx(0, abs=1e-9)
        assert lead(1.01 * one_K, rival) < 0
        direction_K = attributes_CK[rival] - attributes_CK[winner]
        assert lead(one.length * direction_K / np.linalg.norm(direction_K), rival) == pytest.approx(
            0, abs=1e-9
        )
    smallest = abs(found[0].change)
    for k in range(K):  # a smaller change of any one score keeps the prediction
        for change in (-0.999 * smallest, 0.999 * smallest):
            assert (
                attributes_CK @ (scores_K + change * np.eye(K)[k]) + margins_C
            ).argmax() == winner


class TestImages:
    def test_are_turned_upright(self, tmp_path):
        pixels = np.zeros((8, 4, 3), dtype=np.uint8)
        pixels[0] = 255  # the top row of the upright image
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees clockwise
        Image.fromarray(np.rot90(pixels)).save(tmp_path / "a.png", exif=exif)
        assert open_image(tmp_path / "a.png").size == (8, 4)
        turned = np.asarray(open_image(tmp_path / "a.png", upright=True))
        np.testing.assert_array_equal(turned, pixels)

    @pytest.mark.parametrize(
        ("mode", "size"),
        [
            ("CMYK", (30, 20)),
            ("I;16", (30, 20)),
            ("RGBA", (30, 20)),
            ("P", (30, 20)),
            ("RGB", (1, 1)),
        ],
    )
    def test_of_any_kind(self, trained, tmp_path, mode, size):
        path = tmp_path / ("a.tif" if mode != "P" else "a.gif")
        Image.new(mode, size, 3 if mode in ("I;16", "P") else None).save(path)
        assert msdn_lit.load(trained).predict(path).pixels.shape == (16, 16, 3)

    def test_animated(self, trained, tmp_path):
        frames = [Image.fromarray(image_of(row)) for row in (9, 1)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        model = msdn_lit.load(trained)
        assert model.predict(tmp_path / "a.gif").best.score == model.predict(image_of(9)).best.score


class TestCommand:
    @pytest.fixture
    def photos(self, tmp_path):
        folder = tmp_path / "photos"
        (folder / "below").mkdir(parents=True)
        for row, name in enumerate(("a.png", "b.PNG", "below/ö.png")):
            Image.fromarray(image_of(row)).save(folder / name)
        (folder / "notes.txt").write_text("no image")
        return folder

    def test_a_folder(self, command, trained, photos, tmp_path):
        code, out, err = command(predict, f"{trained}", f"{photos}", f"--output={tmp_path / 'out'}")
        assert (code, err) == (0, "")
        content = json.loads((tmp_path / "out" / "predictions.json").read_text())
        model = msdn_lit.load(trained)
        found = model.predict([photos / name for name in ("a.png", "b.PNG", "below/ö.png")])
        assert content == {
            "predictions": [prediction.to_dict() for prediction in found],
            "failures": {},
        }
        rows = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
        assert rows[0] == "image,rank,class,domain,score"
        assert len(rows) == 1 + 3 * 5
        assert all(name in out for name in ("a.png", "b.PNG", "ö.png"))

    def test_what_cannot_be_read_leaves_the_rest_done(self, command, trained, photos, tmp_path):
        (photos / "c.jpg").write_bytes(b"no image")
        (photos / "d.png").write_bytes((photos / "a.png").read_bytes()[:-30])
        Image.new("1", (20_000, 20_000)).save(photos / "e.png")
        Image.new("RGB", (20_000, 10)).save(photos / "f.png")
        code, _, err = command(predict, f"{trained}", f"{photos}", f"--output={tmp_path / 'out'}")
        lines = err.splitlines()
        assert (code, len(lines)) == (2, 5)
        assert all(
            f"{name} " in line
            for name, line in zip(("c.jpg", "d.png", "e.png", "f.png"), lines, strict=False)
        )
        assert (
            lines[-1] == "msdn predict: 4 of 7 images could not be read; the others are predicted."
        )
        content = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert (len(content["predictions"]), len(content["failures"])) == (3, 4)

    def test_typed_classes(self, command, trained, photos, tmp_path):
        name = msdn_lit.load(trained).attribute_names[0]
        (tmp_path / "mine.yaml").write_text(
            f'x: {{"{name}": 50}}\ny: {{"{name}": 100}}\nz: {{like: class 1}}\n'
        )
        arguments = [
            f"{trained}",
            f"{photos / 'a.png'}",
            f"--output={tmp_path / 'out'}",
        ]
        code, _, err = command(
            predict, *arguments, f"--classes={tmp_path / 'mine.yaml'}", "--extend", "--top-k=20"
        )
        assert code == 0
        reason = "Classes with nearly equal attributes cannot be distinguished:"
        assert err == f"msdn predict: {reason} x and y, 002.class_1 and z.\n"
        assert (
            len((tmp_path / "out" / "predictions.csv").read_text().splitlines())
            == 1 + miniature.C + 3
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere"], "nowhere is missing"),
            (["empty"], "empty has no images"),
            ([], "required: IMAGE"),
            (["empty", "--top-k=0"], "--top-k"),
            (["photos", "--classes=none.yaml"], "none.yaml cannot be read as a class file"),
            (["photos", "--classes=class 9"], "There is no class 'class 9'"),
        ],
    )
    @pytest.mark.usefixtures("photos")
    def test_bad_input(self, command, trained, tmp_path, arguments, message):
        (tmp_path / "empty").mkdir()
        code, _, err = command(predict, f"{trained}", *arguments)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
