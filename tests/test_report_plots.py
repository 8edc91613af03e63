"""What the figures of a report draw is what they were given."""

import numpy as np
import pytest

from msdn_lit.analysis.output import plots
from tests.run_folders import made_up_cache, scores_of

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
    figure = plots.plot_curves(
        [plots.CurveLine("name", [cache.curve()], [cache.calibration])], "title"
    )
    curve, point = (line.get_xydata() for line in figure.axes[0].get_lines())
    scores = scores_of(cache)
    np.testing.assert_allclose(point, [[100 * scores["acc_unseen"], 100 * scores["acc_seen"]]])
    assert np.linalg.norm(curve - point, axis=1).min() < 0.5
    assert curve[0, 0] == pytest.approx(0)
    np.testing.assert_allclose(curve[-1], [100 * scores["acc_czsl"], 0], atol=1e-9)


def test_bars_are_means_and_dots_are_seeds():
    figure = plots.plot_bars({"one": VALUES, "two": VALUES}, "title")
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
        plots.plot_sensitivity("loss.lambda_cal", [0, 0.1, 10], columns, "title").axes[0],
        plots.plot_histories([10, 20, 30], columns, "test", "title").axes[0],
    ):
        for name, values in zip(("T1", "U", "S", "H"), VALUES.values(), strict=True):
            np.testing.assert_allclose(lines_of(axes)[name][:, 1], [100 * np.mean(values), 15, 30])
        assert axes.get_xlabel() in ("loss.lambda_cal", "training step")
        assert "%" in axes.get_ylabel()


@pytest.mark.parametrize("num_classes", [3, 50])
def test_classes_are_sorted_and_named(num_classes):
    accuracies = np.random.default_rng(0).random((2, num_classes))
    names = [f"bird {c}" for c in range(num_classes)]
    sides = [
        plots.ClassAccuracies("seen", names, accuracies),
        plots.ClassAccuracies("unseen", ["x"], np.zeros((2, 1))),
    ]
    axes = plots.plot_class_accuracies(sides, "title").axes[0]
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


def test_a_model_of_one_subnet_has_no_fusion_to_vary():
    calibration = (np.array([0.0, 1.0]), {"harmonic_mean": [[0.1], [0.2]]}, 0.5)
    assert len(plots.plot_prediction_settings(None, calibration, "title").axes) == 1
