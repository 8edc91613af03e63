"""Predictions of a score cache against loops over images."""

from collections import Counter

import numpy as np
import pytest

from msdn_lit.analysis.predictions import Predictions, cache_table
from msdn_lit.commands.results import scores
from msdn_lit.runs.score_cache import write_class_names
from tests.run_folders import made_up_cache


def guess(cache, n, fusion, margin):
    """All classes of image n, best first."""
    fused = {
        c: sum(
            w * (cache.logits_ONC[s, n, c] + (margin if c in cache.unseen else -margin))
            for s, w in enumerate(fusion)
        )
        for c in range(cache.logits_ONC.shape[2])
    }
    return sorted(fused, key=fused.get, reverse=True)


@pytest.fixture(scope="module")
def cache():
    return made_up_cache(skill=1.5)


@pytest.fixture(
    params=[((0.9, 0.1), 0.5), ((0.3, 0.7), 0.0), ((1.0, 0.0), 2.0)], ids=str, scope="module"
)
def predictions(cache, request):
    fusion, margin = request.param
    ranked = [guess(cache, n, fusion, margin) for n in range(len(cache.labels_N))]
    return Predictions(cache, fusion, margin), ranked


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k(cache, predictions, k):
    evaluation, ranked = predictions
    for domain in ("seen", "unseen"):
        by_class = {c: [c in r[:k] for r, y in zip(ranked, cache.labels_N, strict=True) if y == c]
                    for c in getattr(cache, domain)}  # fmt: skip
        assert evaluation.top_k(domain, k) == pytest.approx(
            np.mean([np.mean(hits) for hits in by_class.values()])
        )


def test_domain_confusion(cache, predictions):
    evaluation, ranked = predictions
    for domain, rate in zip(("seen", "unseen"), evaluation.domain_confusion_rates(), strict=True):
        ours = [
            r[0] for r, y in zip(ranked, cache.labels_N, strict=True) if y in getattr(cache, domain)
        ]
        assert rate == pytest.approx(np.mean([g not in getattr(cache, domain) for g in ours]))


def test_class_accuracies_and_confusions(cache, predictions):
    evaluation, ranked = predictions
    right = Counter(y for r, y in zip(ranked, cache.labels_N, strict=True) if r[0] == y)
    found = evaluation.accuracies()
    assert found == pytest.approx({c: right[c] / 12 for c in range(10)})
    assert list(found.values()) == sorted(found.values())
    wrong = Counter((y, r[0]) for r, y in zip(ranked, cache.labels_N, strict=True) if r[0] != y)
    pairs = evaluation.confused(most=4)
    assert [n for _, _, n in pairs] == sorted(wrong.values(), reverse=True)[:4]
    assert all(wrong[y, g] == n for y, g, n in pairs)


def test_the_table_has_the_scores_of_the_run(cache):
    table = cache_table({"last": Predictions(cache)})
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert [row[name] for name in ("T1", "U", "S", "H")] == pytest.approx(
        [float(v) for v in cache.scores()]
    )
    assert row["step"] == 300
    assert table.title == "From the score cache, test, fusion 0.9 0.1, calibration 0.5"
    assert row["oracle H"] >= row["H"]


class TestCommand:
    @pytest.fixture
    def folder(self, cache, tmp_path):
        for name in ("last", "peak_harmonic_mean"):
            cache.save(tmp_path / "run" / "scores" / f"{name}.npz")
        return tmp_path / "run"

    def test_a_run_folder(self, command, folder):
        code, out, _ = command(
            scores, str(folder), "--fusion", "1", "0", "--calibration", "0.25", "--classes", "2"
        )
        assert code == 0
        assert "fusion 1 0, calibration 0.25" in out
        assert out.count("Most confused pairs (") == 1

    def test_equal_evaluations_are_one_row(self, command, cache, folder):
        made_up_cache(step=100).save(folder / "scores" / "step_00100.npz")
        code, out, _ = command(scores, str(folder))
        assert code == 0
        cells = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| ")]
        assert cells[2:] == ["last, peak H", "step 100"]

    def test_classes_have_their_names(self, command, cache, folder):
        write_class_names(folder / "scores", [f"{c:03d}.Green_Bird_{c}" for c in range(10)])
        _, out, _ = command(scores, str(folder), "--classes", "2")
        worst, next_worst, *_ = Predictions(cache).accuracies()
        _, _, table = out.partition("## Lowest accuracy (last, peak H)")
        rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
        assert rows[2:4] == [f"Green Bird {worst}", f"Green Bird {next_worst}"]

    @pytest.mark.parametrize("weights", [["1"], ["0.2", "0.3", "0.5"], ["0", "0"]])
    def test_other_weights_than_sub_nets(self, command, folder, weights):
        code, _, err = command(scores, str(folder), "--fusion", *weights)
        assert code == 2
        assert (
            "expected 2 numbers with a positive sum, for attribute_to_visual, visual_to_attribute"
            in err
        )

    def test_no_cache(self, command, tmp_path):
        code, _, err = command(scores, str(tmp_path))
        assert code == 2
        assert "holds no score cache" in err
