"""The figures of a report show the numbers that they are given."""

import re

import numpy as np
import pytest

from msdn_lit.analysis.figures import comparison_plots, plots
from msdn_lit.analysis.figures.report_figures import figures_of_group, report_figures
from msdn_lit.analysis.groups import contexts, group_runs
from msdn_lit.runs.reader import find_runs
from tests.run_folders import made_up_cache, scores_of, write_run

VALUES = {
    "acc_czsl": [0.5, 0.7],
    "acc_unseen": [0.4],
    "acc_seen": [0.6, 0.61],
    "harmonic_mean": [0.4, 0.5],
}


def lines_of(axes):
    return {line.get_label(): np.transpose(line.get_data()) for line in axes.get_lines()}


def test_a_seen_unseen_curve_runs_through_the_points_of_its_cache():
    cache = made_up_cache(per_class=60)
    figure = comparison_plots.plot_curves(
        [comparison_plots.CurveLine("name", [cache.curve()], [cache.calibration])]
    )
    curve, point = (line.get_xydata() for line in figure.axes[0].get_lines())
    scores = scores_of(cache)
    np.testing.assert_allclose(point, [[100 * scores["acc_unseen"], 100 * scores["acc_seen"]]])
    assert np.linalg.norm(curve - point, axis=1).min() < 0.5
    assert curve[0, 0] == pytest.approx(0)
    np.testing.assert_allclose(curve[-1], [100 * scores["acc_czsl"], 0], atol=1e-9)


def test_bars_are_means_and_dots_are_seeds():
    figure = comparison_plots.plot_bars({"one": VALUES, "two": VALUES})
    for axes, values in zip(figure.axes, VALUES.values(), strict=True):
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(
            [100 * np.mean(values)] * 2
        )
        dots = next(line for line in axes.get_lines() if line.get_marker() == "o")
        np.testing.assert_allclose(dots.get_xdata(), 100 * np.array(values))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two"]


def test_lines_are_means():
    columns = {score: [values, [0.1, 0.2], [0.3]] for score, values in VALUES.items()}
    for axes in (
        comparison_plots.plot_sensitivity("loss.lambda_cal", [0, 0.1, 10], columns).axes[0],
        plots.plot_histories([10, 20, 30], columns, "test").axes[0],
    ):
        for name, values in zip(("T1", "U", "S", "H"), VALUES.values(), strict=True):
            np.testing.assert_allclose(lines_of(axes)[name][:, 1], [100 * np.mean(values), 15, 30])
        assert axes.get_xlabel() in ("loss.lambda_cal", "training step")
        assert "%" in axes.get_ylabel()


@pytest.mark.parametrize("num_classes", [3, 50])
def test_classes_are_sorted_and_named(num_classes):
    accuracies = np.random.default_rng(0).random((2, num_classes))
    names = [f"bird {c}" for c in range(num_classes)]
    domains = [
        plots.ClassAccuracies("seen", names, accuracies),
        plots.ClassAccuracies("unseen", ["x"], np.zeros((2, 1))),
    ]
    axes = plots.plot_class_accuracies(domains).axes[0]
    marks = np.concatenate([container.lines[0].get_xydata() for container in axes.containers])
    np.testing.assert_allclose(
        marks[np.argsort(marks[:, 0]), 1], 100 * np.sort([*accuracies.mean(axis=0), 0])
    )
    best = names[accuracies.mean(axis=0).argmax()]
    if num_classes == 3:
        assert [label.get_text() for label in axes.get_xticklabels()][::num_classes] == ["x", best]
    else:
        assert "lowest: x, bird" in axes.get_xlabel().replace("\n", " ")
        assert f"highest: {best}" in axes.get_xlabel().replace("\n", " ")


@pytest.mark.parametrize(
    ("num_subnets", "labels"), [(1, ["calibration"]), (2, ["weight", "calibration"])]
)
def test_a_model_of_one_subnet_has_no_fusion_to_vary(load_config, tmp_path, num_subnets, labels):
    write_run(tmp_path / "run", load_config(), num_subnets=num_subnets)
    groups, _ = group_runs(find_runs([tmp_path / "run"]).runs)
    (context,) = contexts(groups)
    drawn = figures_of_group(groups[0], context, None)
    (figure,) = [figure for name, figure, _ in drawn if name.startswith("prediction_")]
    assert [axes.get_xlabel().partition(" ")[0] for axes in figure.axes] == labels


def test_the_history_of_one_run():
    """A score that a step lacks leaves a gap; one that no step has is not drawn."""
    scores_at = {20: {"acc_czsl": 0.5, "acc_seen": 0.25}, 10: {"acc_czsl": 0.4}}
    axes = plots.plot_history(scores_at, "val").axes[0]
    lines = lines_of(axes)
    assert lines.keys() == {"T1", "S"}
    np.testing.assert_allclose(lines["T1"], [[10, 40], [20, 50]])
    np.testing.assert_allclose(lines["S"], [[10, np.nan], [20, 25]])
    assert axes.get_ylabel() == "score on val (%)"


def test_captions_name_protocol_seeds_and_error_bars(load_config, tmp_path):
    cfg = load_config()
    for cfg.seed, cfg.loss.lambda_cal in ((0, 0.1), (1, 0.1), (0, 0.2)):
        write_run(tmp_path / f"{cfg.loss.lambda_cal}_{cfg.seed}", cfg)
    groups, _ = group_runs(find_runs([tmp_path]).runs)
    captions = {name: caption for name, _, caption in report_figures(groups, None)}
    for name, caption in captions.items():
        assert "CUB, resnet101_448, paper protocol" in caption
        assert "evaluated on test" in caption
        several = "lambda_cal=0.2" not in name
        assert ("deviation" in caption or "95 % t interval" in caption) == several
        n = re.search(r"seeds: (.*)\.$", caption)[1]
        if name.startswith(("bars", "curves")):
            assert n == "n = 2 (loss.lambda_cal=0.1), 1 (loss.lambda_cal=0.2)"
        else:
            assert n == ("n = 2" if several else "n = 1")
