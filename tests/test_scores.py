"""Score caches: written by runs, readable alone, equal to the logged scores."""

import json
from pathlib import Path

import numpy as np
import pytest

from msdn_lit.commands.train import evaluate, train
from msdn_lit.errors import CheckpointError
from msdn_lit.metrics.curve import best_point, scores_at
from msdn_lit.runs.score_cache import ScoreCache


@pytest.fixture
def finished(mini_config):
    cfg = mini_config()
    train.run(cfg)
    folder = Path(cfg.paths.run_dir)
    return folder, json.loads((folder / "result.json").read_text())


def test_each_reported_evaluation_has_its_cache_with_its_scores(finished):
    folder, result = finished
    assert {path.stem for path in (folder / "scores").glob("*.npz")} == set(result["scores"])
    for name, reported in result["scores"].items():
        cache = ScoreCache.load(folder / "scores" / f"{name}.npz")
        assert cache.step == reported["step"]
        scores = cache.scores()._asdict()
        for score, value in scores.items():
            assert float(value) == pytest.approx(reported[score], abs=1e-7)


def test_scores_at_any_fusion_and_margin_are_those_of_loops(finished):
    cache = ScoreCache.load(finished[0] / "scores" / "last.npz")
    fusion, margin = (0.3, 0.7), 0.25
    correct = {True: {}, False: {}}
    for n, label in enumerate(cache.labels_N):
        fused = {
            c: sum(
                w * (cache.logits_ONC[s, n, c] + (margin if c in cache.unseen else -margin))
                for s, w in enumerate(fusion)
            )
            for c in (*cache.seen, *cache.unseen)
        }
        is_unseen = label in cache.unseen
        correct[is_unseen].setdefault(label, []).append(max(fused, key=fused.get) == label)
    acc_unseen, acc_seen = (
        np.mean([np.mean(v) for v in correct[domain].values()]) for domain in (True, False)
    )
    scores = cache.scores(fusion, margin)
    assert float(scores.acc_unseen) == pytest.approx(acc_unseen)
    assert float(scores.acc_seen) == pytest.approx(acc_seen)
    assert float(scores.harmonic_mean) == pytest.approx(
        2 * acc_unseen * acc_seen / (acc_unseen + acc_seen)
    )


def test_the_curve_passes_through_the_scores(finished):
    cache = ScoreCache.load(finished[0] / "scores" / "last.npz")
    for margin in (0.0, 0.5, 1.0, 3.0):
        point, scores = (
            scores_at(cache.curve(), margin),
            cache.scores(calibration=margin),
        )
        assert float(point.harmonic_mean) == pytest.approx(float(scores.harmonic_mean))
    assert best_point(cache.curve()).harmonic_mean >= cache.scores().harmonic_mean


def test_fusion_weights_of_the_curve_are_relative(finished):
    cache = ScoreCache.load(finished[0] / "scores" / "last.npz")
    one, two = cache.curve((0.9, 0.1)), cache.curve((1.8, 0.2))
    np.testing.assert_allclose(one.acc_unseen_P, two.acc_unseen_P)


def test_every_image_of_the_evaluated_splits_once(finished, mini_config):
    from msdn_lit.build import task as build

    cache, module = (
        ScoreCache.load(finished[0] / "scores" / "last.npz"),
        build.datamodule(mini_config()),
    )
    rows = np.concatenate([module.indices[name] for name in module.eval_splits])
    np.testing.assert_array_equal(cache.rows_N, np.sort(rows))
    np.testing.assert_array_equal(cache.labels_N, module.split.labels_N[cache.rows_N])


def test_evaluating_again_writes_the_same_logits(finished, tmp_path):
    evaluate.run([str(finished[0]), "--output", str(tmp_path / "again")])
    one = ScoreCache.load(finished[0] / "scores" / "last.npz")
    two = ScoreCache.load(tmp_path / "again" / "scores" / "last.npz")
    np.testing.assert_array_equal(one.logits_ONC, two.logits_ONC)


@pytest.mark.parametrize("content", [None, b"", b"no zip", "truncated"])
def test_damaged(finished, tmp_path, content):
    path = tmp_path / "x.npz"
    if content == "truncated":
        path.write_bytes((finished[0] / "scores" / "last.npz").read_bytes()[:-500])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x.npz cannot be read as scores .*msdn evaluate"):
        ScoreCache.load(path)
