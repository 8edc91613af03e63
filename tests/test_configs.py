"""Every config of conf/ composes, and builds the settings of the released code."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from msdn_lit.build import task as build
from msdn_lit.build import trainer as build_trainer
from msdn_lit.commands._overrides import check_overrides
from msdn_lit.commands._words import read_words
from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.samplers import ClassBalancedBatches, ShuffledEpochs, UniformBatches
from msdn_lit.errors import ConfigError
from msdn_lit.files import config_dir
from msdn_lit.training.header import header_lines
from tests import composition
from tests.helpers import semantics

GROUPS = (
    "data",
    "features",
    "sampler",
    "model",
    "loss",
    "optimizer",
    "protocol",
    "trainer",
    "callbacks",
    "logger",
)
EXPERIMENTS = sorted(
    p.relative_to(config_dir() / "experiment").with_suffix("")
    for p in config_dir().glob("experiment/**/*.yaml")
)
CHOICES = [
    (g, p.stem)
    for g in (*GROUPS, "debug", "trial_launcher", "hparams_search", "compile", "scheduler")
    for p in sorted((config_dir() / g).glob("[!_]*.yaml"))
]
# Images of trainval, test_seen and test_unseen.
IMAGES = {
    "CUB": (7_057, 1_764, 2_967),
    "SUN": (10_320, 2_580, 1_440),
    "AWA2": (23_527, 5_882, 7_913),
    "SYNTHETIC": (800, 200, 300),
}
ATTRIBUTES = {"CUB": 312, "SUN": 102, "AWA2": 85}
MODELS = [
    "msdn",
    "msdn_paper",
    "attribute_to_visual",
    "visual_to_attribute",
    "dazle",
    "pooled",
    "eszsl",
]
# The settings of the released code. Columns: images of trainval, passes, steps per evaluation,
# batch size, sampler, lambda_cal, lambda_distill, fusion, momentum, renormalize, clamp_negative,
# seed.
UNI, BAL = UniformBatches, ClassBalancedBatches
SETTINGS = {
    "cub_gzsl":  (7_057,  30, 141, 50, UNI, 0.1,  1e-3, (0.9, 0.1), 0.9, False, False, 214),
    "cub_czsl":  (7_057,  30, 141, 50, UNI, 0.18, 1e-3, (0.9, 0.1), 0.9, False, False, 214),
    "sun_gzsl":  (10_320, 70, 206, 50, BAL, 1e-4, 1e-2, (0.7, 0.3), 0.9, False, False, 2339),
    "sun_czsl":  (10_320, 70, 206, 50, BAL, 1e-4, 1e-2, (0.7, 0.3), 0.9, False, False, 2339),
    "awa2_gzsl": (23_527, 50, 470, 40, BAL, 0.12, 1e-7, (1.0, 0.0), 0.0, True, True, 87778),
    "awa2_czsl": (23_527, 50, 470, 40, BAL, 0.3,  1e-7, (1.0, 0.0), 0.0, True, True, 6379),
}  # fmt: skip


def test_all_experiments_are_known():
    assert len(EXPERIMENTS) >= 11
    assert {"cub_gzsl", "demo", "ablation/paper_form"} <= {
        str(experiment) for experiment in EXPERIMENTS
    }


def header_of(cfg, choices, task, trainer):
    """Header of a training, with the numbers of images of the real benchmark."""
    splits = (cfg.protocol.train_split, *cfg.protocol.eval_splits)
    sizes = dict(zip(splits, IMAGES[cfg.data.benchmark], strict=True))
    about = SimpleNamespace(
        benchmark=cfg.data.benchmark, features=cfg.features.name, choices=choices, seed=cfg.seed
    )
    data = SimpleNamespace(
        chosen_cache="disk",
        train_split=splits[0],
        eval_splits=splits[1:],
        indices={name: range(size) for name, size in sizes.items()},
        split=SimpleNamespace(labels_N=np.zeros(sum(sizes.values()))),
        sampler=lambda labels_N: lambda step: range(cfg.sampler.batch_size),
    )
    run = SimpleNamespace(record=SimpleNamespace(description=about), task=task)
    return header_lines(SimpleNamespace(data=data, trainer=trainer, runs=[run], first_step=0))


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=str)
def test_every_experiment_composes_builds_and_steps(load_config, experiment, tmp_path):
    is_delta = str(experiment).startswith(("ablation/", "paper_vs_release/"))
    chosen = f"[cub_gzsl,{experiment}]" if is_delta else experiment
    words = [f"experiment={chosen}", f"paths.run_dir={tmp_path}", "trainer=cpu"]
    cfg = load_config(*words, with_hydra=True)
    choices = cfg.hydra.runtime.choices
    cfg = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    cfg.trainer.val_check_interval = cfg.trainer.val_check_interval or 141  # null: one pass
    cfg.trainer.max_steps = cfg.trainer.max_steps or 4234  # null: `passes`
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    data = semantics(K=ATTRIBUTES[cfg.recipe_of] if cfg.model.get("groups") else 5)
    inputs, D, grid = torch.rand(3, 4, 6), 6, (2, 2)
    if cfg.features.get("train", "none") != "none":  # a small backbone, without the weights' file
        target = "msdn_lit.models.RegionBackbone"
        cfg.features.backbone = dict(_target_=target, model_name="test_resnet", pretrained=False)
        inputs, D, grid = torch.rand(3, 64, 64, 3) * 255, 96, (2, 2)
    task = build.task(cfg, data, visual_dim=D, grid=grid)
    loss = task.loss(task.net(inputs), torch.tensor([0, 1, 2])).loss
    loss.backward()
    configured = task.configure_optimizers()
    (configured["optimizer"] if isinstance(configured, dict) else configured).step()
    assert torch.isfinite(task.predict_logits(inputs)).all()
    loggers = build_trainer.loggers(cfg)
    trainer = build_trainer.trainer(cfg, [], loggers)
    assert trainer.max_steps == cfg.trainer.max_steps > 0
    assert all(len(line) <= 80 for line in header_of(cfg, choices, task, trainer))


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=dedn/cub_gzsl", "optimizer=adam", "seed=5", "~callbacks.progress"],
        ["experiment=[cub_gzsl,ablation/none]", "scheduler=cosine", "trainer.max_steps=7"],
    ],
)
def test_kept_compositions_equal_those_of_hydra(load_config, monkeypatch, words):
    def composed():
        config = OmegaConf.to_container(load_config(*words, with_hydra=True))
        return config | {"sweep_name": None}  # the time

    kept = [composed() for _ in range(2)]
    monkeypatch.setattr(composition, "_is_ours", lambda repo: False)
    assert kept == [composed()] * 2


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_of_every_group_composes(load_config, group, choice):
    OmegaConf.to_container(
        load_config(f"{group}={choice}").copy(), resolve=False, throw_on_missing=True
    )


@pytest.mark.parametrize(
    ("model", "loss"),
    list(itertools.product(MODELS, ["msdn", "msdn_paper", "ale", "sje", "devise"])),
)
def test_every_model_goes_with_every_loss(load_config, model, loss):
    task = build.task(
        load_config(f"model={model}", f"loss={loss}"), semantics(), visual_dim=6, grid=(2, 2)
    )
    terms = task.loss(task.net(torch.rand(3, 4, 6)), torch.tensor([0, 1, 2]))
    assert torch.isfinite(torch.stack(terms)).all()


@pytest.mark.parametrize("experiment", SETTINGS)
def test_experiments_have_the_settings_of_the_release(load_config, experiment):
    n, epochs, every, batch, draw, cal, distill, fusion, momentum, renorm, clamp, seed = SETTINGS[
        experiment
    ]
    cfg = load_config(f"experiment={experiment}")
    assert (cfg.trainer.max_steps, cfg.trainer.val_check_interval) == (n * epochs // 50, every)
    assert every == n // 50
    assert (cfg.sampler.batch_size, cfg.seed, cfg.data.semantics.clamp_negative) == (
        batch,
        seed,
        clamp,
    )
    assert cfg.sampler._target_.endswith(draw.__name__)
    assert (cfg.loss.lambda_cal, cfg.loss.lambda_distill) == (cal, distill)
    assert (cfg.loss.calibration, cfg.prediction.calibration) == (1.0, 1.0)
    assert tuple(cfg.prediction.fusion.values()) == fusion
    assert (
        list(cfg.prediction.fusion)
        == list(cfg.model.subnets)
        == ["attribute_to_visual", "visual_to_attribute"]
    )
    assert cfg.model.renormalize is renorm
    optimizer = build.task(cfg, semantics(), visual_dim=6, grid=(2, 2)).configure_optimizers()
    assert isinstance(optimizer, torch.optim.RMSprop)
    expected = dict(
        lr=1e-4, weight_decay=1e-4, momentum=momentum, alpha=0.99, eps=1e-8, centered=False
    )
    assert {name: optimizer.defaults[name] for name in expected} == expected
    assert cfg.trainer.precision == "32-true"


def test_epoch_sampler_is_a_choice(load_config):
    assert load_config("sampler=epoch").sampler._target_.endswith(ShuffledEpochs.__name__)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "scheduler=null",
            r"`?scheduler=null`? is not supported by Hydra 1.3. Omit it, or write ~scheduler",
        ),
        ("lr=1", r"no config key 'lr'\. Type optimizer\.lr=1\."),
        ("optimzer.lr=1", r"no config key 'optimzer.lr'\. Type optimizer\.lr=1\."),
        (
            "optimizer.lr=fast",
            r"optimizer.lr has the wrong type: expected a value like 0.0001 \(float\), found 'f",
        ),
        ("sampler.batch_size=2.5", r"sampler.batch_size has the wrong type.*int.*2.5"),
        ("model.renormalize=3", r"model.renormalize has the wrong type.*bool"),
        ("seed=1,two", r"seed has the wrong type"),
        ("sampler.batch_size=true", r"sampler.batch_size has the wrong type"),
    ],
)
def test_wrong_overrides_are_refused_with_a_hint(override, message):
    with pytest.raises(ConfigError, match=message):
        check_overrides("train", read_words("msdn train", ["-m", override]))


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=1",
        "seed=1,2,3",
        "data.semantics.word_vectors=null",
        "+data.new=1",
        "~logger.csv",
        "model=msdn_paper",
        "hydra.run.dir=x",
        "trainer.devices=[0]",
        "model.subnets.visual_to_attribute.attention._target_=x model=msdn_paper",
        "seed=choice(1,2)",
        "loss.lambda_cal=range(0,1,0.5)",
        "prediction.fusion={attribute_to_visual: 0.5, visual_to_attribute: 0.5}",
    ],
)
def test_right_overrides_pass(override):
    parsed = [override] if "{" in override else override.split(" ")
    OverridesParser.create().parse_overrides(parsed)
    check_overrides("train", read_words("msdn train", ["-m", *parsed]))


@pytest.mark.parametrize("name", sorted(BENCHMARKS.keys() - {"MINI"}))
def test_facts_of_the_benchmarks_are_those_of_the_configs(load_config, name):
    semantics = load_config(f"data={name.lower()}").data.semantics
    benchmark = BENCHMARKS[name]
    assert semantics.word_vectors == benchmark.word_vectors
    assert semantics.clamp_negative == benchmark.clamp_negative
