"""Scores and prediction against loops and known cases."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_accuracy

from msdn_lit.metrics import ZSLMetric
from msdn_lit.metrics.functional import (
    count_per_class,
    fuse,
    fuse_logits,
    harmonic_mean,
    mean_class_accuracy,
    predict,
)
from tests import reference

C = 7
SEEN, UNSEEN = [4, 0, 6], [5, 2]  # 1 and 3 are no candidates
CANDIDATES = SEEN + UNSEEN
few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
some_labels = st.lists(st.sampled_from(CANDIDATES), min_size=1, max_size=30)
some_seed = st.integers(0, 10**6)


def make_metric():
    return ZSLMetric(torch.tensor(SEEN), torch.tensor(UNSEEN))


def make_logits(labels, seed, hint=1.0):
    """Random logits without ties, in steps of 1/64, exact in float32; `hint` favours labels."""
    rng = np.random.default_rng(seed)
    logits_BC = np.stack([rng.permutation(128)[:C] / 64 for _ in labels])
    logits_BC[np.arange(len(labels)), labels] += hint * rng.integers(0, 2, len(labels)) + 1 / 128
    return torch.tensor(logits_BC).float()


def score(logits_BC, labels, sizes=None):
    metric = make_metric()
    for logits_bC, labels_b in zip(
        logits_BC.split(sizes or len(labels)),
        torch.tensor(labels).split(sizes or len(labels)),
        strict=True,
    ):
        metric.update(logits_bC, labels_b)
    return metric.compute()


def assert_scores(actual, expected):
    names = ("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean")
    assert actual._fields == names
    for name, value, other in zip(names, actual, expected, strict=True):
        assert value.item() == pytest.approx(
            float("nan") if other is None else other, abs=1e-12, nan_ok=True
        ), name


@few
@given(labels=some_labels, seed=some_seed)
def test_scores_equal_loops(labels, seed):
    logits_BC = make_logits(labels, seed)
    assert_scores(
        score(logits_BC, labels), reference.scores(logits_BC.double().numpy(), labels, SEEN, UNSEEN)
    )


@few
@given(labels=some_labels, seed=some_seed, data=st.data())
def test_any_batches_in_any_order_give_exactly_the_same(labels, seed, data):
    logits_BC = make_logits(labels, seed)
    order = data.draw(st.permutations(range(len(labels))))
    size = data.draw(st.integers(1, len(labels)))
    whole = score(logits_BC, labels)
    parts = score(logits_BC[order], [labels[i] for i in order], sizes=size)
    torch.testing.assert_close(
        torch.stack(parts), torch.stack(whole), rtol=0, atol=0, equal_nan=True
    )


def test_many_small_batches_lose_nothing_to_rounding():
    metric = make_metric()
    logits_1C = torch.eye(C)[5][None]
    metric.total_C += 2**24  # where float32 stops counting
    metric.update(logits_1C, torch.tensor([5]))
    assert metric.total_C[5].item() == 2**24 + 1


@few
@given(labels=some_labels, seed=some_seed, data=st.data())
def test_the_states_of_two_processes_add_up(labels, seed, data):
    cut = data.draw(st.integers(0, len(labels)))
    logits_BC, labels_B = make_logits(labels, seed), torch.tensor(labels)
    one, two, merged = make_metric(), make_metric(), make_metric()
    one.update(logits_BC[:cut], labels_B[:cut])
    two.update(logits_BC[cut:], labels_B[cut:])
    for name, reduce in merged._reductions.items():  # as torchmetrics does it between processes
        setattr(merged, name, reduce(torch.stack([getattr(one, name), getattr(two, name)])))
    merged._update_count = 2
    expected = torch.stack(score(logits_BC, labels))
    torch.testing.assert_close(
        torch.stack(merged.compute()), expected, rtol=0, atol=0, equal_nan=True
    )


def test_reset_forgets_everything():
    metric = make_metric()
    metric.update(torch.eye(C)[CANDIDATES], torch.tensor(CANDIDATES))
    metric.reset()
    metric.update(torch.eye(C)[[4, 5]], torch.tensor([5, 4]))
    assert_scores(metric.compute(), reference.scores(np.eye(C)[[4, 5]], [5, 4], SEEN, UNSEEN))


def test_perfect_prediction():
    labels = [0, 0, 4, 6, 5, 2, 2]
    assert_scores(score(torch.eye(C)[labels], labels), (1, 1, 1, 1))


def test_worst_prediction():
    labels = [0, 0, 4, 6, 5, 2, 2]
    assert_scores(score(-torch.eye(C)[labels], labels), (0, 0, 0, 0))


def test_unseen_images_taken_for_seen_count_for_czsl_alone():
    logits_BC = torch.eye(C)[[5, 2]] + 2 * torch.eye(C)[[0, 0]]
    labels = [5, 2, 0]
    assert_scores(score(torch.cat([logits_BC, torch.eye(C)[[0]]]), labels), (1, 0, 1, 0))


def test_classes_weigh_the_same_however_many_images_they_have():
    labels = [5] * 9 + [2]
    logits_BC = torch.eye(C)[
        [5] * 10
    ]  # all nine of one class right, the only one of the other wrong
    assert score(logits_BC, labels).acc_unseen == 0.5
    assert score(logits_BC, labels).acc_czsl == 0.5


def test_classes_without_images_do_not_count():
    labels = [5, 5, 0]
    predicted = [5, 2, 0]  # of the three candidates 4, 6 and 2 there is no image
    assert_scores(score(torch.eye(C)[predicted], labels), (0.5, 0.5, 1.0, 2 / 3))


def test_scores_without_their_images_are_nan():
    only_seen, only_unseen = score(torch.eye(C)[[0]], [0]), score(torch.eye(C)[[5]], [5])
    assert [torch.isnan(value).item() for value in only_seen] == [True, True, False, True]
    assert [torch.isnan(value).item() for value in only_unseen] == [False, False, True, True]


def test_classes_in_neither_domain_are_never_predicted():
    logits_BC = torch.eye(C)[[0, 5]] + 100 * torch.eye(C)[[1, 3]]
    assert_scores(score(logits_BC, [0, 5]), (1, 1, 1, 1))


def test_labels_and_logits_of_further_classes_do_not_count():
    """The classes after the last candidate are neither known to the metric nor counted."""
    metric = ZSLMetric(seen=SEEN, unseen=UNSEEN)
    logits_BC = torch.cat([torch.eye(C), torch.zeros(C, 3)], dim=1)[[0, 5, 5, 2]]
    logits_BC[:, C:] = 100
    metric.update(logits_BC, torch.tensor([0, 5, C, C + 2]))
    assert metric.total_C.tolist() == [1, 0, 0, 0, 0, 1, 0]
    assert_scores(metric.compute(), (1, 1, 1, 1))


def test_ids_of_classes_in_any_form():
    logits_BC, labels_B = make_logits(CANDIDATES, 3), torch.tensor(CANDIDATES)
    expected = torch.stack(score(logits_BC, CANDIDATES))
    for form in (list, tuple, np.array, torch.tensor):
        metric = ZSLMetric(form(SEEN), form(UNSEEN))
        metric.update(logits_BC, labels_B)
        assert torch.equal(torch.stack(metric.compute()), expected)


def test_a_class_that_is_only_predicted_is_no_part_of_the_mean_unlike_in_torchmetrics():
    # five classes have images, three more are only predicted; the mean is over five,
    # that of torchmetrics over eight
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4])
    predicted = torch.tensor([0, 0, 5, 1, 6, 2, 7, 3, 5, 4])
    right = (2 / 3 + 1 / 2 + 1 / 2 + 1 / 2 + 1) / 5
    correct_C = count_per_class(predicted == labels, labels, 8)
    total_C = count_per_class(torch.ones_like(labels), labels, 8)
    assert mean_class_accuracy(correct_C, total_C, torch.arange(8)).item() == pytest.approx(right)
    assert reference.class_accuracy(predicted.tolist(), labels.tolist(), range(8)) == pytest.approx(
        right
    )
    macro = multiclass_accuracy(predicted, labels, num_classes=8, average="macro").item()
    assert macro == pytest.approx(right * 5 / 8)
    assert (round(right, 2), round(macro, 2)) == (0.63, 0.4)


@few
@given(u=st.floats(0, 1), s=st.floats(0, 1))
def test_harmonic_mean_equals_its_definition(u, s):
    h = harmonic_mean(
        torch.tensor(u, dtype=torch.float64), torch.tensor(s, dtype=torch.float64)
    ).item()
    assert (
        h
        == harmonic_mean(
            torch.tensor(s, dtype=torch.float64), torch.tensor(u, dtype=torch.float64)
        ).item()
    )
    assert 0 <= h <= 2 * min(u, s)
    assert h <= (u + s) / 2 + 1e-12
    if min(u, s) > 1e-6:
        assert h == pytest.approx(2 / (1 / u + 1 / s))


def test_harmonic_mean_of_nothing_and_of_the_unknown():
    zero, one, unknown = torch.tensor([0.0, 1.0, float("nan")]).double()
    assert harmonic_mean(zero, zero) == 0
    assert harmonic_mean(zero, one) == 0
    assert torch.isnan(harmonic_mean(unknown, one))


@few
@given(seed=some_seed, first=st.floats(0, 1), gamma=st.floats(-3, 3))
def test_fused_logits_equal_loops(seed, first, gamma):
    logits = [make_logits(CANDIDATES, seed + i) for i in range(2)]
    alphas = (first, 1 - first)
    actual = fuse_logits(logits, alphas, torch.tensor(UNSEEN), gamma)
    expected = reference.fused([L.double().numpy() for L in logits], alphas, SEEN, UNSEEN, gamma)
    torch.testing.assert_close(
        actual[:, CANDIDATES].double(), torch.tensor(expected)[:, CANDIDATES], rtol=1e-5, atol=1e-5
    )


def test_fusing_outputs_is_fusing_their_logits():
    logits = [make_logits(CANDIDATES, seed) for seed in range(2)]
    outputs = [SimpleNamespace(logits_BC=logits_BC) for logits_BC in logits]
    expected = fuse_logits(logits, (0.9, 0.1), torch.tensor(UNSEEN), 0.5)
    for unseen in (torch.tensor(UNSEEN), UNSEEN, tuple(UNSEEN)):
        fused_BC = fuse(outputs, weights=(0.9, 0.1), unseen=unseen, calibration=0.5)
        assert torch.equal(fused_BC, expected)


@few
@given(labels=some_labels, seed=some_seed)
def test_predictions_equal_loops(labels, seed):
    logits_BC = make_logits(labels, seed)
    for classes in (CANDIDATES, UNSEEN):
        expected = reference.predictions(logits_BC.numpy(), classes)
        assert predict(logits_BC, torch.tensor(classes)).tolist() == expected


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_fusion_of_one_and_zero_is_the_first_subnet_alone(gamma):
    first, second = make_logits(CANDIDATES, 0), make_logits(CANDIDATES, 1)
    unseen = torch.tensor(UNSEEN)
    alone = fuse_logits([first], (1.0,), unseen, gamma)
    assert torch.equal(fuse_logits([first, second], (1.0, 0.0), unseen, gamma), alone)
    assert torch.equal(fuse_logits([second, first], (0.0, 1.0), unseen, gamma), alone)
    assert not torch.equal(fuse_logits([first, second], (0.5, 0.5), unseen, gamma), alone)


def test_without_margin_a_single_subnet_keeps_its_logits():
    logits_BC = make_logits(CANDIDATES, 0)
    assert torch.equal(fuse_logits([logits_BC], (1.0,), torch.tensor(UNSEEN), 0.0), logits_BC)


def test_calibration_lifts_unseen_over_seen_by_twice_its_value():
    logits_BC = make_logits(CANDIDATES, 0)
    lift_BC = fuse_logits([logits_BC], (1.0,), torch.tensor(UNSEEN), 1.0) - logits_BC
    assert lift_BC[:, UNSEEN].unique().tolist() == [1.0]
    assert lift_BC[:, SEEN].unique().tolist() == [-1.0]


def test_fusion_needs_one_weight_per_subnet():
    with pytest.raises(ValueError, match="zip"):
        fuse_logits([torch.zeros(1, C)], (0.5, 0.5), torch.tensor(UNSEEN), 1.0)


def test_half_precision_logits_are_fused_in_float32():
    logits = [torch.full((1, C), 512.0, dtype=torch.bfloat16)] * 2
    fused_BC = fuse_logits(logits, (0.5, 0.5), torch.tensor(UNSEEN), 1.0)
    assert fused_BC.dtype == torch.float32
    assert (fused_BC[0, UNSEEN[0]] - fused_BC[0, SEEN[0]]).item() == 2.0


@few
@given(labels=some_labels.map(lambda labels: labels + CANDIDATES), seed=some_seed)
def test_calibration_trades_seen_for_unseen_and_leaves_czsl_alone(labels, seed):
    logits, unseen = [make_logits(labels, seed)], torch.tensor(UNSEEN)
    at = [
        score(fuse_logits(logits, (1.0,), unseen, gamma), labels)
        for gamma in (-100.0, -1.0, 0.0, 1.0, 100.0)
    ]
    assert at[0].acc_unseen == 0
    assert at[-1].acc_seen == 0
    assert at[-1].acc_unseen == at[-1].acc_czsl
    for lower, higher in pairwise(at):
        assert lower.acc_czsl == higher.acc_czsl
        assert lower.acc_unseen <= higher.acc_unseen
        assert lower.acc_seen >= higher.acc_seen
