"""The settings of TransZero, TransZero++ and DEDN in conf/ are those of their released code."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from msdn_lit.build import task as build
from msdn_lit.data.samplers import ClassBalancedBatches, UniformBatches
from msdn_lit.models.dedn import attribute_groups
from tests.helpers import semantics

IMAGES = {"cub": 7_057, "sun": 10_320, "awa2": 23_527}
SIZES = {"cub": (312, 14), "sun": (102, 14), "awa2": (85, 14)}  # attributes, side of the grid
UNI, BAL = UniformBatches, ClassBalancedBatches
# Columns: d, f, dropout, self-attention, renormalize; sampler, batch size; optimizer, lr, momentum;
# steps, steps between evaluations; seed; lambda_cal, lambda_reg.
ADAM, SGD = torch.optim.Adam, torch.optim.SGD
F, T = False, True
TRANSZERO = {
    "cub_gzsl": (300, 512, 0.4, T, F, UNI, 50, ADAM, 1e-4, None, 28_228, 141, 5, 0.3, 5e-3),
    "cub_czsl": (300, 512, 0.4, T, F, UNI, 50, ADAM, 1e-4, None, 28_228, 141, 5, 0.3, 5e-3),
    "sun_gzsl": (128, 2048, 0.3, F, F, BAL, 50, SGD, 1e-4, 0.9, 82_560, 206, 6, 0.25, 1e-3),
    "sun_czsl": (128, 2048, 0.3, F, F, BAL, 50, SGD, 1e-4, 0.9, 82_560, 206, 6, 0.25, 5e-3),
    "awa2_gzsl": (300, 512, 0.5, T, T, BAL, 40, SGD, 1e-4, 0.0, 94_108, 470, 17, 2, 5e-4),
    "awa2_czsl": (512, 512, 0.3, T, T, BAL, 40, SGD, 1e-4, 0.0, 94_108, 470, 9093, 1.2, 5e-5),
}  # fmt: skip
TRANSZERO_PP = {
    "cub_gzsl": (300, 512, 0.4, T, F, UNI, 50, ADAM, 1e-4, None, 28_228, 141, 4590, 0.2, 1e-4),
    "cub_czsl": (300, 512, 0.4, T, F, UNI, 50, ADAM, 1e-4, None, 28_228, 141, 3423, 0.2, 1e-4),
    "sun_gzsl": (128, 2048, 0.3, F, F, BAL, 50, ADAM, 1e-4, None, 41_280, 206, 1089, 0.1, 0.01),
    "sun_czsl": (128, 2048, 0.3, F, F, BAL, 50, ADAM, 1e-4, None, 41_280, 206, 5348, 0.1, 0.01),
    "awa2_gzsl": (300, 512, 0.5, T, T, BAL, 40, ADAM, 1e-5, None, 94_108, 470, 8746, 2, 5e-5),
    "awa2_czsl": (300, 512, 0.5, T, T, BAL, 40, ADAM, 1e-5, None, 94_108, 470, 8746, 2, 5e-5),
}  # fmt: skip
# lambda_v2a, lambda_score, lambda_logit, alpha, W_r from N(0, 1)
AGREEMENT = {
    "cub_gzsl": (0.1, 1e-3, 0.01, 0.9, False),
    "cub_czsl": (0.1, 1e-3, 0.01, 0.9, False),
    "sun_gzsl": (1.0, 0.01, 0.001, 0.6, True),
    "sun_czsl": (0.1, 0.01, 0.0, 0.2, True),
    "awa2_gzsl": (0.01, 1e-5, 1e-5, 0.6, False),
    "awa2_czsl": (0.01, 1e-5, 1e-5, 0.5, False),
}
# sampler, batch size, steps, steps between evaluations, seed; lambda_cal, label margin; w, e
DEDN = {
    "cub_gzsl": (BAL, 50, 11_291, 141, 214, 0, 3, 0.8, 0.9),
    "cub_czsl": (BAL, 50, 11_291, 141, 214, 0.18, 3, 0.6, 0.9),
    "sun_gzsl": (UNI, 50, 16_512, 206, 2339, 0, 2, 0.95, 0.3),
    "sun_czsl": (UNI, 50, 16_512, 206, 2339, 0, 2, 0.95, 0.3),
    "awa2_gzsl": (BAL, 40, 9_410, 470, 87778, 0.11, 2, 0.8, 0.5),
    "awa2_czsl": (UNI, 50, 9_410, 470, 87778, 0.11, 2, 0.8, 0.5),
}
# Trainable numbers that the released computation uses, as counted on the released code, without
# those off the diagonal of TransZero++'s w_e, which its computation ignores.
USED = {
    "transzero/cub_gzsl": 2_591_889,
    "transzero/sun_gzsl": 1_556_169,
    "transzero/awa2_gzsl": 2_523_789,
    "transzero_pp/cub_gzsl": 5_180_178 - 89_700,
    "transzero_pp/sun_gzsl": 3_076_106 - 16_256,
    "transzero_pp/awa2_gzsl": 5_112_078 - 89_700,
    "dedn/cub_gzsl": 9_612_000,
    "dedn/sun_gzsl": 6_726_640,
    "dedn/awa2_gzsl": 6_342_000,
}
GROUP_SIZES = {
    "dedn_cub": {"head": 112, "torso": 87, "wing": 24, "tail": 40, "leg": 15, "whole": 34},
    "dedn_awa2": {"texture": 18, "limbs": 15, "abstract": 38, "environment": 14},
    "dedn_sun": {"function": 38, "element": 27, "environment and material": 17, "others": 20},
    "dedn_sun_released": {
        "function": 64,
        "element": 27,
        "environment and material": 9,
        "others": 2,
    },
}


def dataset(recipe):
    return recipe.partition("_")[0]


@pytest.mark.parametrize(
    ("method", "recipe"),
    [(m, r) for m, t in (("transzero", TRANSZERO), ("transzero_pp", TRANSZERO_PP)) for r in t],
)
def test_transzero_has_the_settings_of_the_release(load_config, method, recipe):
    table = {"transzero": TRANSZERO, "transzero_pp": TRANSZERO_PP}[method]
    sizes, (sampler, batch, optimizer, lr, momentum), rest = (
        table[recipe][:5],
        table[recipe][5:10],
        table[recipe][10:],
    )
    cfg = load_config(f"experiment={method}/{recipe}")
    subnet = cfg.model.subnets.attribute_to_visual
    found = (subnet.dim, subnet.ffn_dim, subnet.dropout, subnet.self_attention)
    assert (*found, cfg.model.renormalize) == sizes
    made = build.task(cfg, semantics(), visual_dim=6, grid=(2, 2)).configure_optimizers()
    assert type(made) is optimizer
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (lr, 1e-4)
    assert made.defaults.get("momentum") == momentum
    check_lengths(cfg, recipe, sampler, batch, *rest[:3])
    assert (cfg.loss.lambda_cal, cfg.loss.lambda_reg) == rest[3:]


def check_lengths(cfg, recipe, sampler, batch, steps, every, seed):
    assert cfg.sampler._target_.endswith(sampler.__name__)
    assert (cfg.sampler.batch_size, cfg.seed) == (batch, seed)
    assert (cfg.trainer.max_steps, cfg.trainer.val_check_interval) == (steps, every)
    images = IMAGES[dataset(recipe)]
    assert steps in {images * passes // 50 for passes in (20, 80, 200, 400)}
    assert cfg.prediction.calibration == cfg.loss.calibration == 1.0
    assert cfg.data.semantics.clamp_negative is (dataset(recipe) == "awa2")


@pytest.mark.parametrize("recipe", AGREEMENT)
def test_transzero_pp_has_the_agreement_of_the_release(load_config, recipe):
    v2a, score, logit, alpha, is_random = AGREEMENT[recipe]
    cfg = load_config(f"experiment=transzero_pp/{recipe}")
    assert list(cfg.loss.subnet_weights) == [1.0, v2a]
    assert (cfg.loss.lambda_score, cfg.loss.lambda_logit) == (score, logit)
    fusion = [cfg.prediction.fusion[name] for name in cfg.model.subnets]
    assert fusion == pytest.approx([alpha, 1 - alpha])
    net = build.task(cfg, semantics(), visual_dim=6, grid=(2, 2)).net
    second = net.subnets["visual_to_attribute"]
    assert bool(second.region_weights_dd.any()) is is_random
    first = net.subnets["attribute_to_visual"]
    assert second.region_projection.weight.shape == first.region_projection.weight.shape


@pytest.mark.parametrize("recipe", DEDN)
def test_dedn_has_the_settings_of_the_release(load_config, recipe):
    sampler, batch, steps, every, seed, cal, label_margin, w, e = DEDN[recipe]
    cfg = load_config(f"experiment=dedn/{recipe}")
    check_lengths(cfg, recipe, sampler, batch, steps, every, seed)
    loss = cfg.loss
    assert (loss.lambda_cal, loss.label_margin, loss.seen_margin) == (cal, label_margin, 1)
    assert (loss.lambda_distill, loss.lambda_align) == (0.1, 0.001)
    data = semantics(K=SIZES[dataset(recipe)][0])
    task = build.task(cfg, data, visual_dim=6, grid=(2, 2))
    wanted = [e * w, e * (1 - w), (1 - e) * w, (1 - e) * (1 - w)]
    assert task.fusion == pytest.approx(wanted)
    optimizer = task.configure_optimizers()
    expected = {"lr": 1e-4, "weight_decay": 1e-4, "momentum": 0.9, "alpha": 0.99, "eps": 1e-8}
    assert {name: optimizer.defaults[name] for name in expected} == expected
    assert (cfg.features.name == "resnet101_224") is (dataset(recipe) == "awa2")


@pytest.mark.parametrize("recipe", USED)
def test_nets_have_the_size_of_the_released_ones(load_config, recipe):
    name = dataset(recipe.partition("/")[2])
    K, side = SIZES[name]
    if recipe.startswith("dedn/awa2"):
        side = 7
    cfg = load_config(f"experiment={recipe}")
    net = build.net(cfg, semantics(K=K, E=300), 2048, (side, side))
    trainable = sum(weight.numel() for weight in net.parameters())
    assert trainable == USED[recipe]


@pytest.mark.parametrize("choice", GROUP_SIZES)
def test_groups_have_the_sizes_of_the_release(load_config, choice):
    sizes = GROUP_SIZES[choice]
    cfg = load_config(f"model={choice}")
    groups = attribute_groups(cfg.model.groups, sum(sizes.values()))
    found = dict(zip(cfg.model.groups, map(len, groups), strict=True))
    assert found == sizes


@pytest.mark.parametrize("recipe", ["cub_gzsl", "sun_czsl", "awa2_gzsl"])
def test_counterfactual_recipes_are_those_of_msdn_and_one_term(load_config, recipe):
    plain, changed = (
        load_config(f"experiment={name}") for name in (recipe, f"counterfactual/{recipe}")
    )
    assert changed.loss._target_.endswith("CounterfactualLoss")
    more = {"lambda_causal": changed.loss.lambda_causal, "intervention": "uniform"}
    assert changed.loss == OmegaConf.merge(
        {**plain.loss, **more}, {"_target_": changed.loss._target_}
    )
    for key in ("seed", "sampler", "model", "optimizer", "prediction", "trainer"):
        assert changed[key] == plain[key], key


def test_no_weight_of_a_new_net_is_unused(load_config):
    """Each weight gets a gradient, also where a start with zeros hides it from the first loss."""
    for recipe in USED:
        cfg = load_config(f"experiment={recipe}")
        K = SIZES[dataset(recipe.partition("/")[2])][0]
        task = build.task(cfg, semantics(K=K), visual_dim=6, grid=(2, 2))
        for weight in task.net.parameters():
            nn.init.normal_(weight)
        task.loss(task.net(torch.rand(3, 4, 6)), torch.tensor([0, 1, 2])).loss.backward()
        unused = [name for name, weight in task.net.named_parameters() if weight.grad is None]
        assert unused == [], recipe
