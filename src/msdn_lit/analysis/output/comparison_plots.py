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
from numpy.typing import ArrayLike

from msdn_lit.analysis.output.style import (
    BAND,
    OKABE_ITO,
    STYLES,
    Seeds,
    Style,
    Values,
    draw_scores,
    legend_beside,
    titled_axes,
    wrap,
)
from msdn_lit.analysis.statistics import summarise
from msdn_lit.metrics.curve import SeenUnseenCurve, scores_at, seen_unseen_auc
from msdn_lit.runs.layout import SCORES

_ANGLES_X = np.linspace(0, np.pi / 2, 400)  # from the axis of S
_NAME_WIDTH = 36
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


def plot_curves(lines: Sequence[CurveLine], title: str) -> Figure:
    """Draws S over U, with AUSUC, and a mark at the point of each group's calibration.

    Mean and band over the seeds are computed along rays from the origin, so that steep parts of a
    curve are averaged like flat ones.
    """
    figure, axes = titled_axes((7.5, 4.5), title)
    for line, style in zip(lines, cycle(STYLES), strict=False):
        _draw_curve(axes, line, style)
    xlabel, ylabel = "U, accuracy of unseen classes (%)", "S, accuracy of seen classes (%)"
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=0, ylim=0)
    legend_beside(axes, f"mark: the run's own calibration\n{BAND}")
    return figure


def plot_bars(groups: Mapping[str, Mapping[str, ArrayLike]], title: str) -> Figure:
    """Draws T1, U, S and H of groups: the mean as a bar, its 95 % t interval, each seed as a dot.

    Args:
        groups: Values of the seeds, (n,), by group and score.
        title: Title of the figure.
    """
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(groups)), layout="constrained")
    figure.suptitle(title, fontsize=10)
    positions = np.arange(len(groups))[::-1]
    panels = figure.subplots(1, len(SCORES), sharey=True)
    for axes, (score, label) in zip(panels, SCORES.items(), strict=True):
        for y, scores in zip(positions, groups.values(), strict=True):
            _draw_bar(axes, y, 100 * np.asarray(scores[score], dtype=np.float64))
        axes.margins(x=0.3)
        axes.set(xlabel=f"{label} (%)", xlim=0)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(positions, [wrap(name, _NAME_WIDTH) for name in groups])
    figure.supxlabel("bar: mean; line: its 95 % t interval; dots: single seeds", fontsize=8)
    return figure


def plot_sensitivity(setting: str, values: Sequence[float], scores: Seeds, title: str) -> Figure:
    """Draws scores over the values of one setting.

    Args:
        setting: Name of the setting.
        values: Values of the setting, ascending, (X,).
        scores: Scores of the seeds at each value.
        title: Title of the figure.
    """
    figure, axes = titled_axes((7, 4), title)
    draw_scores(axes, values, scores)
    positive = [value for value in values if value > 0]
    if positive and min(values) >= 0 and max(values) > 20 * min(positive):
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    axes.set(xlabel=setting, ylabel="score (%)")
    legend_beside(axes, BAND)
    return figure


def _draw_curve(axes: Axes, line: CurveLine, style: Style) -> None:
    colour, dashes, mark = style
    area = summarise([seen_unseen_auc(curve) for curve in line.curves])
    label = f"{wrap(line.name, _NAME_WIDTH)}\nAUSUC {area}"
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
    axes.plot(unseen, seen, mark, color=colour, markeredgecolor="white", markersize=9)


def _radii(curve: SeenUnseenCurve) -> Values:
    """Distance of the curve from the origin along `_ANGLES_X`, (X,)."""
    unseen_P, seen_P = curve.acc_unseen_P, curve.acc_seen_P
    angles_P, radii_P = np.arctan2(unseen_P, seen_P), np.hypot(unseen_P, seen_P)
    radii_X: Values = np.interp(_ANGLES_X, angles_P, radii_P)
    return radii_X


def _draw_bar(axes: Axes, y: float, percent_n: Values) -> None:
    summary = summarise(percent_n)
    axes.barh(y, summary.mean, height=0.7, color=_LIGHT_BLUE, edgecolor=OKABE_ITO["blue"])
    dots = np.full(len(percent_n), y - 0.18)
    axes.plot(percent_n, dots, "o", color="white", markeredgecolor="black", ms=4)
    if summary.interval:
        interval = np.clip(summary.interval, 0, 100)
        axes.plot(interval, [y + 0.12] * 2, "|-", color="black", lw=1.5, ms=7)
    end = max(summary.mean, *percent_n, *(summary.interval or ()))
    text, units = f"{summary.mean:.1f}", ("data", "offset points")
    axes.annotate(text, (end, y), (7, 0), *units, va="center", fontsize=9)
