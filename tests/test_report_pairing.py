"""The bootstrap over test images against loops, closed forms, scipy and simulations."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from msdn_lit.analysis import pairing
from msdn_lit.analysis.pairing import compare_caches, over_classes, over_images
from msdn_lit.errors import CheckpointError
from msdn_lit.runs.score_cache import ScoreCache
from tests.run_folders import made_up_cache

SCORES = ("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean")
SEEN, UNSEEN = np.array([3, 0]), np.array([7, 4, 5])
both_resamples = pytest.mark.parametrize("resample", [over_images, over_classes])


def rng(seed=0):
    return np.random.default_rng(seed)


def two_methods(num_seeds):
    """Caches of both, 14 classes of different sizes."""

    def make(seed, skill):
        cache = made_up_cache(seed, skill=skill, num_seen=8, num_unseen=6)
        is_kept_N = rng().random(len(cache.labels_N)) < 0.7
        of_images = {name: getattr(cache, name)[is_kept_N] for name in ("labels_N", "rows_N")}
        return replace(cache, logits_ONC=cache.logits_ONC[:, is_kept_N], **of_images)

    return ([make(seed, skill) for seed in range(num_seeds)] for skill in (2.0, 1.9))


# --- seeds: the same by loops


def is_right(cache, candidates):
    margins = (
        np.where(np.isin(np.arange(cache.logits_ONC.shape[2]), cache.unseen), 1, -1)
        * cache.calibration
    )
    fused = sum(
        w * (logits + margins) for w, logits in zip(cache.fusion, cache.logits_ONC, strict=True)
    )
    return np.array(
        [
            max(candidates, key=row.__getitem__) == c
            for row, c in zip(fused, cache.labels_N, strict=True)
        ]
    )


def as_observed(classes, generator):
    return classes


def images_anew(classes, generator):
    return [generator.choice(images, len(images)) for images in classes]


def classes_anew(classes, generator):
    return [classes[c] for c in generator.integers(len(classes), size=len(classes))]


def by_loops(first, second, resample, num_resamples=1):
    """T1, U, S and H of each resample, first minus second method, mean over seeds, (Z, 4)."""
    one, generator, drawn = first[0], rng(), []
    of_domains = [
        [np.flatnonzero(one.labels_N == c) for c in ids] for ids in (one.unseen, one.seen)
    ]
    everything = [*one.seen, *one.unseen]
    right = [
        [(is_right(c, one.unseen), is_right(c, everything)) for c in caches]
        for caches in (first, second)
    ]
    for _ in range(num_resamples):
        unseen, seen = (resample(classes, generator) for classes in of_domains)

        def scores(czsl, gzsl, unseen=unseen, seen=seen):
            T1, U, S = (
                np.mean([x[rows].mean() for rows in c])
                for x, c in ((czsl, unseen), (gzsl, unseen), (gzsl, seen))
            )
            return np.array([T1, U, S, 2 * U * S / (U + S)])

        drawn.append(
            np.mean([scores(*a) - scores(*b) for a, b in zip(*right, strict=True)], axis=0)
        )
    return np.array(drawn)


@both_resamples
def test_the_difference_is_the_mean_over_the_seeds(resample):
    first, second = two_methods(3)
    found = compare_caches(first, second, resample)
    assert [found[score].difference for score in SCORES] == pytest.approx(
        list(by_loops(first, second, as_observed)[0])
    )
    num_images, num_unseen = (
        len(first[0].labels_N),
        np.isin(first[0].labels_N, first[0].unseen).sum(),
    )
    sizes = [(num_unseen, 6), (num_unseen, 6), (num_images - num_unseen, 8), (num_images, 14)]
    assert [found[score][3:] for score in SCORES] == sizes


@pytest.mark.parametrize(
    ("ours", "theirs"), [(over_images, images_anew), (over_classes, classes_anew)]
)
def test_intervals_and_p_values_equal_those_of_loops(ours, theirs):
    first, second = two_methods(3)
    found, drawn = (
        compare_caches(first, second, ours),
        by_loops(first, second, theirs, 2000).round(9),
    )
    for score, values in zip(SCORES, drawn.T, strict=True):
        for end, share in zip(np.round(found[score].interval, 9), (0.025, 0.975), strict=True):
            assert (values < end).mean() - 0.014 < share < (values <= end).mean() + 0.014, (
                score
            )  # 4 standard errors
        p_value = 2 * min((values <= 0).mean(), (values >= 0).mean())
        assert found[score].p_value == pytest.approx(min(p_value, 1), abs=0.045), score


@both_resamples
def test_all_seeds_are_scored_on_the_same_images(resample):
    first, second = two_methods(1)
    once, twice = (compare_caches(n * first, n * second, resample) for n in (1, 2))
    # Two equal seeds are as uncertain as one; with separate resamples they would seem more certain.
    for score in SCORES:
        assert twice[score].interval == pytest.approx(once[score].interval)
        assert twice[score].p_value == once[score].p_value


@both_resamples
def test_equal_methods(resample):
    caches, _ = two_methods(3)
    for found in compare_caches(caches, caches, resample).values():
        assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)


@pytest.mark.parametrize("name", ["rows_N", "labels_N"])
def test_other_images(name):
    cache = made_up_cache()
    with pytest.raises(CheckpointError, match="not tested on the same images"):
        compare_caches([cache], [replace(cache, **{name: getattr(cache, name)[::-1]})], over_images)


# --- resamples: closed forms


def random_outcomes(seed=0, num_classes=8):
    """Images of each class by outcome, 2 * (first is right) + (second is right), (C, 4)."""
    generator = rng(seed)
    sizes = generator.integers(5, 31, num_classes)
    return np.stack([generator.multinomial(n, generator.dirichlet([2, 1, 1, 4])) for n in sizes])


def right_of(outcomes_4):
    """Whether either method predicts each image correctly, (2, N)."""
    return np.array([[o >> 1, o & 1] for o in range(4) for _ in range(outcomes_4[o])], dtype=bool).T


@pytest.mark.parametrize("times", [1, 20])  # few images of a kind, and many
def test_resampled_images_have_the_moments_of_the_closed_form(times):
    outcomes_C4 = times * random_outcomes()
    difference_Z = np.subtract(
        *over_images([right_of(row) for row in outcomes_C4], 40_000, rng()).T
    )
    first_less_second = np.array([0, -1, 1, 0])
    mean, variance = [], []
    for row in outcomes_C4:
        p = row / row.sum()
        mean.append(p @ first_less_second)
        variance.append((p @ first_less_second**2 - mean[-1] ** 2) / row.sum())
    assert difference_Z.mean() == pytest.approx(np.mean(mean), abs=4 * difference_Z.std() / 200)
    assert difference_Z.var() == pytest.approx(np.sum(variance) / 8**2, rel=0.04)


def test_resampled_classes_have_the_moments_of_the_closed_form():
    outcomes_C4 = random_outcomes()
    difference_Z = np.subtract(
        *over_classes([right_of(row) for row in outcomes_C4], 40_000, rng()).T
    )
    of_class = (outcomes_C4[:, 2] - outcomes_C4[:, 1]) / outcomes_C4.sum(axis=1)
    assert difference_Z.mean() == pytest.approx(of_class.mean(), abs=4 * difference_Z.std() / 200)
    assert difference_Z.var() == pytest.approx(of_class.var() / 8, rel=0.04)


# --- two methods with given outcomes


def cache_of(right_N, labels_N, seen, unseen):
    """A cache with given outcomes, in GZSL and, where both are possible, in CZSL."""
    is_label_NC = labels_N[:, None] == np.arange(max(*seen, *unseen) + 1)
    logits_NC = np.where(is_label_NC, right_N[:, None], ~right_N[:, None])
    rows_N = np.arange(len(labels_N))
    return ScoreCache(
        logits_NC[None].astype(np.float32),
        labels_N,
        rows_N,
        seen,
        unseen,
        ("one",),
        (1.0,),
        0.0,
        "test",
        1,
    )


def images_of(outcomes_C4, classes):
    """(first, second, labels) of single images, shuffled."""
    parts = [
        (*right_of(row), np.full(row.sum(), c)) for row, c in zip(outcomes_C4, classes, strict=True)
    ]
    first, second, labels = rng().permutation(np.concatenate(parts, axis=1).T).T
    return first.astype(bool), second.astype(bool), labels


def compare(first_N, second_N, labels_N, resample=over_images, *, seen=SEEN, unseen=UNSEEN):
    caches = ([cache_of(right_N, labels_N, seen, unseen)] for right_N in (first_N, second_N))
    return compare_caches(*caches, resample)


def test_images_of_other_classes_do_not_count():
    images = images_of(random_outcomes(), range(8))
    counted = np.isin(images[2], [*SEEN, *UNSEEN])
    found = compare(*images)
    assert found == compare(*(part[counted] for part in images))
    assert found["harmonic_mean"][3:] == (counted.sum(), 5)
    assert compare(*images, seen=np.array([*SEEN, 9])) == found  # nor classes without images


def test_interval_over_the_images_of_a_class_equals_scipy():
    first, second, labels = images_of(
        [*(4 * random_outcomes(num_classes=1)), np.array([1, 0, 0, 1])], [7, 0]
    )
    pair = (first[labels == 7], second[labels == 7])
    theirs = stats.bootstrap(
        pair,
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=rng(),
    ).confidence_interval
    found = compare(first, second, labels, unseen=np.array([7]))["acc_unseen"]
    assert found.interval == pytest.approx(tuple(theirs), abs=1.01 / len(pair[0]))


def test_ties_count_on_both_sides():
    """The methods differ in one of two images: a quarter of the resamples does not have it."""
    images = np.array([1, 1, 1]), np.array([0, 1, 1]), np.array([7, 7, 0])
    found = compare(
        images[0] == 1, images[1] == 1, images[2], seen=np.array([0]), unseen=np.array([7])
    )["acc_unseen"]
    assert (found.difference, found.interval) == (0.5, (0, 1))
    assert found.p_value == pytest.approx(2 / 4, abs=0.02)


@both_resamples
def test_order_of_images_and_of_methods(resample):
    first, second, labels = images_of(random_outcomes(), range(8))
    ours = compare(first, second, labels, resample)
    order = rng(5).permutation(len(labels))
    assert compare(first[order], second[order], labels[order], resample) == ours
    turned = compare(second, first, labels, resample)
    for score in SCORES:
        assert turned[score].difference == pytest.approx(-ours[score].difference)
        assert turned[score].p_value == pytest.approx(ours[score].p_value, abs=0.05)


@both_resamples
def test_a_method_that_is_always_right_beats_one_that_never_is(resample):
    labels = np.repeat([0, 3, 4, 5, 7], 6)
    right = np.ones(len(labels), dtype=bool)
    for found in compare(right, ~right, labels, resample).values():
        assert (found.difference, found.interval) == (1, (1, 1))
        assert found.p_value == 2 / 10_001


def test_a_domain_without_images_is_refused():
    with pytest.raises(CheckpointError, match="have no images"):
        compare(np.array([True]), np.array([True]), np.array([0]))


# --- simulations


@pytest.fixture
def simulate(monkeypatch):
    """Compares on new images, 25 of each of 30 classes, with given chances of the outcomes."""
    monkeypatch.setattr(pairing, "NUM_RESAMPLES", 500)

    def simulate(resample, draw_chances):
        generator = rng(3)
        for _ in range(300):
            outcomes = [
                generator.multinomial(25, chances_4) for chances_4 in draw_chances(generator)
            ]
            images = images_of([*outcomes, np.array([0, 0, 0, 1])], range(31))
            yield compare(*images, resample, seen=np.array([30]), unseen=np.arange(30))[
                "acc_unseen"
            ]

    return simulate


def fixed_chances(only_second, only_first):
    chances_C4 = rng().dirichlet([3, only_second, only_first, 3], size=30)
    return lambda _: chances_C4


def equal_in_each_class(_):
    """Chances that differ between classes, but not between the two methods."""
    chances_C4 = fixed_chances(1, 1)(None)
    return (chances_C4 + chances_C4[:, [0, 2, 1, 3]]) / 2


def equal_on_average(generator):
    """New classes each time: each class favours one method, on average none is favoured."""
    return generator.dirichlet([3, 1, 1, 3], size=30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("resample", "draw_chances"),
    [(over_images, equal_in_each_class), (over_classes, equal_on_average)],
)
def test_where_nothing_differs_intervals_cover_zero_and_p_values_are_uniform(
    simulate, resample, draw_chances
):
    results = list(simulate(resample, draw_chances))
    covered = np.mean([result.interval[0] <= 0 <= result.interval[1] for result in results])
    assert 0.91 < covered < 0.98  # three standard errors are 0.038
    p_values = np.array([result.p_value for result in results])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 0.01 < np.mean(p_values < 0.05) < 0.09


@pytest.mark.slow
def test_where_methods_differ_the_interval_covers_the_difference_and_not_zero(simulate):
    draw_chances = fixed_chances(only_second=1, only_first=2)
    truth = (draw_chances(None)[:, 2] - draw_chances(None)[:, 1]).mean()
    results = list(simulate(over_images, draw_chances))
    assert (
        0.91
        < np.mean([result.interval[0] <= truth <= result.interval[1] for result in results])
        < 0.98
    )
    assert np.mean([result.p_value < 0.05 for result in results]) > 0.8
