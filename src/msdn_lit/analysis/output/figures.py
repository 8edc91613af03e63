"""Which figures a report has, and the numbers in them."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from matplotlib.figure import Figure

from msdn_lit.analysis.classes import readable_names
from msdn_lit.analysis.groups import Group
from msdn_lit.analysis.output import plots
from msdn_lit.analysis.output.plots import ClassAccuracies, CurveLine
from msdn_lit.analysis.predictions import Predictions
from msdn_lit.analysis.references import REPORTED
from msdn_lit.metrics.curve import scores_at
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.reader import is_number
from msdn_lit.runs.score_cache import ScoreCache

_MAX_CURVES = 7
_MIN_VALUES = 3  # of a setting, for a curve
_LAST = "last"
_WEIGHTS = np.linspace(0, 1, 21)


class Place(NamedTuple):
    """Benchmark, backbone and protocol.

    Attributes:
        slug: Part of the names of its figures.
        title: Begins the titles of its figures.
        groups: At least one.
    """

    slug: str
    title: str
    groups: Sequence[Group]


def report_figures(
    groups: Sequence[Group], class_names: Sequence[str] | None
) -> Iterator[tuple[str, Figure]]:
    """Draws all that the runs' files give. All but the peaks' bars and the history shows the last step.

    Args:
        groups: Ordered, as by `group_runs`.
        class_names: By class id; None takes the ids.

    Yields:
        Name of the file without its ending, and figure.

    Raises:
        ConfigError: The class names are not as many as the classes.
    """
    for place in places_of(groups):
        yield from figures_of_place(place)
        for group in place.groups:
            yield from figures_of_group(group, place, class_names)


def places_of(groups: Sequence[Group]) -> Iterator[Place]:
    """The groups that share their figures."""

    def key(group: Group) -> tuple[str, str, str]:
        return group.benchmark, group.features, group.protocol

    for (benchmark, features, protocol), members in groupby(sorted(groups, key=key), key):
        title = f"{benchmark}, {features}, {protocol} protocol"
        yield Place(_slug(benchmark, features, protocol), title, list(members))


def numeric_settings(groups: Sequence[Group]) -> Iterator[tuple[str, list[tuple[float, Group]]]]:
    """Finds groups that differ in one number alone, three of them at least: the number's name and its values."""
    names = {name for group in groups for name, value in group.settings.items() if is_number(value)}
    for name in sorted(names):
        alike: dict[str, list[tuple[float, Group]]] = {}
        for group in groups:
            others = {key: value for key, value in group.settings.items() if key != name}
            if is_number(group.settings.get(name)):
                point = (group.settings[name], group)
                alike.setdefault(json.dumps(others, sort_keys=True, default=str), []).append(point)
        for points in alike.values():
            if len(points) >= _MIN_VALUES:
                yield name, sorted(points, key=lambda point: point[0])


def figures_of_place(place: Place) -> Iterator[tuple[str, Figure]]:
    """What compares the groups of one place: bars_*, curves_*, sensitivity_*."""
    where, title, groups = place
    for way, evaluations in REPORTED.items():
        values = {
            group.name: {score: _values(group, evaluations[score], score) for score in SCORES}
            for group in groups
            if set(evaluations.values()) <= set(group.evaluations)
        }
        if values:
            label = f"peak on {groups[0].stage}" if way == "peak" else "last step"
            yield f"bars_{way}_{where}", plots.plot_bars(values, f"{title}, {label}")
    areas = {
        group.name: [run.curves[_LAST].ausuc for run in group.runs if _LAST in run.curves]
        for group in groups
    }
    cached = [group for group in groups if areas[group.name]]
    best = sorted((group.name for group in cached), key=lambda name: -float(np.mean(areas[name])))[
        :_MAX_CURVES
    ]
    if best:
        some = f", the best {len(best)} of {len(cached)} groups" if len(best) < len(cached) else ""
        lines = [_curve_line(group) for group in cached if group.name in best]
        yield f"curves_{where}", plots.plot_curves(lines, f"{title}, last step{some}")
    for index, (name, points) in enumerate(numeric_settings(groups)):
        scores = {score: [_values(group, _LAST, score) for _, group in points] for score in SCORES}
        figure = plots.plot_sensitivity(
            name, [value for value, _ in points], scores, f"{title}, last step"
        )
        yield f"sensitivity_{where}_{_slug(name)}_{index}", figure


def figures_of_group(
    group: Group, place: Place, class_names: Sequence[str] | None
) -> Iterator[tuple[str, Figure]]:
    """What shows one group: prediction_*, classes_*, history_*, losses_*."""
    where, title = f"{place.slug}_{_slug(group.name)}", f"{place.title}\n{group.name}"
    caches = caches_of(group)
    if caches:
        yield f"prediction_{where}", _prediction_figure(caches, f"{title}, last step")
        yield (
            f"classes_{where}",
            _class_figure(caches, f"{title}, last step", class_names or group.runs[0].class_names),
        )
    histories = [run.history for run in group.runs if run.history]
    steps = sorted(set.intersection(*map(set, histories))) if histories else []
    if len(steps) > 1:
        scores = {
            score: [[history[step][score] for history in histories] for step in steps]
            for score in SCORES
        }
        yield f"history_{where}", plots.plot_histories(steps, scores, group.stage, title)
    logged = [run.losses for run in group.runs if run.losses]
    steps = sorted(set.intersection(*map(set, logged))) if logged else []
    if len(steps) > 1:
        found = set.intersection(*(set(losses[step]) for losses in logged for step in steps))
        terms = sorted(found, key=lambda name: (name != "loss", name))  # the whole before its parts
        losses = {
            term: [[losses[step][term] for losses in logged] for step in steps] for term in terms
        }
        yield f"losses_{where}", plots.plot_losses(steps, losses, title)


def caches_of(group: Group) -> list[ScoreCache]:
    """The last step's, of each seed that has it."""
    return [run.cache(_LAST) for run in group.runs if _LAST in run.curves]


def _curve_line(group: Group) -> CurveLine:
    caches = caches_of(group)
    return CurveLine(
        group.name, [cache.curve() for cache in caches], [cache.calibration for cache in caches]
    )


def _prediction_figure(caches: Sequence[ScoreCache], title: str) -> Figure:
    own, curves, fusion = caches[0], [cache.curve() for cache in caches], None
    if len(own.subnets) == 2:
        tried = [[cache.scores((weight, 1 - weight)) for cache in caches] for weight in _WEIGHTS]
        scores = {
            name: [[float(getattr(s, name)) for s in seeds] for seeds in tried] for name in SCORES
        }
        fusion = (
            own.subnets[0].replace("_", " "),
            _WEIGHTS,
            scores,
            own.fusion[0] / sum(own.fusion),
        )
    thresholds = torch.cat([curve.thresholds_T for curve in curves])
    low, high = (float(thresholds.quantile(part)) for part in (0.02, 0.98))
    grid = np.linspace(min(low, own.calibration), max(high, own.calibration), 201)
    read = [scores_at(curve, torch.from_numpy(grid)) for curve in curves]
    scores = {
        name: list(torch.stack([getattr(r, name) for r in read]).numpy().T)
        for name in list(SCORES)[1:]
    }
    return plots.plot_prediction_settings(fusion, (grid, scores, own.calibration), title)


def _class_figure(
    caches: Sequence[ScoreCache], title: str, class_names: Sequence[str] | None
) -> Figure:
    names = readable_names(class_names, caches[0])
    accuracies = [Predictions(cache).accuracies() for cache in caches]
    sides = []
    for label, ids in (("seen", caches[0].seen), ("unseen", caches[0].unseen)):
        present = np.intersect1d(ids, caches[0].labels_N)
        values_nC = np.array([[found[c] for c in present.tolist()] for found in accuracies])
        sides.append(ClassAccuracies(label, [names[c] for c in present], values_nC))
    return plots.plot_class_accuracies(sides, title)


def _values(group: Group, evaluation: str, score: str) -> list[float]:
    return [run.scores[evaluation][score] for run in group.having(evaluation)]


def _slug(*texts: str) -> str:
    """A part of a file's name; what had to be changed or cut stays apart by a number made of all of it."""
    text = "_".join(texts).replace(", ", "_")
    plain = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text)[:60]
    return plain if plain == text else f"{plain}-{crc32(text.encode()):08x}"
