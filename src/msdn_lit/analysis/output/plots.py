"""Figures of one group of runs. The caller saves them.

Scores are fractions and are drawn in percent. A band is one standard deviation of the seeds.

Letters: n seeds, X points along an axis, C classes.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msdn_lit.analysis.output.style import (
    BAND,
    STYLES,
    Seeds,
    Style,
    Values,
    draw_band,
    draw_scores,
    legend_beside,
    titled_axes,
    wrap,
)
from msdn_lit.runs.layout import SCORES

_MANY_CLASSES = 40  # more names than these do not fit on the axis


class ClassAccuracies(NamedTuple):
    """Accuracies of the classes of one domain.

    Attributes:
        domain: Name of the domain.
        names: Class names, (C,).
        values_nC: Accuracies as fractions, (n, C).
    """

    domain: str
    names: Sequence[str]
    values_nC: Values


class SettingCurve(NamedTuple):
    """Scores of a trained model along one setting of its prediction.

    Attributes:
        label: Name of the setting.
        values_X: Values of the setting, (X,).
        scores: Scores of the seeds at each value.
        own: Value of the run.
    """

    label: str
    values_X: Values
    scores: Seeds
    own: float


def plot_prediction_settings(curves: Sequence[SettingCurve], title: str) -> Figure:
    """Draws the effect of the fusion weight and the calibration on a trained model.

    Args:
        curves: Scores along each setting, one panel each.
        title: Title of the figure.
    """
    figure = Figure(figsize=(1.5 + 4 * len(curves), 3.6), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, curve in zip(panels, curves, strict=True):
        draw_scores(axes, curve.values_X, curve.scores)
        axes.axvline(curve.own, color="grey", lw=1, label="the run's own")
        axes.set_xlabel(curve.label)
        axes.grid(alpha=0.3)
    panels[0].set(ylabel="score (%)", ylim=0)
    lines = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
    shown = {label: line for label, line in lines.items() if not label.startswith("_")}
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside lower center",
        ncols=5,
        fontsize=8,
        title=BAND,
        title_fontsize=8,
    )
    return figure


def plot_class_accuracies(domains: Sequence[ClassAccuracies], title: str) -> Figure:
    """Draws the accuracy of every class, sorted, with another mark for each domain.

    All classes are named if they are few, else the best and the worst ones.
    """
    figure, axes = titled_axes((9, 4), title)
    names = [name for domain in domains for name in domain.names]
    means = np.concatenate([domain.values_nC.mean(axis=0) for domain in domains])
    order = np.argsort(means, kind="stable")
    ends = np.cumsum([len(domain.names) for domain in domains])[:-1]
    positions = np.split(np.argsort(order), ends)
    for domain, positions_C, style in zip(domains, positions, STYLES, strict=False):
        _draw_classes(axes, domain, positions_C, style)
    ordered, label = [names[index] for index in order], "class, sorted by accuracy"
    if len(names) <= _MANY_CLASSES:
        axes.set_xticks(np.arange(len(names)), ordered, rotation=90, fontsize=7)
    else:
        axes.set_xticks([])
        label += f"; lowest: {', '.join(ordered[:5])}; highest: {', '.join(ordered[:-6:-1])}"
    axes.set(xlabel=wrap(label, 120), ylabel="accuracy among all classes (%)", ylim=(-3, 103))
    axes.grid(visible=False, axis="x")
    note = "line: ± 1 standard deviation of the seeds"
    axes.legend(loc="upper left", fontsize=8, title=note, title_fontsize=8)
    return figure


def plot_history(scores_at: Mapping[int, Mapping[str, float]], stage: str) -> Figure:
    """Draws T1, U, S and H of one run over the training steps.

    Args:
        scores_at: Scores by step; a step may lack some of them.
        stage: Evaluated splits, for the axis.
    """
    steps = sorted(scores_at)
    scores = {
        score: [[scores_at[step].get(score, np.nan)] for step in steps]
        for score in SCORES
        if any(score in scores_at[step] for step in steps)
    }
    return plot_histories(steps, scores, stage, "")


def plot_histories(steps: Sequence[int], scores: Seeds, stage: str, title: str) -> Figure:
    """Draws scores over the training steps.

    Args:
        steps: Steps at which all seeds were evaluated, ascending, (X,).
        scores: Scores of the seeds at each step.
        stage: Evaluated splits, for the axis.
        title: Title of the figure.
    """
    figure, axes = titled_axes((7, 4), title)
    draw_scores(axes, steps, scores)
    axes.set(xlabel="training step", ylabel=f"score on {stage} (%)", ylim=0)
    has_band = any(
        len(np.atleast_1d(seeds)) > 1 for columns in scores.values() for seeds in columns
    )
    legend_beside(axes, BAND if has_band else "")
    return figure


def plot_losses(steps: Sequence[int], losses: Seeds, title: str) -> Figure:
    """Draws the training loss and its terms over the steps, each in a panel with its own scale.

    Args:
        steps: Steps at which all seeds logged them, ascending, (X,).
        losses: Values of the seeds at each step, by name.
        title: Title of the figure.
    """
    figure = Figure(figsize=(1.2 + 2.6 * len(losses), 3), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(1, len(losses), squeeze=False)[0]
    for axes, (name, columns), style in zip(panels, losses.items(), cycle(STYLES), strict=False):
        draw_band(axes, steps, columns, style, name, scale=1)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.grid(alpha=0.3)
    figure.supxlabel("training step", fontsize=9)
    return figure


def _draw_classes(
    axes: Axes, domain: ClassAccuracies, positions_C: NDArray[np.int64], style: Style
) -> None:
    mean_C, n = 100 * domain.values_nC.mean(axis=0), len(domain.values_nC)
    std_C = 100 * domain.values_nC.std(axis=0, ddof=1) if n > 1 else None
    label = f"{domain.domain}: {len(mean_C)} classes, mean {mean_C.mean():.1f} %"
    axes.errorbar(
        positions_C,
        mean_C,
        std_C,
        fmt=style.mark,
        color=style.colour,
        ms=5,
        mec="white",
        mew=0.4,
        lw=0.6,
        label=label,
    )
