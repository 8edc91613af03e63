"""Figures of a report; every function returns a matplotlib figure and leaves saving to its caller.

Colours are Okabe and Ito's; line styles and marks differ as well, so that the figures can be read in grey. A band is
one standard deviation of the seeds to either side. Scores come as fractions and are drawn in percent.

Letters: n seeds, X points along an axis, C classes.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from msdn_lit.analysis.statistics import summarise
from msdn_lit.metrics.curve import SeenUnseenCurve, scores_at, seen_unseen_auc
from msdn_lit.runs.layout import SCORES

Values = NDArray[np.float64]
Seeds = Mapping[
    str, Sequence[ArrayLike]
]  # score -> for each point along the axis, one value per seed, (n,)
Style = tuple[str, Any, str]  # colour, dashes, mark

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = list(zip(_COLOURS, _DASHES, _MARKS, strict=True))
_OF_SCORE = dict(zip(SCORES, _STYLES, strict=False))
_ANGLES = np.linspace(0, np.pi / 2, 400)  # from the axis of S
_BAND = "band: ± 1 standard deviation of the seeds"


class CurveLine(NamedTuple):
    """One group's seen-unseen curves.

    Attributes:
        name: Of the group.
        curves: One for each seed.
        calibrations: Of each seed's predictions.
    """

    name: str
    curves: Sequence[SeenUnseenCurve]
    calibrations: Sequence[float]


class ClassAccuracies(NamedTuple):
    """Accuracies of the classes of one side of the border.

    Attributes:
        label: Of the side.
        names: Of the classes, (C,).
        values_nC: One row for each seed, as fractions, (n, C).
    """

    label: str
    names: Sequence[str]
    values_nC: Values


def plot_curves(lines: Sequence[CurveLine], title: str) -> Figure:
    """Draws S over U with the point at which each group operates, and its AUSUC.

    Mean and band over the seeds are taken along rays from the origin, so that steep parts look like flat ones.
    """
    figure, axes = _axes((7.5, 4.5), title)
    rays_X2 = np.c_[np.sin(_ANGLES), np.cos(_ANGLES)]
    for line, (colour, dashes, mark) in zip(lines, cycle(_STYLES), strict=False):
        area = summarise([float(seen_unseen_auc(curve)) for curve in line.curves])
        label = f"{_wrapped(line.name, 36)}\nAUSUC {area}"
        radii_nX1 = 100 * np.array([_radii(curve) for curve in line.curves])[:, :, None]
        mean_X2 = radii_nX1.mean(axis=0) * rays_X2
        axes.plot(
            *mean_X2.T, color=colour, linestyle=dashes, marker=mark, markevery=[], label=label
        )
        if len(line.curves) > 1:
            std_X2 = radii_nX1.std(axis=0, ddof=1) * rays_X2
            axes.fill(
                *np.r_[mean_X2 - std_X2, (mean_X2 + std_X2)[::-1]].T, color=colour, alpha=0.15, lw=0
            )
        points = [
            scores_at(curve, curve.thresholds_T.new_tensor(calibration))
            for curve, calibration in zip(line.curves, line.calibrations, strict=True)
        ]
        unseen, seen = (100 * np.mean([float(point[i]) for point in points]) for i in (1, 2))
        axes.plot(unseen, seen, mark, color=colour, markeredgecolor="white", markersize=9)
    axes.set(
        xlabel="U, accuracy of unseen classes (%)",
        ylabel="S, accuracy of seen classes (%)",
        xlim=0,
        ylim=0,
    )
    _legend_beside(axes, f"mark: the run's own calibration\n{_BAND}")
    return figure


def plot_bars(groups: Mapping[str, Mapping[str, ArrayLike]], title: str) -> Figure:
    """Draws T1, U, S and H of groups: the mean as a bar, its 95 % t interval, and each seed as a dot.

    Args:
        groups: Name -> score -> one value per seed, (n,).
        title: What all groups share.
    """
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(groups)), layout="constrained")
    figure.suptitle(title, fontsize=10)
    places = np.arange(len(groups))[::-1]
    panels = figure.subplots(1, len(SCORES), sharey=True)
    for axes, (score, label) in zip(panels, SCORES.items(), strict=True):
        for place, scores in zip(places, groups.values(), strict=True):
            values_n = 100 * np.asarray(scores[score], dtype=np.float64)
            summary = summarise(values_n)
            axes.barh(place, summary.mean, height=0.7, color="#BFDDEF", edgecolor="#0072B2")
            axes.plot(
                values_n,
                np.full(len(values_n), place - 0.18),
                "o",
                color="white",
                markeredgecolor="black",
                ms=4,
            )
            if summary.interval:
                axes.plot(
                    np.clip(summary.interval, 0, 100),
                    [place + 0.12] * 2,
                    "|-",
                    color="black",
                    lw=1.5,
                    ms=7,
                )
            end = max(summary.mean, *values_n, *(summary.interval or ()))
            axes.annotate(
                f"{summary.mean:.1f}",
                (end, place),
                (7, 0),
                "data",
                "offset points",
                va="center",
                fontsize=9,
            )
        axes.margins(x=0.3)
        axes.set(xlabel=f"{label} (%)", xlim=0)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(places, [_wrapped(name, 36) for name in groups])
    figure.supxlabel("bar: mean; line: its 95 % t interval; dots: single seeds", fontsize=8)
    return figure


def plot_sensitivity(setting: str, values: Sequence[float], scores: Seeds, title: str) -> Figure:
    """Draws scores against one setting.

    Args:
        setting: Its name.
        values: Of the setting, ascending, (X,).
        scores: Of the seeds at each value.
        title: What all share.
    """
    figure, axes = _axes((7, 4), title)
    for score, columns in scores.items():
        _draw_band(axes, values, columns, _OF_SCORE[score], SCORES[score])
    positive = [value for value in values if value > 0]
    if positive and min(values) >= 0 and max(values) > 20 * min(positive):
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    axes.set(xlabel=setting, ylabel="score (%)")
    _legend_beside(axes, _BAND)
    return figure


def plot_prediction_settings(
    fusion: tuple[str, Values, Seeds, float] | None,
    calibration: tuple[Values, Seeds, float],
    title: str,
) -> Figure:
    """Draws what the fusion weight and the calibration do to a trained model.

    Args:
        fusion: The first sub-net's name, its weights (the second has the rest), the scores, and the run's weight; None
            for a model that has not two sub-nets.
        calibration: Calibrations, the scores, and the run's own.
        title: What they belong to.
    """
    panels = [(rf"weight $\alpha$ of {fusion[0]}", *fusion[1:])] if fusion else []
    panels.append((r"calibration $\gamma$", *calibration))
    figure = Figure(figsize=(1.5 + 4 * len(panels), 3.6), layout="constrained")
    figure.suptitle(title, fontsize=10)
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (label, values_X, scores, own) in zip(row, panels, strict=True):
        for score, columns in scores.items():
            _draw_band(axes, values_X, columns, _OF_SCORE[score], SCORES[score])
        axes.axvline(own, color="grey", lw=1, label="the run's own")
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    row[0].set(ylabel="score (%)", ylim=0)
    handles = {
        line.get_label(): line
        for axes in row
        for line in axes.get_lines()
        if str(line.get_label())[0] != "_"
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=5,
        fontsize=8,
        title=_BAND,
        title_fontsize=8,
    )
    return figure


def plot_class_accuracies(sides: Sequence[ClassAccuracies], title: str) -> Figure:
    """Draws the accuracy of every class, sorted; the sides of the border in different marks.

    The ends are named; all classes, where they are few.
    """
    figure, axes = _axes((9, 4), title)
    names = [name for side in sides for name in side.names]
    order = np.argsort(
        np.concatenate([side.values_nC.mean(axis=0) for side in sides]), kind="stable"
    )
    places = np.split(np.argsort(order), np.cumsum([len(side.names) for side in sides])[:-1])
    for side, places_C, (colour, _, mark) in zip(sides, places, _STYLES, strict=False):
        mean_C, n = 100 * side.values_nC.mean(axis=0), len(side.values_nC)
        std_C = 100 * side.values_nC.std(axis=0, ddof=1) if n > 1 else None
        label = f"{side.label}: {len(mean_C)} classes, mean {mean_C.mean():.1f} %"
        axes.errorbar(
            places_C,
            mean_C,
            std_C,
            fmt=mark,
            color=colour,
            ms=5,
            mec="white",
            mew=0.4,
            lw=0.6,
            label=label,
        )
    ordered, label = [names[index] for index in order], "class, sorted by accuracy"
    if len(names) <= 40:
        axes.set_xticks(np.arange(len(names)), ordered, rotation=90, fontsize=7)
    else:
        axes.set_xticks([])
        label += f"; lowest: {', '.join(ordered[:5])}; highest: {', '.join(ordered[:-6:-1])}"
    axes.set(xlabel=_wrapped(label, 120), ylabel="accuracy among all classes (%)", ylim=(-3, 103))
    axes.grid(visible=False, axis="x")
    axes.legend(
        loc="upper left",
        fontsize=8,
        title="line: ± 1 standard deviation of the seeds",
        title_fontsize=8,
    )
    return figure


def plot_histories(steps: Sequence[int], scores: Seeds, stage: str, title: str) -> Figure:
    """Draws scores over the training steps.

    Args:
        steps: At which all seeds were evaluated, ascending, (X,).
        scores: Of the seeds at each step.
        stage: The splits they were measured on.
        title: What they belong to.
    """
    figure, axes = _axes((7, 4), title)
    for score, columns in scores.items():
        _draw_band(axes, steps, columns, _OF_SCORE[score], SCORES[score])
    axes.set(xlabel="training step", ylabel=f"score on {stage} (%)", ylim=0)
    _legend_beside(axes, _BAND)
    return figure


def plot_losses(steps: Sequence[int], losses: Seeds, title: str) -> Figure:
    """Draws the training loss and its terms over the steps, each on a scale of its own.

    Args:
        steps: At which all seeds logged them, ascending, (X,).
        losses: Name of each -> for each step, one value per seed.
        title: What they belong to.
    """
    figure = Figure(figsize=(1.2 + 2.6 * len(losses), 3), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(1, len(losses), squeeze=False)[0]
    for axes, (name, columns), style in zip(panels, losses.items(), cycle(_STYLES), strict=False):
        _draw_band(axes, steps, columns, style, name, scale=1)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.grid(alpha=0.3)
    figure.supxlabel("training step", fontsize=9)
    return figure


def _axes(size: tuple[float, float], title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure, axes


def _draw_band(
    axes: Axes,
    places: ArrayLike,
    columns: Sequence[ArrayLike],
    style: Style,
    label: str,
    scale: float = 100,
) -> None:
    """Draws the mean over the seeds, and its band where there are several; columns as in `Seeds`, in percent."""
    colour, dashes, mark = style
    scaled = [scale * np.asarray(seeds, dtype=np.float64) for seeds in columns]
    means_X = np.array([seeds.mean() for seeds in scaled])
    every = max(1, len(scaled) // 8)
    axes.plot(
        places,
        means_X,
        color=colour,
        linestyle=dashes,
        marker=mark,
        ms=5,
        markevery=every,
        label=label,
    )
    if any(len(seeds) > 1 for seeds in scaled):
        std_X = np.array([seeds.std(ddof=1) if len(seeds) > 1 else 0.0 for seeds in scaled])
        axes.fill_between(places, means_X - std_X, means_X + std_X, color=colour, alpha=0.15, lw=0)


def _legend_beside(axes: Axes, title: str) -> None:
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        fontsize=8,
        title=_wrapped(title, 36),
        title_fontsize=8,
        frameon=False,
        alignment="left",
    )


def _radii(curve: SeenUnseenCurve) -> Values:
    """How far from the origin the curve lies along `_ANGLES`, (X,)."""
    unseen_P, seen_P = curve.acc_unseen_P.numpy(), curve.acc_seen_P.numpy()
    radii_X: Values = np.interp(_ANGLES, np.arctan2(unseen_P, seen_P), np.hypot(unseen_P, seen_P))
    return radii_X


def _wrapped(text: str, width: int) -> str:
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width))
