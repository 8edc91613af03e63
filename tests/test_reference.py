"""What predictions are compared with: scores, leads and likeness, in a run and in a bundle."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import msdn_lit
from msdn_lit.commands.use import export
from msdn_lit.data.features.images import ImageTransform
from msdn_lit.errors import CheckpointError
from msdn_lit.inference.reference import About, Likeness, Reference, leads_of, read_reference
from tests.run_folders import made_up_cache, write_run

ABOUT = About("msdn", "MINI", "tiny", "paper", "test", 9, {"T1": 50.0, "H": 40.0}, 12, 6, 2)
LEADS = np.linspace(0, 2, 101, dtype=np.float32)


@pytest.fixture
def cache():
    return made_up_cache()


def test_quantiles_of_leads_by_hand(cache):
    """Sorted leads of right answers; the value at a share p lies (n - 1) p steps up."""
    weights, margin = (0.3, 0.7), 0.4
    leads = []
    for n, label in enumerate(cache.labels_N):
        scores = {}
        for c in [*cache.seen, *cache.unseen]:
            sign = 1 if c in cache.unseen else -1
            scores[c] = sum(
                w * (logits_NC[n, c] + sign * margin)
                for w, logits_NC in zip(weights, cache.logits_ONC, strict=True)
            )
        first, second = sorted(scores, key=lambda c: -scores[c])[:2]
        if first == label:
            leads.append(scores[first] - scores[second])
    leads.sort()
    assert len(leads) > 5
    found = leads_of(cache, weights, margin)
    assert len(found) == 101
    for percent in (0, 1, 37, 50, 99, 100):
        place = (len(leads) - 1) * percent / 100
        low = int(place)
        high = min(low + 1, len(leads) - 1)
        expected = leads[low] + (place - low) * (leads[high] - leads[low])
        assert found[percent] == pytest.approx(expected, abs=1e-5)


def test_without_a_right_answer_there_are_no_leads(cache):
    always_wrong = np.zeros_like(cache.logits_ONC)
    for n, label in enumerate(cache.labels_N):
        always_wrong[:, n, label] = -100
    wrong = replace(cache, logits_ONC=always_wrong)
    assert leads_of(wrong, cache.fusion, 0.0) is None
    assert Reference().certainty(1.0) is None


@pytest.mark.parametrize(("lead", "share"), [(-1, 0), (0, 0), (0.5, 0.25), (1.99, 0.995), (3, 1)])
def test_certainty(lead, share):
    assert Reference(leads=LEADS).certainty(lead) == pytest.approx(share, abs=1e-6)


def test_likeness_by_hand():
    training_MD = np.array([[2, 0], [0, 3]], np.float32)
    test_ND = np.array([[1, 1], [1, 0], [3, 4], [0, 0.1]], np.float32)  # cosines .71, 1, .8, 1
    likeness = Likeness.of(training_MD, test_ND)
    assert likeness.similarities_N.tolist() == pytest.approx([0.5**0.5, 0.8, 1, 1])
    assert likeness.share(np.array([5, 0], np.float32)) == 0.5
    assert likeness.share(np.array([9, 10], np.float32)) == 0.25
    assert likeness.share(np.array([-1, -1], np.float32)) == 0


def test_what_a_run_says_of_itself(load_config, tmp_path):
    folder = write_run(tmp_path / "run", load_config())
    result = json.loads((folder / "result.json").read_text())
    last = result["scores"]["last"]
    how = {"domains": ["seen"] * 7 + ["unseen"] * 3, "calibration": 0.0}
    fusion = dict.fromkeys(("attribute_to_visual", "visual_to_attribute"), 0.5)
    about = read_reference(folder, "last", fusion=fusion, **how).about
    assert (about.benchmark, about.protocol) == (result["benchmark"], result["protocol"])
    assert (about.step, about.seen, about.unseen) == (last["step"], 7, 3)
    names = {"T1": "acc_czsl", "U": "acc_unseen", "S": "acc_seen", "H": "harmonic_mean"}
    assert about.scores == {name: 100 * last[long] for name, long in names.items()}

    other = read_reference(folder, "mine.ckpt", fusion=fusion, **how)
    assert (other.about.scores, other.about.step, other.leads) == ({}, None, None)
    (folder / "result.json").write_text("{")
    assert read_reference(folder, "last", fusion=fusion, **how) == Reference()


@pytest.mark.parametrize(
    "size", [(300, 200), (200, 300), (64, 64), (100, 101), (640, 427), (65, 9)]
)
def test_the_crop_is_where_it_says(size):
    """Each pixel of a ramp tells where it comes from."""
    width, height = size
    transform = ImageTransform(48, (0, 0, 0), (1, 1, 1))
    left, top, right, bottom = transform.crop_box(size)
    assert (right - left) * width == pytest.approx((bottom - top) * height, rel=0.05)
    for axis, (low, high) in enumerate([(left, right), (top, bottom)]):
        ramp = np.linspace(0, 255, size[axis])
        pixels = np.tile(ramp, (height, 1)) if axis == 0 else np.tile(ramp[:, None], (1, width))
        image = Image.fromarray(pixels.round().astype(np.uint8))
        seen = np.asarray(transform.crop(image))[..., 0].mean(axis=axis) / 255
        assert seen[0] == pytest.approx(low, abs=0.06)
        assert seen[-1] == pytest.approx(high, abs=0.06)
        assert seen.mean() == pytest.approx((low + high) / 2, abs=0.02)


@pytest.fixture
def bundle(tiny_run, command, tmp_path, monkeypatch):
    """A bundle of a model with a whole reference."""
    model = msdn_lit.load(tiny_run)
    D = model.backbone.feature_map(
        model.transform.standardise(torch_pixels(model.transform.image_size))
    ).shape[1]
    rng = np.random.default_rng(0)
    likeness = Likeness.of(rng.random((5, D), np.float32), rng.random((7, D), np.float32))
    made = replace(model, reference=Reference(ABOUT, LEADS, likeness))
    monkeypatch.setattr("msdn_lit.build.load.load", lambda *_, **__: made)
    assert command(export, f"{tiny_run}", f"--output={tmp_path / 'bundle'}")[0] == 0
    monkeypatch.undo()
    return tmp_path / "bundle", made


def torch_pixels(size):
    return torch.zeros(1, size, size, 3, dtype=torch.uint8)


def test_a_bundle_has_the_reference(bundle, pictures):
    folder, made = bundle
    loaded = msdn_lit.load(folder)
    assert loaded.reference.about == made.reference.about
    np.testing.assert_array_equal(loaded.reference.leads, LEADS)
    for ours, theirs in zip(made.predict(pictures), loaded.predict(pictures), strict=True):
        assert theirs.certainty == ours.certainty
        assert theirs.likeness == pytest.approx(ours.likeness, abs=1 / 7)  # features in float16
    (folder / "bundle.json").write_text(
        json.dumps(json.loads((folder / "bundle.json").read_text()) | {"reference": {}})
    )
    assert msdn_lit.load(folder).reference == Reference()


@pytest.mark.fault("run folders")
@pytest.mark.parametrize(
    "change",
    [
        {"about": {"model": "x"}},
        {"about": asdict(ABOUT) | {"step": "<script>"}},
        {"about": asdict(ABOUT) | {"scores": {"T1": float("nan")}}},
        {"about": asdict(ABOUT) | {"scores": ["T1"]}},
        {"about": asdict(ABOUT) | {"benchmark": 7}},
        {"leads": [0, 1]},
        {"leads": [0.0] * 100 + [float("nan")]},
        {"leads": [1.0] * 100 + [0.0]},
        {"leads": "x"},
        {"likeness": []},
        {"likeness": [2, 1]},
        [],
        "x",
    ],
    ids=str,
)
def test_a_damaged_reference_is_refused(bundle, change):
    folder, _ = bundle
    content = json.loads((folder / "bundle.json").read_text())
    changed = content["reference"] | change if isinstance(change, dict) else change
    (folder / "bundle.json").write_text(json.dumps(content | {"reference": changed}))
    with pytest.raises(CheckpointError, match=r"is damaged .*reference is invalid"):
        msdn_lit.load(folder)


@pytest.mark.fault("run folders")
def test_a_likeness_of_another_backbone_is_refused(bundle):
    folder, _ = bundle
    tensors = load_file(folder / "weights.safetensors")
    tensors["likeness"] = tensors["likeness"][:, :3].contiguous()
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"is damaged \(its backbone has"):
        msdn_lit.load(folder)
