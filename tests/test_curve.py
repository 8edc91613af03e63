"""The seen-unseen curve against a sweep in loops, and the confusions against counting."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msdn_lit.metrics import ZSLMetric, arrays, curve
from msdn_lit.metrics.confusion import domain_confusion, label_ranks, top_k_accuracy
from msdn_lit.metrics.curve import (
    best_point,
    image_thresholds,
    scores_at,
    seen_unseen_auc,
    seen_unseen_curve,
)
from msdn_lit.metrics.functional import fuse_logits, predict
from tests import reference

C = 7
SEEN, UNSEEN = [0, 4, 6], [2, 5]  # 1 and 3 are no candidates
DOMAINS = torch.tensor(SEEN), torch.tensor(UNSEEN)
CANDIDATES = torch.cat(DOMAINS)
few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
many_labels = st.lists(st.integers(0, C - 1), max_size=20).map(
    lambda labels: [*labels, SEEN[0], UNSEEN[0]]
)
some_seed = st.integers(0, 10**6)
levels = st.sampled_from(
    [2, 5, 300]
)  # few levels make ties within a domain and between the two; many make none


def make_logits(labels, seed, num_levels):
    """Halves, so that float32 adds any margin of a quarter exactly."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.integers(0, num_levels, (len(labels), C)) / 2).float()


def make_curve(logits_NC, labels):
    return seen_unseen_curve(logits_NC, torch.tensor(labels), *DOMAINS)


def swept(logits_NC, labels, gamma):
    """U and S at one calibration, through the margin and the prediction that the task uses."""
    predicted = predict(fuse_logits([logits_NC], (1.0,), DOMAINS[1], gamma), CANDIDATES).tolist()
    return tuple(reference.class_accuracy(predicted, labels, domain) for domain in (UNSEEN, SEEN))


def critical_calibrations(logits_NC):
    """Every calibration at which the prediction of some image may change domains, in loops."""
    return sorted(
        {float(max(row[c] for c in SEEN) - max(row[c] for c in UNSEEN)) / 2 for row in logits_NC}
    )


def every_kind_of_calibration(logits_NC):
    """On every threshold, between any two, and beyond the ends."""
    at = critical_calibrations(logits_NC)
    return [at[0] - 1, *at, *[(low + high) / 2 for low, high in pairwise(at)], at[-1] + 1]


def swept_curve(logits_NC, labels):
    """Points (U, S) from below the first to above the last threshold."""
    at = critical_calibrations(logits_NC)
    between = [at[0] - 1, *[(low + high) / 2 for low, high in pairwise(at)], at[-1] + 1]
    return [swept(logits_NC, labels, gamma) for gamma in between]


def harmonic(u, s):
    return 0.0 if u + s == 0 else 2 * u * s / (u + s)


@few
@given(labels=many_labels, seed=some_seed, num_levels=levels)
def test_curve_equals_a_sweep_at_between_and_beyond_all_thresholds(labels, seed, num_levels):
    logits_NC = make_logits(labels, seed, num_levels)
    gammas = every_kind_of_calibration(logits_NC)
    actual = scores_at(make_curve(logits_NC, labels), torch.tensor(gammas))
    expected = [swept(logits_NC, labels, gamma) for gamma in gammas]
    assert list(zip(actual.acc_unseen.tolist(), actual.acc_seen.tolist(), strict=True)) == [
        pytest.approx(pair, abs=1e-12) for pair in expected
    ]
    assert actual.harmonic_mean.tolist() == pytest.approx(
        [harmonic(*pair) for pair in expected], abs=1e-12
    )


@few
@given(labels=many_labels, seed=some_seed, num_levels=levels)
def test_area_and_best_point_equal_a_sweep(labels, seed, num_levels):
    logits_NC = make_logits(labels, seed, num_levels)
    ours, points = make_curve(logits_NC, labels), swept_curve(logits_NC, labels)
    area = sum((u2 - u1) * (s1 + s2) / 2 for (u1, s1), (u2, s2) in pairwise(points))
    assert seen_unseen_auc(ours) == pytest.approx(area, abs=1e-12)
    best = best_point(ours)
    assert best.harmonic_mean.item() == pytest.approx(
        max(harmonic(*point) for point in points), abs=1e-12
    )
    u, s = swept(
        logits_NC, labels, best.calibration.item()
    )  # the scores at the returned calibration
    assert [best.acc_unseen.item(), best.acc_seen.item()] == pytest.approx([u, s], abs=1e-12)


@few
@given(labels=many_labels, seed=some_seed, num_levels=levels)
def test_thresholds_are_those_at_which_something_changes_and_the_curve_is_monotonic(
    labels, seed, num_levels
):
    logits_NC = make_logits(labels, seed, num_levels)
    thresholds_T, acc_unseen_P, acc_seen_P = make_curve(logits_NC, labels)
    assert set(thresholds_T.tolist()) <= set(critical_calibrations(logits_NC))
    assert len(acc_unseen_P) == len(acc_seen_P) == len(thresholds_T) + 1
    gains, losses = np.diff(acc_unseen_P), -np.diff(acc_seen_P)
    assert (gains >= 0).all()
    assert (losses >= 0).all()
    assert (gains + losses > 0).all()


@few
@given(labels=many_labels, seed=some_seed, num_levels=levels)
def test_without_bound_the_curve_is_czsl_and_seen_classification(labels, seed, num_levels):
    logits_NC = make_logits(labels, seed, num_levels)
    ends = scores_at(make_curve(logits_NC, labels), torch.tensor([-math.inf, math.inf]))
    t1 = reference.class_accuracy(reference.predictions(logits_NC, UNSEEN), labels, UNSEEN)
    closed = reference.class_accuracy(reference.predictions(logits_NC, SEEN), labels, SEEN)
    assert ends.acc_unseen.tolist() == [0, pytest.approx(t1)]
    assert ends.acc_seen.tolist() == [pytest.approx(closed), 0]


@few
@given(labels=many_labels, seed=some_seed, num_levels=levels, data=st.data())
def test_curve_ignores_a_constant_per_image_the_order_of_images_and_other_classes(
    labels, seed, num_levels, data
):
    logits_NC = make_logits(labels, seed, num_levels)
    order = data.draw(st.permutations(range(len(labels))))
    changed_NC = logits_NC + torch.arange(len(labels))[:, None] / 2
    changed_NC[:, [1, 3]] = 1e6
    ours, other = (
        make_curve(logits_NC, labels),
        make_curve(changed_NC[order], [labels[i] for i in order]),
    )
    for mine, theirs in zip(ours, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


@few
@given(labels=many_labels, seed=some_seed, data=st.data())
def test_renaming_the_classes_changes_nothing(labels, seed, data):
    logits_NC = make_logits(labels, seed, 10**6)  # only ties depend on names
    new = torch.tensor(data.draw(st.permutations(range(C))))
    renamed_NC = torch.empty_like(logits_NC)
    renamed_NC[:, new] = logits_NC
    ours = make_curve(logits_NC, labels)
    other = seen_unseen_curve(
        renamed_NC, new[labels], *(new[domain].sort().values for domain in DOMAINS)
    )
    for mine, theirs in zip(ours, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


def test_a_tie_between_the_domains_goes_to_the_seen_class_whatever_the_ids():
    logits_NC, labels = torch.zeros(2, C), [6, 2]  # all equal: best seen is 0, best unseen is 2
    logits_NC[0, 6] = 0.5
    logits_NC[0, 5] = 0.5  # a tie at a threshold of zero, between the seen 6 and the unseen 5
    assert make_curve(logits_NC, labels).thresholds_T.tolist() == [0]
    at_zero = scores_at(make_curve(logits_NC, labels), torch.tensor([0.0, 1e-30]))
    assert at_zero.acc_seen.tolist() == [1, 0]
    assert at_zero.acc_unseen.tolist() == [0, 1]
    assert swept(logits_NC, labels, 0.0) == (0, 1)


def test_within_a_domain_the_lowest_id_wins_a_tie():
    logits_NC = torch.zeros(2, C)
    for label, right in [(0, 1), (4, 0), (6, 0)]:
        assert scores_at(make_curve(logits_NC, [label, 5]), torch.tensor(-9.0)).acc_seen == right
    for label, right in [(2, 1), (5, 0)]:
        assert scores_at(make_curve(logits_NC, [0, label]), torch.tensor(9.0)).acc_unseen == right


def test_a_known_curve():
    # gaps (seen - unseen) / 2 of the images: seen 3 and 1, unseen 2 and 0;
    # all are right within their own domain
    gaps, labels = torch.tensor([3.0, 1.0, 2.0, 0.0]), [0, 4, 2, 5]
    logits_NC = torch.full((4, C), -100.0)
    logits_NC[torch.arange(4), torch.tensor([0, 4, 0, 0])] = 2 * gaps
    logits_NC[torch.arange(4), torch.tensor([2, 2, 2, 5])] = 0.0
    ours = make_curve(logits_NC, labels)
    assert ours.thresholds_T.tolist() == [0, 1, 2, 3]
    assert ours.acc_unseen_P.tolist() == [0, 0.5, 0.5, 1, 1]
    assert ours.acc_seen_P.tolist() == [1, 1, 0.5, 0.5, 0]
    assert seen_unseen_auc(ours) == 0.5 * 1 + 0.5 * 0.5
    best = best_point(ours)
    assert (
        best.calibration == 0.5
    )  # the middle of (0, 1]; that of (2, 3] is as good, but comes later
    assert best.harmonic_mean == pytest.approx(2 / 3)


def test_perfect_and_hopeless_models():
    labels = [0, 4, 6, 2, 5]
    perfect, hopeless = (make_curve(sign * torch.eye(C)[labels], labels) for sign in (1, -1))
    assert seen_unseen_auc(perfect) == 1
    assert best_point(perfect).harmonic_mean == 1
    assert len(hopeless.thresholds_T) == 0
    assert [value.item() for value in best_point(hopeless)] == [0, 0, 0, 0]
    assert seen_unseen_auc(hopeless) == 0


def test_without_images_of_a_domain_its_accuracy_is_nan():
    ours = make_curve(torch.eye(C)[[0, 4]], [0, 4])
    assert np.isnan(ours.acc_unseen_P).all()
    assert not np.isnan(ours.acc_seen_P).any()
    assert np.isnan(seen_unseen_auc(ours))
    assert np.isnan(best_point(ours).harmonic_mean)


def test_curve_of_a_trained_like_model_equals_the_metric():
    generator = torch.Generator().manual_seed(0)
    labels_N = CANDIDATES[torch.randint(len(CANDIDATES), (500,), generator=generator)]
    logits_NC = torch.randn(500, C, generator=generator) + 2 * torch.eye(C)[labels_N]
    ours = seen_unseen_curve(logits_NC, labels_N, *DOMAINS)
    for gamma in (-0.7, 0.0, 0.3, 1.0, best_point(ours).calibration.item()):
        metric = ZSLMetric(*DOMAINS)
        metric.update(fuse_logits([logits_NC], (1.0,), DOMAINS[1], gamma), labels_N)
        actual, expected = scores_at(ours, torch.tensor(gamma)), metric.compute()
        for name in ("acc_unseen", "acc_seen", "harmonic_mean"):
            assert getattr(actual, name).item() == pytest.approx(
                getattr(expected, name).item(), abs=1e-12
            )


def test_batches_and_chunks_give_the_same_thresholds(monkeypatch):
    logits_NC, labels_N = make_logits(range(50), 0, 300), torch.arange(50) % C
    whole = image_thresholds(logits_NC, labels_N, *DOMAINS)
    monkeypatch.setattr(curve, "_CHUNK", 3 * C + 1)
    for ours, theirs in zip(image_thresholds(logits_NC, labels_N, *DOMAINS), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_logits_of_a_diverged_model_are_refused():
    with pytest.raises(AssertionError, match="NaN"):
        make_curve(torch.full((2, C), math.nan), [0, 2])


@few
@given(
    labels=st.lists(st.integers(0, C - 1), min_size=1, max_size=20),
    seed=some_seed,
    num_levels=levels,
)
def test_ranks_equal_sorting(labels, seed, num_levels):
    logits_NC = make_logits(labels, seed, num_levels)
    ranks = label_ranks(logits_NC, torch.tensor(labels), CANDIDATES).tolist()
    for row, label, rank in zip(logits_NC.tolist(), labels, ranks, strict=True):
        order = sorted(
            CANDIDATES.tolist(), key=lambda c: -row[c]
        )  # stable: ties keep the candidates' order
        assert rank == (order.index(label) if label in order else C)


@few
@given(labels=many_labels, seed=some_seed, num_levels=levels)
def test_top_k_accuracy_begins_as_accuracy_and_ends_at_one(labels, seed, num_levels):
    logits_NC = make_logits(labels, seed, num_levels)
    values = [top_k_accuracy(logits_NC, torch.tensor(labels), CANDIDATES, k) for k in range(1, 6)]
    predicted = predict(logits_NC, CANDIDATES).tolist()
    assert values[0] == pytest.approx(
        reference.class_accuracy(predicted, labels, CANDIDATES.tolist())
    )
    assert all(lower <= higher for lower, higher in pairwise(values))
    assert values[-1] == 1


@few
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, C - 1), st.sampled_from(CANDIDATES.tolist())),
        min_size=1,
        max_size=20,
    )
)
def test_domain_confusion_equals_counting(pairs):
    labels, predicted = zip(*pairs, strict=True)
    expected = [
        [sum(y in truth and p in guess for y, p in pairs) for guess in (SEEN, UNSEEN)]
        for truth in (SEEN, UNSEEN)
    ]
    actual = domain_confusion(torch.tensor(predicted), torch.tensor(labels), *DOMAINS)
    assert actual.tolist() == expected


@few
@given(labels=many_labels, seed=some_seed, num_levels=levels, gamma=st.floats(-2, 2))
def test_arrays_and_tensors_give_the_same_predictions_and_scores(labels, seed, num_levels, gamma):
    logits = [make_logits(labels, seed + i, num_levels) / 3 for i in range(2)]
    ours = arrays.fuse_logits(logits, (0.7, 0.3), UNSEEN, gamma)
    theirs = fuse_logits(logits, (0.7, 0.3), UNSEEN, gamma)
    np.testing.assert_array_equal(ours, theirs.numpy())  # to the bit
    for ids in (UNSEEN, CANDIDATES):
        expected = predict(theirs, torch.as_tensor(ids)).tolist()
        assert arrays.predict(ours, ids).tolist() == expected
    metric = ZSLMetric(*DOMAINS)
    metric.update(theirs, torch.tensor(labels))
    expected = [score.item() for score in metric.compute()]
    assert arrays.zsl_scores(ours, labels, *DOMAINS) == pytest.approx(expected, abs=1e-12)


def test_scores_without_images_of_a_domain_are_nan():
    scores = arrays.zsl_scores(np.eye(C)[[0, 4]], [0, 4], *DOMAINS)
    assert scores.acc_seen == 1
    assert np.isnan([scores.acc_czsl, scores.acc_unseen, scores.harmonic_mean]).all()
