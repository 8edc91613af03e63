"""Nets of the baselines against loops and limits, ESZSL's solution against its objective."""

from functools import partial

import numpy as np
import pytest
import torch

from msdn_lit.build import task as build
from msdn_lit.errors import ConfigError
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models import MSDN, AttributeToVisual
from msdn_lit.models.baselines import DAZLE, ESZSL, BilinearCompatibility
from msdn_lit.models.baselines.eszsl import moments, solve_eszsl
from msdn_lit.models.baselines.pooled import pool_regions
from tests import reference
from tests.helpers import numeric_gradient, semantics

B, R, D, K, E, C = 4, 3, 5, 6, 7, 9
SEEN, UNSEEN = [5, 0, 2, 7], [6, 1, 8]  # 3 and 4 are neither
ROLES = torch.tensor(SEEN), torch.tensor(UNSEEN)
close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def double(tensor):
    return tensor.detach().double().numpy()


# --- bilinear compatibility of the pooled image


def make_pooled(unit_length=False):
    return BilinearCompatibility(rand(K, E), rand(C, K, seed=1), D, unit_length=unit_length)


@pytest.mark.parametrize("unit_length", [False, True])
def test_pooled_net_equals_loops(unit_length):
    net, regions_BRD = make_pooled(unit_length), rand(B, R, D, seed=2)
    (output,) = net(regions_BRD)
    W, Z = double(net.weights_DK), reference.unit_rows(double(rand(C, K, seed=1)))
    for b, image_RD in enumerate(double(regions_BRD)):
        x = [sum(image_RD[r, d] for r in range(R)) / R for d in range(D)]
        x = reference.unit(x) if unit_length else x
        scores = [sum(x[d] * W[d, k] for d in range(D)) for k in range(K)]
        assert output.attribute_scores_BK[b].tolist() == pytest.approx(scores, rel=1e-4, abs=1e-6)
        assert output.logits_BC[b].tolist() == pytest.approx(
            [scores @ Z[c] for c in range(C)], rel=1e-4, abs=1e-6
        )


def test_a_pooled_net_has_no_attention():
    net, regions_BRD = make_pooled(), rand(B, R, D)
    (output,) = net(regions_BRD)
    assert output.attention_BKR is None
    close(regions_BRD.mean(dim=1) @ net.weights_DK, output.attribute_scores_BK)


def test_regions_of_half_precision_are_averaged_in_float32():
    halves_BRD = torch.tensor([[[60_000.0, 1.0], [65_000.0, 1 + 2**-10]]], dtype=torch.float16)
    pooled_BD = pool_regions(halves_BRD, unit_length=False)
    assert torch.equal(pooled_BD, halves_BRD.float().mean(dim=1))
    assert not torch.equal(pooled_BD, pooled_BD.half().float())


def test_an_image_of_zeros_stays_zero_at_unit_length():
    assert pool_regions(torch.zeros(1, 4, 2), unit_length=True).tolist() == [[0, 0]]


def test_pooled_net_trains_its_matrix_and_ignores_word_vectors():
    net, regions_BRD = make_pooled(), rand(B, R, D)
    net(regions_BRD)[0].logits_BC.square().sum().backward()
    assert [name for name, _ in net.named_parameters()] == ["weights_DK"]
    assert (net.weights_DK.grad != 0).all()


# --- DAZLE


def make_dazle(seed=0):
    net = MSDN(rand(K, E), rand(C, K, seed=1), D, subnets={"attribute_to_visual": DAZLE})
    with torch.no_grad():
        net.subnets["attribute_to_visual"].weights_MED.copy_(rand(3, E, D, seed=seed + 2))
    return net


def loop_dazle(V, W_1, W_2, W_3, F):
    """Computes scores and attention in the paper's order: attend, pool, score and gate."""
    scores, attention = np.zeros((len(F), len(V))), np.zeros((len(F), len(V), F.shape[1]))
    for b, image_RD in enumerate(F):
        for k, a in enumerate(V):
            attention[b, k] = reference.softmax([a @ W_2 @ v for v in image_RD])
            attended_D = sum(
                weight * v for weight, v in zip(attention[b, k], image_RD, strict=True)
            )
            scores[b, k] = (a @ W_1 @ attended_D) / (1 + np.exp(-(a @ W_3 @ attended_D)))
    return scores, attention


def loop_dazle_logits(arrays, F, Z):
    V, (W_1, W_2, W_3) = arrays
    return reference.class_logits(loop_dazle(V, W_1, W_2, W_3, F)[0], Z)


def test_dazle_equals_loops():
    net, regions_BRD = make_dazle(), rand(B, R, D, seed=9)
    (output,) = net(regions_BRD)
    F = np.array([reference.unit_rows(image) for image in double(regions_BRD)])
    V, weights = (
        double(net.attribute_vectors_KE),
        double(net.subnets["attribute_to_visual"].weights_MED),
    )
    scores, attention = loop_dazle(V, *weights, F)
    logits = reference.class_logits(scores, double(net.class_attributes_CK))
    for ours, theirs in zip(output[:3], (logits, scores, attention), strict=True):
        torch.testing.assert_close(ours, torch.tensor(theirs).float(), rtol=1e-4, atol=1e-5)


def test_dazle_has_the_gradient_of_the_loops():
    net, regions_BRD = make_dazle(), rand(2, R, D, seed=9)
    net(regions_BRD)[0].logits_BC.square().sum().backward()
    F = np.array([reference.unit_rows(image) for image in double(regions_BRD)])
    Z, weights = double(net.class_attributes_CK), net.subnets["attribute_to_visual"].weights_MED
    arrays = [double(net.attribute_vectors_KE).copy(), double(weights).copy()]
    expected = numeric_gradient(
        lambda values: np.square(loop_dazle_logits(values, F, Z)).sum(), arrays
    )
    for ours, theirs in zip((net.attribute_vectors_KE.grad, weights.grad), expected, strict=True):
        torch.testing.assert_close(
            ours.double(), torch.tensor(theirs), rtol=1e-3, atol=1e-4 * np.abs(theirs).max()
        )


def test_dazle_with_open_gates_is_the_attribute_to_visual_subnet():
    net, regions_BRD = make_dazle(), rand(B, R, D, seed=9)
    plain = MSDN(
        rand(K, E), rand(C, K, seed=1), D, subnets={"attribute_to_visual": AttributeToVisual}
    )
    with torch.no_grad():
        weights_MED = net.subnets["attribute_to_visual"].weights_MED
        plain.subnets["attribute_to_visual"].weights_MED.copy_(weights_MED[:2])
        weights_MED[2] = 0  # every gate at one half
    close(2 * net(regions_BRD)[0].logits_BC, plain(regions_BRD)[0].logits_BC)


def test_dazle_starts_with_uniform_attention_and_has_a_gradient_for_every_matrix():
    torch.manual_seed(0)
    net = MSDN(rand(K, E), rand(C, K, seed=1), D, subnets={"attribute_to_visual": DAZLE})
    (output,), weights_MED = net(rand(B, R, D)), net.subnets["attribute_to_visual"].weights_MED
    close(output.attention_BKR, torch.full((B, K, R), 1 / R))
    assert weights_MED[0].any()
    assert not weights_MED[1:].any()
    output.logits_BC.square().sum().backward()
    assert weights_MED.grad.abs().amax(dim=(1, 2)).min() > 0


# --- ESZSL


def eszsl_problem(N=40, seed=3):
    labels_N = ROLES[0][
        torch.randint(len(SEEN), (N,), generator=torch.Generator().manual_seed(seed))
    ]
    return rand(N, D, seed=seed), labels_N, torch.nn.functional.normalize(rand(C, K, seed=1), dim=1)


def eszsl_matrices(seed=3):
    """Returns X (N, D), Y (N, seen) and Z (seen, K)."""
    pooled_ND, labels_N, attributes_CK = eszsl_problem(seed=seed)
    return (
        double(pooled_ND),
        double((labels_N[:, None] == ROLES[0]).float()),
        double(attributes_CK[ROLES[0]]),
    )


def objective(W, X, Y, Z, gamma, lambda_):
    squares = [
        X @ W @ Z.T - Y,
        gamma**0.5 * W @ Z.T,
        lambda_**0.5 * X @ W,
        (gamma * lambda_) ** 0.5 * W,
    ]
    return sum(np.square(part).sum() for part in squares)


def solved(gamma, lambda_):
    pooled_ND, labels_N, attributes_CK = eszsl_problem()
    return solve_eszsl(
        moments(pooled_ND, labels_N, C), attributes_CK, ROLES[0], gamma=gamma, lambda_=lambda_
    ).numpy()


ridges = pytest.mark.parametrize(("gamma", "lambda_"), [(0.1, 0.3), (5.0, 0.01), (1e3, 1.0)])


@ridges
def test_closed_form_equals_the_linear_system_of_its_objective(gamma, lambda_):
    X, Y, Z = eszsl_matrices()
    features, attributes = X.T @ X + gamma * np.eye(D), Z.T @ Z + lambda_ * np.eye(K)
    expected = np.linalg.solve(np.kron(features, attributes), (X.T @ Y @ Z).ravel()).reshape(D, K)
    np.testing.assert_allclose(solved(gamma, lambda_), expected, rtol=1e-6, atol=1e-12)


@ridges
def test_closed_form_is_the_minimum(gamma, lambda_):
    problem = (*eszsl_matrices(), gamma, lambda_)
    W = solved(gamma, lambda_)
    (gradient,) = numeric_gradient(lambda arrays: objective(arrays[0], *problem), [W.copy()])
    assert np.abs(gradient).max() < 1e-5
    rng, smallest = np.random.default_rng(0), objective(W, *problem)
    assert all(
        objective(W + 0.01 * rng.normal(size=W.shape), *problem) > smallest for _ in range(20)
    )


def test_weak_ridges_fit_separable_targets_and_strong_ridges_give_zero():
    attributes_CK = torch.eye(4)
    moments_of_axes = moments(torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5), 4)
    weak, strong = (
        solve_eszsl(moments_of_axes, attributes_CK, torch.arange(4), gamma=ridge, lambda_=ridge)
        for ridge in (1e-9, 1e9)
    )
    close(weak.float(), torch.eye(4))
    assert strong.abs().max() < 1e-15


def test_eszsl_accepts_batches_in_any_order_and_computes_scores():
    _, labels_N, attributes_CK = eszsl_problem()
    regions_NRD = torch.nn.functional.one_hot(labels_N, C).float()[:, None, :] + 0.01 * rand(
        40, R, C, seed=5
    )
    nets = [
        ESZSL(rand(K, E), attributes_CK, C, unit_length=True, gamma=0.1, lambda_=0.1)
        for _ in range(2)
    ]
    nets[0].fit_closed_form([(regions_NRD, labels_N)], ROLES[0])
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    nets[1].fit_closed_form(
        zip(regions_NRD[order].half().split(7), labels_N[order].split(7), strict=True), ROLES[0]
    )
    # the tolerance is the rounding of float16
    torch.testing.assert_close(nets[0].weights_DK, nets[1].weights_DK, rtol=1e-2, atol=1e-3)
    pooled_ND = pool_regions(regions_NRD, unit_length=True)
    expected = solve_eszsl(
        moments(pooled_ND, labels_N, C), attributes_CK, ROLES[0], gamma=0.1, lambda_=0.1
    )
    close(nets[0].weights_DK.detach(), expected.float())
    metric = ZSLMetric(*ROLES)
    metric.update(nets[0](regions_NRD)[0].logits_BC, labels_N)
    assert metric.compute().acc_seen == 1


@pytest.mark.parametrize(
    "ridges", [{"gamma": 0.0, "lambda_": 1.0}, {"gamma": 1.0, "lambda_": -1.0}]
)
def test_eszsl_refuses_ridges_that_are_not_positive(ridges):
    with pytest.raises(ConfigError, match="above zero"):
        ESZSL(rand(K, E), rand(C, K), D, unit_length=False, **ridges)


# --- in the training task


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ("dazle", "msdn"),
        ("dazle", "msdn_paper"),
        ("dazle", "ale"),
        ("dazle", "sje"),
        ("dazle", "devise"),
        ("msdn", "ale"),
        ("msdn", "sje"),
        ("msdn", "devise"),
    ],
)
def test_baselines_are_built_and_trained_from_configs(load_config, model, loss):
    task = build.task(
        load_config(f"model={model}", f"loss={loss}"), semantics(), visual_dim=6, grid=(2, 2)
    )
    terms = task.loss(task.net(torch.rand(3, 4, 6)), torch.tensor([0, 1, 2]))
    terms.loss.backward()
    task.configure_optimizers().step()
    assert torch.isfinite(task.predict_logits(torch.rand(3, 4, 6))).all()
