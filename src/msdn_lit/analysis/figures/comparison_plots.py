"""Figures that compare groups of runs. The caller saves them.

Scores are fractions and are drawn in percent. A band is one standard deviation of the seeds.

Letters: n seeds, X points along an axis, P pieces of the seen-unseen curve.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from msdn_lit.analysis.figures.labels import hide_overlapping_ticks, num_lines, wrap
from msdn_lit.analysis.figures.style import (
    COLUMN,
    LINE,
    OKABE_ITO,
    PAGE,
    STYLES,
    Seeds,
    Style,
    Values,
    draw_scores,
    new_axes,
    styled,
)
from msdn_lit.analysis.statistics import summarise
from msdn_lit.metrics.curve import SeenUnseenCurve, scores_at, seen_unseen_auc
from msdn_lit.runs.layout import SCORES

_ANGLES_X = np.linspace(0, np.pi / 2, 400)  # from the axis of S
_MAX_BELOW = 3  # curves whose names are below the axes
_NAME_BELOW = COLUMN - 0.6  # inches
_NAME_BESIDE = PAGE - COLUMN - 0.6
_BAR_NAME = 2.3
_BAR = 0.22  # inches, as below
_BAR_ROW = 0.42
_LIGHT_BLUE = "#BFDDEF"


class CurveLine(NamedTuple):
    """Seen-unseen curves of one group.

    Attributes:
        name: Name of the group.
        curves: Curves, one for each seed.
        calibrations: Calibration of the predictions of each seed.
    """

    name: str
    curves: Sequence[SeenUnseenCurve]
    calibrations: Sequence[float]


@styled
def plot_curves(lines: Sequence[CurveLine]) -> Figure:
    """Draws S over U, with AUSUC, and a mark at the point of each group's calibration.

    Mean and band over the seeds are computed along rays from the origin, so that steep parts of a
    curve are averaged like flat ones.
    """
    is_below = len(lines) <= _MAX_BELOW
    labels = [_curve_label(line, _NAME_BELOW if is_below else _NAME_BESIDE) for line in lines]
    legend = LINE * sum(num_lines(label) + 0.4 for label in labels) + 0.1
    size = (COLUMN, 2.5 + legend) if is_below else (PAGE, max(3.0, legend))
    figure, axes = new_axes(*size)
    for line, label, style in zip(lines, labels, cycle(STYLES), strict=False):
        _draw_curve(axes, line, label, style)
    xlabel, ylabel = "U, accuracy of unseen classes (%)", "S, accuracy of seen classes (%)"
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=0, ylim=0)
    figure.legend(
        loc="outside lower center" if is_below else "outside right upper",
        alignment="left",
        handlelength=3,
    )
    return hide_overlapping_ticks(figure)


@styled
def plot_bars(groups: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Draws T1, U, S and H of groups: the mean as a bar, its 95 % t interval, each seed as a dot.

    Args:
        groups: Values of the seeds, (n,), by group and score.
    """
    names = [wrap(name, _BAR_NAME) for name in groups]
    heights = [max(_BAR_ROW, LINE * num_lines(name) + 0.1) for name in names]
    positions = np.cumsum(heights) - np.array(heights) / 2  # inches, downwards
    figure = Figure(figsize=(PAGE, sum(heights) + 0.6), layout="constrained")
    panels = figure.subplots(1, len(SCORES), sharex=True, sharey=True)
    end = 1.0
    for axes, (score, label) in zip(panels, SCORES.items(), strict=True):
        for y, scores in zip(positions, groups.values(), strict=True):
            end = max(end, _draw_bar(axes, y, 100 * np.asarray(scores[score], np.float64)))
        axes.set_xlabel(f"{label} (%)")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    ticks = [tick for tick in MaxNLocator(3).tick_values(0, end) if 0 <= tick <= end]
    panels[0].set(xlim=(0, 1.75 * end), xticks=ticks, ylim=(sum(heights), 0))
    panels[0].set_yticks(positions, names)
    return hide_overlapping_ticks(figure)


@styled
def plot_sensitivity(setting: str, values: Sequence[float], scores: Seeds) -> Figure:
    """Draws scores over the values of one setting.

    Args:
        setting: Name of the setting.
        values: Values of the setting, ascending, (X,).
        scores: Scores of the seeds at each value.
    """
    figure, axes = new_axes(COLUMN, 2.6)
    draw_scores(axes, values, scores)
    positive = [value for value in values if value > 0]
    if positive and min(values) >= 0 and max(values) > 20 * min(positive):
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    axes.set(xlabel=wrap(setting, COLUMN - 0.6), ylabel="score (%)")
    figure.legend(loc="outside lower center", ncols=len(scores))
    return hide_overlapping_ticks(figure)


def _curve_label(line: CurveLine, width: float) -> str:
    area = summarise([float(seen_unseen_auc(curve)) for curve in line.curves])
    return f"{wrap(line.name, width)}\nAUSUC {area}"


def _draw_curve(axes: Axes, line: CurveLine, label: str, style: Style) -> None:
    colour, dashes, mark = style
    rays_X2 = np.c_[np.sin(_ANGLES_X), np.cos(_ANGLES_X)]
    radii_nX1 = 100 * np.array([_radii(curve) for curve in line.curves])[:, :, None]
    mean_X2 = radii_nX1.mean(axis=0) * rays_X2
    u_X, s_X = mean_X2.T
    axes.plot(u_X, s_X, color=colour, linestyle=dashes, marker=mark, markevery=[], label=label)
    if len(line.curves) > 1:
        std_X2 = radii_nX1.std(axis=0, ddof=1) * rays_X2
        edge_u, edge_s = np.r_[mean_X2 - std_X2, (mean_X2 + std_X2)[::-1]].T
        axes.fill(edge_u, edge_s, color=colour, alpha=0.15, lw=0)
    points = [
        scores_at(curve, calibration)
        for curve, calibration in zip(line.curves, line.calibrations, strict=True)
    ]
    unseen = 100 * np.mean([float(point.acc_unseen) for point in points])
    seen = 100 * np.mean([float(point.acc_seen) for point in points])
    axes.plot(unseen, seen, mark, color=colour, markeredgecolor="white", markersize=7)


def _radii(curve: SeenUnseenCurve) -> Values:
    """Distance of the curve from the origin along `_ANGLES_X`, (X,)."""
    unseen_P, seen_P = curve.acc_unseen_P, curve.acc_seen_P
    angles_P, radii_P = np.arctan2(unseen_P, seen_P), np.hypot(unseen_P, seen_P)
    radii_X: Values = np.interp(_ANGLES_X, angles_P, radii_P)
    return radii_X


def _draw_bar(axes: Axes, y: float, percent_n: Values) -> float:
    """Draws the bar, interval, seeds and mean of one score.

    Returns:
        Right end of what is drawn, without the number.
    """
    summary = summarise(percent_n)
    axes.barh(y, summary.mean, height=_BAR, color=_LIGHT_BLUE, edgecolor=OKABE_ITO["blue"], lw=0.6)
    dots = np.full(len(percent_n), y + _BAR / 4)
    axes.plot(percent_n, dots, "o", color="white", markeredgecolor="black", ms=3, mew=0.6)
    if summary.interval:
        interval = np.clip(summary.interval, 0, 100)
        axes.plot(interval, [y - _BAR / 5] * 2, "|-", color="black", lw=1, ms=5)
    end = max(summary.mean, *percent_n, *np.clip(summary.interval or (), 0, 100))
    text, units = f"{summary.mean:.1f}", ("data", "offset points")
    axes.annotate(text, (end, y), (5, 0), *units, va="center")
    return float(end)
