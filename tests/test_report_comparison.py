"""Two groups paired by seeds and test images: against scipy, the comparison of single runs, and loops."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from msdn_lit import report
from msdn_lit.analysis.groups import pair_of_groups
from msdn_lit.analysis.pairing import compare_caches, over_classes, over_images
from msdn_lit.analysis.report import comparison_table
from msdn_lit.analysis.runs import find_runs
from msdn_lit.analysis.statistics import compare_on_images
from msdn_lit.analysis.statistics import over_classes as one_over_classes
from msdn_lit.analysis.statistics import over_images as one_over_images
from msdn_lit.errors import CheckpointError, ConfigError
from tests.run_folders import evaluation, made_up_cache, write_run

SCORES = ("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean")
both = pytest.mark.parametrize("resample", [over_images, over_classes])


def right(cache, candidates):
    """Whether each image is right among the candidates, by loops."""
    margins = np.where(np.isin(np.arange(cache.logits_SNC.shape[2]), cache.unseen), 1, -1) * cache.calibration
    fused = sum(w * (logits + margins) for w, logits in zip(cache.fusion, cache.logits_SNC, strict=True))
    return np.array([max(candidates, key=row.__getitem__) == c for row, c in zip(fused, cache.labels_N, strict=True)])


def scores_of(cache, weights):
    """T1, U, S and H, each image counted as often as its weight says."""
    everything = np.concatenate([cache.seen, cache.unseen])

    def accuracy(candidates, role):
        hits = right(cache, candidates)
        return np.mean([np.average(hits[cache.labels_N == c], weights=weights[cache.labels_N == c]) for c in role])

    T1, U = accuracy(cache.unseen, cache.unseen), accuracy(everything, cache.unseen)
    S = accuracy(everything, cache.seen)
    return np.array([T1, U, S, 2 * U * S / (U + S)])


class TestBootstrap:
    @both
    def test_the_difference_is_the_mean_over_the_seeds(self, resample):
        first, second = ([made_up_cache(seed, skill=skill) for seed in range(3)] for skill in (2.0, 1.6))
        ones = np.ones(len(first[0].labels_N))
        expected = np.mean(
            [scores_of(a, ones) - scores_of(b, ones) for a, b in zip(first, second, strict=True)], axis=0
        )
        found = compare_caches(first, second, resample)
        assert [found[score].difference for score in SCORES] == pytest.approx(list(expected))

    @pytest.mark.parametrize(("ours", "theirs"), [(over_images, one_over_images), (over_classes, one_over_classes)])
    def test_one_seed_is_the_comparison_of_two_runs(self, ours, theirs):
        first, second = (made_up_cache(seed, skill=2 - seed / 4, per_class=61) for seed in (0, 1))
        found = compare_caches([first], [second], ours)
        everything = np.concatenate([first.seen, first.unseen])
        for score, candidates, roles in (
            ("acc_czsl", first.unseen, [first.unseen]),
            ("acc_unseen", everything, [first.unseen]),
            ("acc_seen", everything, [first.seen]),
            ("harmonic_mean", everything, [first.unseen, first.seen]),
        ):
            hits = (right(first, candidates), right(second, candidates))
            one = compare_on_images(*hits, first.labels_N, roles, resample=theirs, num_resamples=10_000, seed=1)
            assert found[score].difference == pytest.approx(one.difference)
            assert found[score].interval == pytest.approx(one.interval, abs=0.01)
            assert found[score].p_value == pytest.approx(one.p_value, abs=0.03)
            assert found[score][3:] == one[3:]  # images, classes, resamples

    def test_all_seeds_are_scored_on_the_same_images(self):
        """By loops: were the seeds drawn apart, the interval would be narrower."""
        first, second = ([made_up_cache(seed, skill=skill) for seed in range(2)] for skill in (2.0, 1.6))
        first[1], second[1] = first[0], second[0]  # two seeds that agree: their mean is as uncertain as one
        rng, labels, drawn = np.random.default_rng(0), first[0].labels_N, []
        for _ in range(200):
            weights = np.zeros(len(labels))
            for c in np.unique(labels):
                rows = np.flatnonzero(labels == c)
                weights += np.bincount(rng.choice(rows, len(rows)), minlength=len(labels))
            drawn.append(scores_of(first[0], weights) - scores_of(second[0], weights))
        for score, values in zip(SCORES, np.array(drawn).T, strict=True):
            low, high = compare_caches(first, second, over_images)[score].interval
            assert (high - low) / (2 * 1.96) == pytest.approx(values.std(), rel=0.2)

    @both
    def test_equal_methods(self, resample):
        caches = [made_up_cache(seed) for seed in range(3)]
        for found in compare_caches(caches, caches, resample).values():
            assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)

    @pytest.mark.parametrize("name", ["rows_N", "labels_N"])
    def test_other_images(self, name):
        cache = made_up_cache()
        with pytest.raises(CheckpointError, match="not tested on the same images"):
            compare_caches([cache], [replace(cache, **{name: getattr(cache, name)[::-1]})], over_images)


@pytest.fixture
def make(load_config, tmp_path):
    """make("a", lambda_cal, {seed: H or None for a made-up cache}) writes the runs of one method."""

    def make(name, lambda_cal, seeds, *overrides, **others):
        cfg = load_config(*overrides)
        cfg.loss.lambda_cal = lambda_cal
        for cfg.seed, H in seeds.items():
            write_run(tmp_path / name / str(cfg.seed), cfg, H and {"last": evaluation(H)}, **others)
        return tmp_path / name

    return make


def compared(first, second):
    return comparison_table(*pair_of_groups(find_runs([first]).runs, find_runs([second]).runs))


class TestTable:
    def test_against_scipy_on_the_common_seeds(self, make):
        one, two = {0: 0.5, 1: 0.52, 2: 0.49, 7: 0.9}, {2: 0.45, 1: 0.5, 0: 0.47, 9: 0.1}
        table = compared(make("a", 0.1, one), make("b", 0.2, two))
        row = dict(zip(table.header, next(row for row in table.rows if row[1] == "H"), strict=True))
        values = [[group[seed] for seed in range(3)] for group in (one, two)]
        test = stats.ttest_rel(*values)
        flips = stats.permutation_test(values, lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=99)
        assert row["n"] == 3
        assert row["A - B"].mean == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
        assert row["95 % seeds"] == pytest.approx(tuple(test.confidence_interval()))
        assert (row["p (t)"], row["p (sign flips)"]) == pytest.approx((test.pvalue, flips.pvalue))
        assert (row["p images"], row["p classes"], row["images"]) == (None, None, None)  # no caches
        assert "A: CUB, resnet101_448, loss.lambda_cal=0.1, paper protocol" in table.notes

    def test_with_caches(self, make, monkeypatch, capsys):
        first, second = make("a", 0.1, {0: None, 1: None}, skill=2.5), make("b", 0.2, {0: None, 1: None}, skill=1.0)
        monkeypatch.setattr("sys.argv", ["msdn-report", str(first), str(second), "--compare"])
        report.main()
        out = capsys.readouterr().out
        assert out.index("## Paired comparison") < out.index("## Scores")
        table = compared(first, second)
        assert [row[0] for row in table.rows[::4]] == ["last step", "peak H on test", "peak T1 on test"]
        row = dict(zip(table.header, table.rows[3], strict=True))
        assert row["p images"] < 0.001
        assert row["95 % images"][0] < row["A - B"].mean < row["95 % images"][1]
        assert (row["images"], row["classes"]) == (120, 10)

    def test_the_same_settings_by_two_versions_of_the_code(self, make):
        table = compared(make("a", 0.1, {0: 0.5}), make("b", 0.1, {0: 0.4}, changes={"code": "new"}))
        assert table.rows[3][4].mean == pytest.approx(0.1)
        for note, name in zip(table.notes, "AB", strict=False):
            assert note.endswith(f"model=msdn ({name}), paper protocol")

    @pytest.mark.parametrize(
        ("seeds", "overrides", "says"),
        [
            ({1: 0.5}, (), "share no seed and evaluation: found seeds 0 and seeds 1"),
            ({0: 0.5}, ("data=sun",), r"expected one benchmark and stage, found CUB \(test\) and SUN \(test\)"),
            ({0: 0.5}, ("protocol=validation",), r"found CUB \(test\) and CUB \(val\)"),
        ],
    )
    def test_what_does_not_compare(self, make, seeds, overrides, says):
        with pytest.raises(ConfigError, match=says):
            compared(make("a", 0.1, {0: 0.5}), make("b", 0.2, seeds, *overrides))

    def test_a_path_with_two_groups(self, make, tmp_path):
        make("both/a", 0.1, {0: 0.5})
        make("both/b", 0.2, {0: 0.5})
        with pytest.raises(ConfigError, match=r"first path holds 2 groups: .*lambda_cal=0.1\); .*lambda_cal=0.2\)"):
            compared(tmp_path / "both", make("c", 0.3, {0: 0.5}))
