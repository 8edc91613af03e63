"""Figures of one group of runs. The caller saves them.

Scores are fractions and are drawn in percent. A band is one standard deviation of the seeds.

Letters: n seeds, X points along an axis, C classes.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from msdn_lit.analysis.figures.labels import hide_overlapping_ticks, num_lines, shorten, wrap
from msdn_lit.analysis.figures.style import (
    COLUMN,
    LINE,
    PAGE,
    STYLES,
    Seeds,
    Style,
    Values,
    draw_band,
    draw_scores,
    new_axes,
    styled,
)
from msdn_lit.runs.layout import SCORES

_MANY_CLASSES = 40  # more names than these do not fit on the axis
_CLASS_NAME = 1.8  # inches
_NUM_ENDS = 5  # best and worst classes that are named if there are many
_PANELS = 4  # in a row


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


@styled
def plot_prediction_settings(curves: Sequence[SettingCurve]) -> Figure:
    """Draws the effect of the fusion weight and the calibration on a trained model.

    Args:
        curves: Scores along each setting, one panel each.
    """
    width = COLUMN if len(curves) == 1 else PAGE
    figure = Figure(figsize=(width, 2.6), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, curve in zip(panels, curves, strict=True):
        draw_scores(axes, curve.values_X, curve.scores)
        axes.axvline(curve.own, color="grey", lw=1, label="the run's own")
        axes.set_xlabel(wrap(curve.label, width / len(curves) - 0.6))
        axes.grid()
    panels[0].set(ylabel="score (%)", ylim=0)
    lines = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
    shown = {label: line for label, line in lines.items() if not label.startswith("_")}
    spacing = {"handlelength": 1.8, "columnspacing": 1.0, "handletextpad": 0.5}
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown), **spacing
    )
    return hide_overlapping_ticks(figure)


@styled
def plot_class_accuracies(domains: Sequence[ClassAccuracies]) -> Figure:
    """Draws the accuracy of every class, sorted, with another mark for each domain.

    All classes are named if they are few, else the best and the worst ones.
    """
    names = [name for domain in domains for name in domain.names]
    means = np.concatenate([domain.values_nC.mean(axis=0) for domain in domains])
    order = np.argsort(means, kind="stable")
    ordered = [names[index] for index in order]
    is_named = len(names) <= _MANY_CLASSES
    label = "class, sorted by accuracy" if is_named else wrap(_ends(ordered), PAGE - 0.6)
    below = _CLASS_NAME if is_named else LINE * num_lines(label)
    figure, axes = new_axes(PAGE, 2.6 + below)
    ends = np.cumsum([len(domain.names) for domain in domains])[:-1]
    positions = np.split(np.argsort(order), ends)
    for domain, positions_C, style in zip(domains, positions, STYLES, strict=False):
        _draw_classes(axes, domain, positions_C, style)
    if is_named:
        ticks = [shorten(name, _CLASS_NAME) for name in ordered]
        axes.set_xticks(np.arange(len(names)), ticks, rotation=90)
    else:
        axes.set_xticks([])
    axes.set(xlabel=label, ylabel="accuracy among all classes (%)", ylim=(-3, 103))
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=len(domains))
    return figure


def _ends(ordered: Sequence[str]) -> str:
    """The lowest and the highest of many classes, by name."""
    worst, best = ordered[:_NUM_ENDS], ordered[: -_NUM_ENDS - 1 : -1]
    return f"class, sorted by accuracy\nlowest: {', '.join(worst)}\nhighest: {', '.join(best)}"


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
    return plot_histories(steps, scores, stage)


@styled
def plot_histories(steps: Sequence[int], scores: Seeds, stage: str) -> Figure:
    """Draws scores over the training steps.

    Args:
        steps: Steps at which all seeds were evaluated, ascending, (X,).
        scores: Scores of the seeds at each step.
        stage: Evaluated splits, for the axis.
    """
    figure, axes = new_axes(COLUMN, 2.6)
    draw_scores(axes, steps, scores)
    axes.set(xlabel="training step", ylabel=f"score on {stage} (%)", ylim=0)
    figure.legend(loc="outside lower center", ncols=len(scores))
    return hide_overlapping_ticks(figure)


@styled
def plot_losses(steps: Sequence[int], losses: Seeds) -> Figure:
    """Draws the training loss and its terms over the steps, each in a panel with its own scale.

    Args:
        steps: Steps at which all seeds logged them, ascending, (X,).
        losses: Values of the seeds at each step, by name.
    """
    columns = min(_PANELS, len(losses))
    rows = ceil(len(losses) / columns)
    width = COLUMN if columns == 1 else PAGE
    titles = [wrap(name.replace("_", " "), width / columns - 0.5) for name in losses]
    height = 1.5 + LINE * max(map(num_lines, titles))
    figure = Figure(figsize=(width, 0.2 + rows * height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels[len(losses) :]:
        axes.remove()
    for axes, title, values, style in zip(panels, titles, losses.values(), cycle(STYLES)):
        draw_band(axes, steps, values, style, title, scale=1)
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid()
    figure.supxlabel("training step")
    return hide_overlapping_ticks(figure)


def _draw_classes(
    axes: Axes, domain: ClassAccuracies, positions_C: NDArray[np.int64], style: Style
) -> None:
    mean_C, n = 100 * domain.values_nC.mean(axis=0), len(domain.values_nC)
    std_C = 100 * domain.values_nC.std(axis=0, ddof=1) if n > 1 else None
    classes = "1 class" if len(mean_C) == 1 else f"{len(mean_C)} classes"
    label = f"{domain.domain}: {classes}, mean {mean_C.mean():.1f} %"
    axes.errorbar(
        positions_C,
        mean_C,
        std_C,
        fmt=style.mark,
        color=style.colour,
        mec="white",
        mew=0.4,
        lw=0.6,
        label=label,
    )
