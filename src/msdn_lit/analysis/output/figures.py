"""The figures of a report, and the numbers in them.

Letters: n seeds, C classes.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple
from zlib import crc32

import numpy as np
from matplotlib.figure import Figure

from msdn_lit.analysis.classes import readable_names
from msdn_lit.analysis.groups import Group
from msdn_lit.analysis.output import comparison_plots, plots
from msdn_lit.analysis.predictions import Predictions
from msdn_lit.analysis.references import REPORTED
from msdn_lit.metrics.curve import scores_at
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.runs.summary import is_number

NamedFigures = Iterator[tuple[str, Figure]]  # file name without its ending, and figure

_MAX_CURVES = 7
_MIN_VALUES = 3  # of a setting, for a curve
_LAST = "last"
_WEIGHTS = np.linspace(0, 1, 21)


class Context(NamedTuple):
    """Groups with the same benchmark, backbone and protocol, which share their figures.

    Attributes:
        slug: Part of the file names of the figures.
        title: Beginning of the titles of the figures.
        groups: Groups, at least one.
    """

    slug: str
    title: str
    groups: Sequence[Group]


def report_figures(groups: Sequence[Group], class_names: Sequence[str] | None) -> NamedFigures:
    """Draws all figures for which the runs have files.

    All figures but the bars of peaks and the histories show the last step.

    Args:
        groups: Groups, in the order of `group_runs`.
        class_names: Class names by id; None takes the ids.

    Yields:
        File name without its ending, and figure.

    Raises:
        ConfigError: The number of class names is not the number of classes.
    """
    for context in contexts(groups):
        yield from figures_of_context(context)
        for group in context.groups:
            yield from figures_of_group(group, context, class_names)


def contexts(groups: Sequence[Group]) -> Iterator[Context]:
    """Yields the groups that share their figures."""

    def key(group: Group) -> tuple[str, str, str]:
        return group.benchmark, group.features, group.protocol

    for (benchmark, features, protocol), members in groupby(sorted(groups, key=key), key):
        title = f"{benchmark}, {features}, {protocol} protocol"
        yield Context(_slug(benchmark, features, protocol), title, list(members))


def numeric_settings(groups: Sequence[Group]) -> Iterator[tuple[str, list[tuple[float, Group]]]]:
    """Finds groups that differ in one number only, at least three of them.

    Yields:
        Name of the setting, and its values with their groups, ascending.
    """
    names = {name for group in groups for name, value in group.settings.items() if is_number(value)}
    for name in sorted(names):
        points_by_others: dict[str, list[tuple[float, Group]]] = {}
        for group in groups:
            others = {key: value for key, value in group.settings.items() if key != name}
            if is_number(group.settings.get(name)):
                identity = json.dumps(others, sort_keys=True, default=str)
                points_by_others.setdefault(identity, []).append((group.settings[name], group))
        for points in points_by_others.values():
            if len(points) >= _MIN_VALUES:
                yield name, sorted(points, key=lambda point: point[0])


def figures_of_context(context: Context) -> NamedFigures:
    """Draws the figures that compare the groups of a context: bars_*, curves_*, sensitivity_*."""
    slug, title, groups = context
    for kind, evaluations in REPORTED.items():
        values = {
            group.name: {score: _values(group, evaluations[score], score) for score in SCORES}
            for group in groups
            if set(evaluations.values()) <= set(group.evaluations)
        }
        if values:
            label = f"peak on {groups[0].stage}" if kind == "peak" else "last step"
            yield f"bars_{kind}_{slug}", comparison_plots.plot_bars(values, f"{title}, {label}")
    if any(map(_areas, groups)):
        yield f"curves_{slug}", _curves_figure(groups, f"{title}, last step")
    for index, (name, points) in enumerate(numeric_settings(groups)):
        scores = {score: [_values(group, _LAST, score) for _, group in points] for score in SCORES}
        values_of_setting = [value for value, _ in points]
        figure = comparison_plots.plot_sensitivity(
            name, values_of_setting, scores, f"{title}, last step"
        )
        yield f"sensitivity_{slug}_{_slug(name)}_{index}", figure


def figures_of_group(
    group: Group, context: Context, class_names: Sequence[str] | None
) -> NamedFigures:
    """Draws the figures of one group: prediction_*, classes_*, history_*, losses_*."""
    slug, title = f"{context.slug}_{_slug(group.name)}", f"{context.title}\n{group.name}"
    caches = caches_of(group)
    if caches:
        yield f"prediction_{slug}", _prediction_figure(caches, f"{title}, last step")
        names = class_names or group.runs[0].class_names
        yield f"classes_{slug}", _class_figure(caches, f"{title}, last step", names)
    steps, scores = _over_steps([run.history for run in group.runs if run.history])
    if len(steps) > 1:
        scores = {score: scores[score] for score in SCORES}
        yield f"history_{slug}", plots.plot_histories(steps, scores, group.stage, title)
    steps, losses = _over_steps([run.losses for run in group.runs if run.losses])
    if len(steps) > 1:
        terms = sorted(losses, key=lambda name: (name != "loss", name))  # the sum before its terms
        ordered = {term: losses[term] for term in terms}
        yield f"losses_{slug}", plots.plot_losses(steps, ordered, title)


def caches_of(group: Group) -> list[ScoreCache]:
    """Returns the score cache of the last step of each seed that has one."""
    return [run.cache(_LAST) for run in group.runs if _LAST in run.curves]


def _areas(group: Group) -> list[float]:
    return [run.curves[_LAST].ausuc for run in group.runs if _LAST in run.curves]


def _curves_figure(groups: Sequence[Group], title: str) -> Figure:
    """The seen-unseen curves of the groups with the largest areas."""
    cached = [group for group in groups if _areas(group)]
    by_area = sorted(cached, key=lambda group: -float(np.mean(_areas(group))))
    best = {group.name for group in by_area[:_MAX_CURVES]}
    if len(best) < len(cached):
        title += f", the best {len(best)} of {len(cached)} groups"
    lines = []
    for group in cached:
        if group.name in best:
            caches = caches_of(group)
            curves = [cache.curve() for cache in caches]
            calibrations = [cache.calibration for cache in caches]
            lines.append(comparison_plots.CurveLine(group.name, curves, calibrations))
    return comparison_plots.plot_curves(lines, title)


def _over_steps(
    of_seeds: Sequence[Mapping[int, Mapping[str, float]]],
) -> tuple[list[int], dict[str, list[list[float]]]]:
    """The steps that all seeds have, and for each number that all have the values of the seeds."""
    steps = sorted(set.intersection(*map(set, of_seeds))) if of_seeds else []
    if not steps:
        return [], {}
    names = set.intersection(*(set(of_seed[step]) for of_seed in of_seeds for step in steps))
    return steps, {
        name: [[of_seed[step][name] for of_seed in of_seeds] for step in steps] for name in names
    }


def _prediction_figure(caches: Sequence[ScoreCache], title: str) -> Figure:
    curves = [_calibration_curve(caches)]
    if len(caches[0].subnets) == 2:
        curves.insert(0, _fusion_curve(caches))
    return plots.plot_prediction_settings(curves, title)


def _fusion_curve(caches: Sequence[ScoreCache]) -> plots.SettingCurve:
    """Scores over the weight of the first of two sub-nets; the second has the rest."""
    fusion, subnet = caches[0].fusion, caches[0].subnets[0].replace("_", " ")
    tried = [[cache.scores((weight, 1 - weight)) for cache in caches] for weight in _WEIGHTS]
    scores = {
        name: [[float(getattr(of_seed, name)) for of_seed in seeds] for seeds in tried]
        for name in SCORES
    }
    label = rf"weight $\alpha$ of {subnet}"
    return plots.SettingCurve(label, _WEIGHTS, scores, fusion[0] / sum(fusion))


def _calibration_curve(caches: Sequence[ScoreCache]) -> plots.SettingCurve:
    """U, S and H over the calibration; T1 does not depend on it."""
    own, curves = caches[0].calibration, [cache.curve() for cache in caches]
    thresholds = np.concatenate([curve.thresholds_T for curve in curves])
    low, high = np.quantile(thresholds, (0.02, 0.98)).tolist()
    grid = np.linspace(min(low, own), max(high, own), 201)
    read = [scores_at(curve, grid) for curve in curves]
    scores = {
        name: list(np.stack([getattr(of_seed, name) for of_seed in read]).T)
        for name in ("acc_unseen", "acc_seen", "harmonic_mean")
    }
    return plots.SettingCurve(r"calibration $\gamma$", grid, scores, own)


def _class_figure(
    caches: Sequence[ScoreCache], title: str, class_names: Sequence[str] | None
) -> Figure:
    names = readable_names(class_names, caches[0])
    accuracies = [Predictions(cache).accuracies() for cache in caches]
    domains = []
    for domain, ids in (("seen", caches[0].seen), ("unseen", caches[0].unseen)):
        present = np.intersect1d(ids, caches[0].labels_N)
        values_nC = np.array([[of_seed[c] for c in present.tolist()] for of_seed in accuracies])
        present_names = [names[c] for c in present]
        domains.append(plots.ClassAccuracies(domain, present_names, values_nC))
    return plots.plot_class_accuracies(domains, title)


def _values(group: Group, evaluation: str, score: str) -> list[float]:
    return [run.scores[evaluation][score] for run in group.having(evaluation)]


def _slug(*texts: str) -> str:
    """Part of a file name; a checksum of the text follows if characters are replaced or cut."""
    text = "_".join(texts).replace(", ", "_")
    plain = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text)[:60]
    return plain if plain == text else f"{plain}-{crc32(text.encode()):08x}"
