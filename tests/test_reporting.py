"""How reporting changes H: every way against loops over the images."""

import dataclasses
import statistics
from itertools import pairwise, permutations

import numpy as np
import pytest

from msdn_lit.analysis.groups import group_runs
from msdn_lit.analysis.output.reporting import reporting_table, validated_calibration
from msdn_lit.runs.reader import find_runs
from msdn_lit.runs.score_cache import ScoreCache
from tests.run_folders import write_run

SEEDS = (0, 1, 2)


@pytest.fixture
def logs(load_config, tmp_path):
    """Runs of three seeds on the test splits, without score caches of other calibrations."""
    for seed in SEEDS:
        cfg = load_config(f"seed={seed}", "protocol=paper")
        folder = write_run(tmp_path / "logs" / f"test_{seed}", cfg)
        for path in (folder / "scores").glob("*.npz"):  # classes of several sizes
            shorten(path)
    return tmp_path / "logs"


@pytest.fixture
def with_validation(logs, load_config):
    """Also two runs of protocol=validation with another calibration and another length."""
    for seed in (7, 8):
        words = ["protocol=validation", "prediction.calibration=0", "trainer.max_steps=9"]
        write_run(logs / f"val_{seed}", load_config(f"seed={seed}", *words), skill=1.5)
    return logs


def shorten(path):
    """Removes images of some classes from a score cache."""
    cache = ScoreCache.load(path)
    kept = np.flatnonzero(np.arange(len(cache.labels_N)) % 12 <= cache.labels_N + 2)
    cut = {"labels_N": cache.labels_N[kept], "rows_N": cache.rows_N[kept]}
    dataclasses.replace(cache, logits_ONC=cache.logits_ONC[:, kept], **cut).save(path)


def the_row(logs):
    table = reporting_table(group_runs(find_runs([logs]).runs)[0])
    (row,) = table.rows
    return dict(zip(table.header, row, strict=True))


def fused(cache):
    return sum(w * logits.astype(float) for w, logits in zip(*of(cache), strict=True))


def of(cache):
    return cache.fusion, cache.logits_ONC


def accuracies(cache, margin, *, per_image=False):
    """U, S and H by a loop over the images."""
    right = {}
    for logits, label in zip(fused(cache), cache.labels_N, strict=True):
        is_unseen = np.isin(np.arange(len(logits)), cache.unseen)
        shown = logits + np.where(is_unseen, margin, -margin)
        key = (label in cache.unseen) if per_image else label
        right.setdefault(key, []).append(shown.argmax() == label)
    means = {key: np.mean(values) for key, values in right.items()}
    domains = ([True], [False]) if per_image else (cache.unseen, cache.seen)
    U, S = (np.mean([means[key] for key in keys]) for keys in domains)
    return U, S, 2 * U * S / (U + S) if U + S else 0.0


def margins(cache):
    """One margin between any two at which a prediction changes."""
    logits_NC = fused(cache)
    best = [logits_NC[:, ids].max(1) for ids in (cache.seen, cache.unseen)]
    thresholds = np.sort((best[0] - best[1]) / 2)
    return [(low + high) / 2 for low, high in pairwise(thresholds)]


def caches(logs, name="last", runs="test"):
    return [ScoreCache.load(path) for path in sorted(logs.glob(f"{runs}_*/scores/{name}.npz"))]


def test_of_several_validation_runs_those_of_the_same_length_count(with_validation, load_config):
    """In any order of the groups; without one of the same length, none counts."""
    for steps, skill in ((11, 1.0), (None, 2.0)):
        words = [] if steps is None else [f"trainer.max_steps={steps}"]
        cfg = load_config("protocol=validation", "prediction.calibration=0", *words)
        write_run(with_validation / f"more_{steps}", cfg, skill=skill)
    groups, _ = group_runs(find_runs([with_validation]).runs)
    (group,) = (group for group in groups if group.stage == "test")
    same = next(
        other
        for other in groups
        if other.stage == "val"
        and other.settings.get("trainer.max_steps") == group.settings.get("trainer.max_steps")
    )
    expected = validated_calibration(group, [same])
    assert expected is not None
    for order in permutations(groups):
        assert validated_calibration(group, order) == expected
    assert validated_calibration(group, [one for one in groups if one is not same]) is None


def test_lengths_in_passes_are_compared_by_passes(logs, load_config):
    """A validation run has fewer images, and so fewer steps for as many passes."""
    for name, steps, num_train, skill in (
        ("test_9", 1411, 7057, 2.0),
        ("val_a", 1000, 5000, 1.0),
        ("val_b", 282, 5000, 2.0),
    ):
        protocol = "paper" if name == "test_9" else "validation"
        cfg = load_config("seed=9", f"protocol={protocol}", f"trainer.max_steps={steps}")
        data = {"split": "s", "weights": None, "word_vectors": None, "num_train": num_train}
        write_run(logs / "passes" / name, cfg, skill=skill, changes={"data": data})
    groups, _ = group_runs(find_runs([logs / "passes"]).runs)
    (group,) = (one for one in groups if one.stage == "test")
    expected = {
        one.settings["trainer.max_steps"]: validated_calibration(group, [one])
        for one in groups
        if one.stage == "val"
    }
    assert expected[1000] != expected[282]
    assert validated_calibration(group, groups) == expected[1000]


def test_every_way_of_reporting_equals_loops(logs):
    row, last, peak = the_row(logs), caches(logs), caches(logs, "peak_harmonic_mean")
    gamma = last[0].calibration
    scores = [accuracies(cache, gamma) for cache in last]
    for name, values in zip("USH", zip(*scores, strict=True), strict=True):
        assert row[name].mean == pytest.approx(statistics.mean(values), abs=1e-6)
        assert row[name].std == pytest.approx(statistics.stdev(values), abs=1e-6)
    H = [score[2] for score in scores]
    others = {
        "+ oracle calibration": [max(accuracies(c, m)[2] for m in margins(c)) for c in last],
        "+ per image": [accuracies(c, gamma, per_image=True)[2] for c in last],
    }
    for name, values in others.items():
        gains = [value - base for value, base in zip(values, H, strict=True)]
        assert row[name].mean == pytest.approx(statistics.mean(gains), abs=1e-6), name
    assert row["+ best seed"] == pytest.approx(max(H) - statistics.mean(H), abs=1e-6)
    highest = [max(accuracies(c, m, per_image=True)[2] for m in margins(c)) for c in peak]
    assert row["all four"] == pytest.approx(max(highest), abs=1e-6)
    assert (row["calibration"], row["chosen by"], row["n"]) == (gamma, "the run", 3)


def test_the_peak_is_counted_at_the_runs_own_calibration(logs):
    gains = [
        run.scores["peak_harmonic_mean"]["harmonic_mean"] - run.scores["last"]["harmonic_mean"]
        for run in find_runs([logs]).runs
    ]
    assert the_row(logs)["+ peak step"].mean == pytest.approx(statistics.mean(gains))


def test_validation_classes_choose_the_calibration(with_validation):
    row = the_row(with_validation)
    of_validation = caches(with_validation, runs="val")
    every = sorted(margin for cache in of_validation for margin in margins(cache))
    mean_H = {
        margin: statistics.mean(accuracies(cache, margin)[2] for cache in of_validation)
        for margin in np.linspace(every[0], every[-1], 300)
    }
    assert row["chosen by"] == "validation"
    chosen = statistics.mean(accuracies(cache, row["calibration"])[2] for cache in of_validation)
    assert chosen >= max(mean_H.values()) - 0.005
    H = [accuracies(cache, row["calibration"])[2] for cache in caches(with_validation)]
    assert row["H"].mean == pytest.approx(statistics.mean(H), abs=1e-6)


@pytest.mark.parametrize(
    "difference", ["optimizer.lr=0.5", "features=mobilenetv2_224", "loss.lambda_cal=0"]
)
def test_runs_of_other_settings_choose_nothing(logs, load_config, difference):
    cfg = load_config("seed=7", "protocol=validation", difference)
    write_run(logs / "val_7", cfg)
    groups, _ = group_runs(find_runs([logs]).runs)
    (of_test,) = [group for group in groups if group.stage == "test"]
    assert validated_calibration(of_test, groups) is None
    assert the_row(logs)["chosen by"] == "the run"


def test_one_seed_without_a_peak(load_config, tmp_path):
    write_run(tmp_path / "logs" / "test_0", load_config("protocol=honest"))
    row = the_row(tmp_path / "logs")
    assert [row[name] for name in ("+ peak step", "+ best seed", "all four")] == [None] * 3
    assert row["n"] == 1
