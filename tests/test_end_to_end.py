"""Training through the backbone: images instead of a feature store."""

import copy
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import msdn_lit
from msdn_lit.build.features import extraction
from msdn_lit.build.load import load_run, write_bundle_of_run
from msdn_lit.build.task import datamodule, task, unread_datamodule
from msdn_lit.build.training import training
from msdn_lit.commands.data import extract as extract_command
from msdn_lit.commands.train import finetune
from msdn_lit.data import Augmentation, ImageTransform
from msdn_lit.data.batches import BatchLoader
from msdn_lit.data.features import pixels
from msdn_lit.data.features.extraction import write_store
from msdn_lit.data.features.store import FeatureStore, Manifest
from msdn_lit.data.fine_tuning import FINE_TUNED, fine_tunings, trained_rows
from msdn_lit.errors import ConfigError, DataError, LeakError, UserError
from msdn_lit.models import EndToEnd, RegionBackbone
from msdn_lit.models.backbones.end_to_end import last_stage
from msdn_lit.models.backbones.weights import read_fine_tuning
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.runs.summary import read_result, result_title
from msdn_lit.training.fit import fit
from tests import miniature
from tests.helpers import IMAGES, PulledPlug, PullPlug, add_callback, checkpoint_of, weights_of

SIZE = 32
FEATURES = [
    *("features=synthetic", "features.name=tiny", f"features.transform.image_size={SIZE}"),
    *("features.backbone.model_name=test_resnet", "protocol=honest"),
    *("trainer.max_steps=6", "trainer.val_check_interval=3"),
]
BACKBONE = {"pretrained": False, "stage": 2, "model_args": {"zero_init_last": False}}
ALL = ["features.train=all", "optimizer.backbone_lr=1e-3"]


@pytest.fixture
def config(load_config, mini_overrides, data_dir, tmp_path):
    """The miniature benchmark with images, and features of a random backbone."""
    miniature.write_images(data_dir, (40, 36))
    kept = [o for o in mini_overrides if not o.startswith(("features.", "data.store_dir"))]
    place = f"paths.feature_dir={tmp_path / 'features'}"
    return lambda *more: load_config(*kept, place, *FEATURES, *more)


@pytest.fixture
def train(config, tmp_path):
    """Trains in this process; returns the run folder."""

    def run(name, *more):
        folder = tmp_path / name
        fit(training(config(f"paths.run_dir={folder}", *more)))
        return folder

    return run


def extract(cfg):
    """Extracts the features of a config; returns their store."""
    data = unread_datamodule(cfg)
    split = data.benchmark.read_split(data.data_dir)
    source, manifest, batch_size = extraction(cfg, data.benchmark, split, {})
    write_store(data.store_dir, manifest, source, batch_size, images=source.images.paths)
    return FeatureStore(data.store_dir)


def tiny(train="all", **more):
    """A net on images of 32 px: a random ResNet and a pooled linear map."""
    backbone = RegionBackbone("test_resnet", **BACKBONE)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4 * 4 * 48, 3))
    return EndToEnd(backbone, net, mean=[0.5] * 3, std=[0.25] * 3, train=train, **more)


def small(count=4):
    return torch.from_numpy(IMAGES[:count, :SIZE, :SIZE].copy())


# The net


def test_the_regions_are_those_of_a_store(config):
    cfg = config()
    store = extract(cfg)
    data = datamodule(config("features.train=all"))
    net = task(config("features.train=all"), data.semantics, data.visual_dim, data.grid).net
    assert store.manifest.weights_sha256 == data.store.manifest.weights_sha256
    assert store.manifest.shape == data.store.manifest.shape
    assert store.manifest.grid == data.grid
    rows = np.array([3, 90, 41])
    found = net.regions(torch.from_numpy(data.store.gather(rows)))
    expected = torch.from_numpy(store.gather(rows)).float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_images_are_standardised_as_in_extraction():
    net = EndToEnd(
        RegionBackbone("test_resnet", **BACKBONE),
        nn.Identity(),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    seen = []
    net.backbone.forward_map = lambda images_B3HW: seen.append(images_B3HW) or images_B3HW
    net(small())
    transform = ImageTransform(SIZE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert torch.equal(seen[0], transform.standardise(small()))


def test_without_gradients_images_go_through_in_parts(monkeypatch):
    net = tiny()
    whole = net(small(3))
    monkeypatch.setattr("msdn_lit.models.backbones.end_to_end._CHUNK", 2)
    with torch.no_grad():
        torch.testing.assert_close(net(small(3)), whole.detach())


@pytest.mark.parametrize("part", ["none", "last_stage", "all"])
def test_gradients_reach_the_trained_part_only(part):
    net = tiny(part).train()
    net(small()).square().sum().backward()
    reached = {
        name for name, weight in net.backbone.model.named_parameters() if weight.grad is not None
    }
    every = {name for name, _ in net.backbone.model.named_parameters()}
    expected = {
        "none": set(),
        "last_stage": {name for name in every if name.startswith("layer2.")},
        "all": every,
    }
    assert reached == expected[part]
    assert ("conv1.0.weight" in reached) == (part == "all")
    groups = net.parameter_groups(None)
    assert len(groups[1]["params"]) == len(expected[part])


LAST = {  # timm's model -> what its last stage begins with, and what it has besides
    ("resnet18", None): ("layer4.0.conv1.weight", "layer4.1.bn2.bias"),
    ("tf_efficientnet_lite0", None): ("blocks.5.0.conv_pw.weight", "bn2.bias"),
    ("test_vit", None): ("blocks.5.norm1.weight", "norm.bias"),
    ("test_convnext", None): ("stages.3.downsample.0.weight", "head.norm.bias"),
    ("test_convnext", 1): ("stages_1.downsample.0.weight", "stages_1.blocks.1.mlp.fc2.bias"),
    ("resnet18", 1): ("layer1.0.conv1.weight", "layer1.1.bn2.bias"),
}


@pytest.mark.parametrize(("model", "stage"), LAST)
def test_the_last_stage_of_timms_models(model, stage):
    backbone = RegionBackbone(model, pretrained=False, stage=stage)
    names = {id(weight): name for name, weight in backbone.model.named_parameters()}
    found = [names[id(weight)] for weight in last_stage(backbone)]
    assert (found[0], found[-1]) == LAST[model, stage]
    assert len(found) == len({*found}) < len(names)


@pytest.mark.fault("settings")
def test_a_backbone_without_stages_is_refused():
    backbone = RegionBackbone("resnet10t", pretrained=False)
    backbone.model.feature_info = []
    with pytest.raises(ConfigError, match=r"Use features\.train=all"):
        EndToEnd(backbone, nn.Identity(), mean=[0] * 3, std=[1] * 3, train="last_stage")


def test_batch_statistics_stay():
    net = tiny().train()
    before = copy.deepcopy(dict(net.backbone.named_buffers()))
    net(small()).sum().backward()
    assert net.net.training
    assert not any(module.training for module in net.backbone.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.backbone.named_buffers())


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = tiny(checkpointing=checkpointing).train()
        net(small()).square().sum().backward()
        gradients.append([weight.grad for weight in net.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


def test_the_backbone_has_its_own_learning_rate(config):
    cfg = config("optimizer=adamw", "optimizer.lr=0.1", "optimizer.backbone_lr=0.02", *ALL[:1])
    data = datamodule(cfg)
    made = task(cfg, data.semantics, data.visual_dim, data.grid)
    net, backbone = made.configure_optimizers().param_groups
    assert (net["lr"], backbone["lr"]) == (0.1, 0.02)
    assert (net["weight_decay"], backbone["weight_decay"]) == (1e-4, 1e-4)
    assert len(net["params"]) == len(list(made.net.net.parameters()))


# Images


def test_an_augmented_image_is_decided_by_its_key():
    image = Image.fromarray(IMAGES[0])
    augmentation = Augmentation()
    keys = [(0, 5, 7), (0, 5, 7), (1, 5, 7), (0, 6, 7), (0, 5, 8), (0, 5, 0)]
    first, same, *others = (np.array(augmentation.apply(image, SIZE, key)) for key in keys)
    assert first.shape == (SIZE, SIZE, 3)
    assert np.array_equal(first, same)
    assert not any(np.array_equal(first, other) for other in others)


def test_boxes_are_inside_and_of_the_wanted_area():
    augmentation = Augmentation(area=(0.2, 0.6), aspect_ratio=1.5)
    random = np.random.default_rng(0)
    boxes = np.array([augmentation.box((200, 100), random) for _ in range(2000)])
    left, upper, right, lower = boxes.T
    assert min(left.min(), upper.min()) >= 0
    assert right.max() <= 200
    assert lower.max() <= 100
    width, height = right - left, lower - upper
    is_whole = height < 100 - 1e-9
    shares = (width * height / 20_000)[is_whole]
    assert shares.min() == pytest.approx(0.2, abs=0.01)
    assert shares.max() == pytest.approx(0.6, abs=0.01)
    ratios = (width / height)[is_whole]
    assert ratios.min() == pytest.approx(1 / 1.5, abs=0.01)
    assert ratios.max() == pytest.approx(1.5, abs=0.01)


def test_without_crop_and_flip_an_image_is_that_of_extraction():
    image = Image.fromarray(IMAGES[0])
    whole = Augmentation(area=(1, 1), aspect_ratio=1, flip=0).apply(image, SIZE, (0, 0, 0))
    expected = ImageTransform(SIZE, (0, 0, 0), (1, 1, 1)).crop(image)
    assert np.array_equal(np.array(whole), np.array(expected))
    mirrored = Augmentation(area=(1, 1), aspect_ratio=1, flip=1).apply(image, SIZE, (0, 0, 0))
    assert np.array_equal(np.array(mirrored), np.array(expected)[:, ::-1])


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    "wrong", [{"area": (0, 1)}, {"area": (0.5, 1.1)}, {"aspect_ratio": 0.5}, {"flip": 2}]
)
def test_a_wrong_augmentation_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"features\.augmentation"):
        Augmentation(**wrong)


def test_the_number_of_workers_changes_no_image(config):
    found = []
    for workers in (0, 2):
        made = training(config(*ALL, f"features.num_workers={workers}"))
        made.data.trainer = made.trainer
        loader = made.data.train_dataloader()
        assert loader.num_workers == workers
        found.append(list(loader))
    assert len(found[0]) == 6
    for alone, shared in zip(*found, strict=True):
        assert alone.regions.dtype == torch.uint8
        assert all(torch.equal(a, b) for a, b in zip(alone[:3], shared[:3], strict=True))


def test_evaluation_is_without_augmentation(config):
    made = training(config(*ALL))
    made.data.trainer = made.trainer
    (batch, *_), *_ = made.data.val_dataloader()
    expected = made.data.store.gather(batch.rows.numpy())
    assert np.array_equal(batch.regions.numpy(), expected)


def test_workers_are_chosen_by_cores(config, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    made = training(config(*ALL, "features.num_workers=auto"))
    made.data.trainer = made.trainer
    assert made.data.train_dataloader().num_workers == 3


def test_cores_are_shared_and_a_pool_has_no_workers(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    assert [pixels.num_decoders(n) for n in (1, 2, 4, 8, 16)] == [7, 3, 1, 0, 0]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(100))
    assert pixels.num_decoders() == 16
    monkeypatch.setattr("multiprocessing.process._current_process._config", {"daemon": True})
    assert pixels.num_decoders() == 0


@pytest.mark.fault("images")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_does_not_decode_ends_in_one_line(config, data_dir, workers):
    data = datamodule(config(*ALL))
    dataset = data.dataset("trainval")
    path = data.store.images.paths[dataset.rows[4]]
    path.write_bytes(b"no image")
    loader = BatchLoader(dataset, batch_size=3, num_workers=workers)
    with pytest.raises(DataError, match=re.escape(str(path))) as caught:
        list(loader)
    assert "Traceback" not in str(caught.value)


# Training


def test_a_frozen_backbone_trains_as_on_the_store(config, train):
    extract(config())
    on_store = train("store", "features.train=none")
    frozen = ["features.train=all", "optimizer.backbone_lr=0", "features.augmentation=null"]
    on_images = train("images", *frozen)
    before, after = weights_of(on_store), weights_of(on_images)
    for name, weight in before.items():
        trained = after[name.replace("net.", "net.net.", 1)]
        torch.testing.assert_close(trained, weight, rtol=5e-3, atol=5e-4)
    logits = [ScoreCache.load(run / "scores" / "last.npz") for run in (on_store, on_images)]
    first, second = (torch.from_numpy(cache.fused([0.9, 0.1], 1.0)) for cache in logits)
    torch.testing.assert_close(second, first, rtol=5e-3, atol=5e-3 * float(first.abs().max()))
    facts = read_result(on_images)["backbone"]
    assert facts["start"] == facts["final"] == read_result(on_store)["data"]["weights"]
    assert read_result(on_store)["backbone"] is None


@pytest.mark.parametrize("part", ["last_stage", "all"])
def test_training_changes_the_trained_part_and_records_it(train, part):
    run = train("run", f"features.train={part}", "optimizer.backbone_lr=1e-3")
    found = weights_of(run)
    backbone = RegionBackbone("test_resnet", **BACKBONE)
    facts = read_result(run)["backbone"]
    assert (facts["trained"], facts["start"]) == (part, backbone.weights_sha256())
    changed = {
        name
        for name, weight in backbone.model.named_parameters()
        if not torch.equal(weight, found[f"net.backbone.model.{name}"])
    }
    every = {name for name, _ in backbone.model.named_parameters()}
    assert changed == {n for n in every if part == "all" or n.startswith("layer2.")}
    backbone.model.load_state_dict(
        {name: found[f"net.backbone.model.{name}"] for name in backbone.model.state_dict()}
    )
    assert backbone.weights_sha256() == facts["final"] != facts["start"]
    assert f"trained {part}" in (run / "RESULT.md").read_text()


def test_resuming_is_exact(train, tmp_path, monkeypatch):
    through = [*ALL, "model.region_dropout=0.3", "protocol=paper"]
    whole = checkpoint_of(train("whole", *through))
    add_callback(monkeypatch, PullPlug(step=4))
    with pytest.raises(PulledPlug):
        train("parts", *through)
    assert checkpoint_of(tmp_path / "parts")["global_step"] == 3
    resumed = checkpoint_of(train("parts", *through, "ckpt_path=last"))
    assert resumed["global_step"] == whole["global_step"] == 6
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, resumed["state_dict"][name]), name


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    "words",
    [
        ["features.train=some"],
        ["features.train=all", "model=eszsl", "optimizer=adam"],
        ["features.train=all", "protocol.seeds_in_parallel=2"],
    ],
    ids=str,
)
def test_what_has_no_gradient_for_a_backbone_is_refused(train, words):
    with pytest.raises(UserError):
        train("run", *words)


@pytest.mark.fault("settings")
def test_features_without_a_backbone_are_refused(load_config, mini_overrides):
    kept = [o for o in mini_overrides if not o.startswith(("features.", "data.store_dir"))]
    with pytest.raises(ConfigError, match="features have no backbone"):
        datamodule(load_config("features=semisynthetic", "+features.train=all", *kept))


# Its use


def test_a_run_predicts_with_its_own_backbone(config, train, tmp_path):
    run = train("run", *ALL)
    cfg = config(*ALL)
    data = datamodule(cfg)
    trained = task(cfg, data.semantics, data.visual_dim, data.grid).eval()
    trained.load_state_dict(weights_of(run))
    rows = data.indices["test_unseen"][:4]
    with torch.no_grad():
        logits_BC = trained.predict_logits(torch.from_numpy(data.store.gather(rows)))
    model = msdn_lit.load(run)
    assert model.backbone.weights_sha256() == read_result(run)["backbone"]["final"]
    paths = [data.store.images.paths[row] for row in rows]
    for found, logits_C in zip(model.predict(paths, top_k=8), logits_BC, strict=True):
        scores = {score.name: score.score for score in found.classes}
        names = data.semantics.class_names
        shown = torch.tensor([scores[name] for name in scores])
        wanted = torch.stack([logits_C[list(names).index(name)] for name in scores])
        torch.testing.assert_close(shown, wanted, rtol=1e-3, atol=1e-3)
    write_bundle_of_run(run, tmp_path / "bundle")
    bundled = msdn_lit.load(tmp_path / "bundle")
    assert bundled.backbone.weights_sha256() == model.backbone.weights_sha256()


def test_a_run_is_evaluated_again(train):
    run = train("run", *ALL)
    loaded = load_run(run)
    with torch.no_grad():
        for loader in loaded.data.val_dataloader():
            for index, batch in enumerate(loader):
                loaded.task.validation_step(batch, index)
    scores = loaded.task.metric.compute()
    assert float(scores.harmonic_mean) == pytest.approx(
        read_result(run)["scores"]["last"]["harmonic_mean"], abs=1e-6
    )


def test_a_training_starts_from_a_net_on_the_store(config, train):
    extract(config())
    run = train("store")
    made = training(config(*ALL, f"init_from={run}"))
    start = made.module.net.net.state_dict()
    for name, weight in weights_of(run).items():
        assert torch.equal(weight, start[name.removeprefix("net.")])
    with pytest.raises(DataError, match="the seen classes differ"):
        training(config(*ALL, f"init_from={run}", "protocol=validation"))
    with pytest.raises(UserError, match="of another model"):
        training(config(*ALL, f"init_from={run}", "model=pooled"))


# Fine-tune, then freeze


FINETUNE = ["features.train=all", "model=pooled", "loss=attributes", "optimizer=adamw"]


def frozen(run, name):
    """Overrides of features that are extracted with the weights of a run."""
    return [
        f"features.name={name}",
        f"features.backbone.weights_file={run / 'backbone.safetensors'}",
    ]


def test_fine_tuned_weights_are_extracted_and_stated(config, train, tmp_path):
    run = train("tuned", *FINETUNE, "seed=3")
    words = frozen(run, "tuned")
    store = extract(config(*words))
    facts = read_result(run)["backbone"]
    assert store.manifest.weights_sha256 == facts["final"] != facts["start"]
    ours = train("frozen", *words)
    stated = "fine-tuned on 6 seen classes of MINI (trainval), seed 3, 6 steps"
    assert read_result(ours)["data"]["features"]["fine_tuned"] == [stated]
    assert "FINE-TUNED BACKBONE" in result_title(read_result(ours))
    again = train("again", *FINETUNE, *words, "features.name=twice")
    twice = extract(config(*frozen(again, "twice")))
    entries = twice.manifest.computation["fine_tuned"]
    assert [entry["seed"] for entry in entries] == [3, 214]
    assert entries[1]["start"] == entries[0]["weights"] == facts["final"]


def test_msdn_finetune_prints_the_extraction_that_uses_its_weights(
    command, mini_overrides, data_dir, tmp_path
):
    miniature.write_images(data_dir, (40, 36))
    kept = [o for o in mini_overrides if not o.startswith(("features.", "data.store_dir"))]
    words = [*kept, *FEATURES, f"paths.feature_dir={tmp_path / 'features'}"]
    code, out, err = command(finetune, *words)
    assert code == 0, err
    (printed,) = (line for line in out.splitlines() if "msdn extract" in line)
    assert command(extract_command, *shlex.split(printed.partition("msdn extract ")[2]))[0] == 0
    store = FeatureStore(tmp_path / "features" / "MINI_tiny_finetuned")
    result = read_result(tmp_path / "run")
    assert store.manifest.weights_sha256 == result["backbone"]["final"]
    assert result["command"].startswith("msdn finetune ")
    assert result["backbone"]["trained"] == "last_stage"
    code, _, err = command(finetune, *words, "features.train=none", "overwrite=true")
    assert (code, err.count("\n")) == (2, 1)
    assert "Add features.train=last_stage or features.train=all" in err


@pytest.mark.fault("records")
def test_a_backbone_that_has_seen_evaluated_images_is_refused(config, train):
    words = frozen(train("tuned", *FINETUNE), "tuned")
    extract(config(*words))
    with pytest.raises(LeakError, match=r"The backbone was trained on \d+ images that are"):
        train("leaky", *words, "protocol=validation")
    with pytest.raises(LeakError, match="The backbone was trained on"):
        train("leaky", *words, *ALL, "protocol=validation")


def test_a_backbone_of_validation_is_used_under_validation(config, train):
    words = frozen(train("tuned", *FINETUNE, "protocol=validation"), "tuned")
    extract(config(*words))
    data = datamodule(config(*words, "protocol=validation"))
    used = trained_rows(data.store.manifest, "MINI")
    assert np.array_equal(used, np.sort(data.indices["train"]))
    train("ours", *words, "protocol=validation")
    changed = replace(data.store.manifest, images_sha256="another list")
    with pytest.raises(LeakError, match="fine-tuned on another list of images of MINI"):
        trained_rows(changed, "MINI")
    assert len(trained_rows(changed, "CUB")) == 0


@pytest.mark.fault("data files")
def test_a_store_of_other_weights_is_refused(config, train):
    extract(config(*frozen(train("first", *FINETUNE), "tuned")))
    words = frozen(train("second", *FINETUNE, "seed=1"), "tuned")
    with pytest.raises(DataError, match="was extracted with other weights than"):
        datamodule(config(*words))
    path = Path(config(*words).features.backbone.weights_file)
    content = path.read_bytes()
    damaged = content.replace(b'rows\\": \\"', b'rows\\": \\"#')
    assert len(damaged) == len(content) + 1
    header = int.from_bytes(damaged[:8], "little") + 1
    path.write_bytes(header.to_bytes(8, "little") + damaged[8:])
    with pytest.raises(DataError, match="fine-tuning is damaged"):
        fine_tunings(Manifest({}, "", (1, 1, 1), (1, 1), "", computation=stated(path)))


def stated(path):
    return {FINE_TUNED: read_fine_tuning(path)}


def test_images_of_an_end_to_end_run_are_described(train):
    run = train("run", *ALL)
    data = json.loads((run / "data.json").read_text())["images"]
    assert data["features"] == ""
    assert data["backbone"] == read_result(run)["backbone"]["start"]
