"""The figures of a report, the numbers in them, and their captions.

Letters: n seeds, C classes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from msdn_lit.analysis.classes import readable_names
from msdn_lit.analysis.figures import comparison_plots, plots
from msdn_lit.analysis.figures.captions import ACCURACIES, NamedFigure
from msdn_lit.analysis.groups import Context, Group, contexts, slug
from msdn_lit.analysis.predictions import Predictions
from msdn_lit.analysis.references import REPORTED
from msdn_lit.metrics.curve import scores_at
from msdn_lit.runs.layout import LAST, SCORES
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.runs.summary import is_number

_MAX_CURVES = 7
_MIN_VALUES = 3  # of a setting, for a curve
_WEIGHTS = np.linspace(0, 1, 21)


def report_figures(
    groups: Sequence[Group], class_names: Sequence[str] | None
) -> Iterator[NamedFigure]:
    """Draws all figures for which the runs have files.

    All figures but the bars of peaks and the histories show the last step.

    Args:
        groups: Groups, in the order of `group_runs`.
        class_names: Class names by id; None takes the ids.

    Raises:
        ConfigError: The number of class names is not the number of classes.
    """
    for context in contexts(groups):
        yield from figures_of_context(context)
        for group in context.groups:
            yield from figures_of_group(group, context, class_names)


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


def figures_of_context(context: Context) -> Iterator[NamedFigure]:
    """Draws the figures that compare the groups of a context: bars_*, curves_*, sensitivity_*."""
    groups = context.groups
    for kind, evaluations in REPORTED.items():
        having = [group for group in groups if set(evaluations.values()) <= set(group.evaluations)]
        values = {
            group.name: {score: _values(group, evaluations[score], score) for score in SCORES}
            for group in having
        }
        if values:
            label = "at the last step" if kind == "last" else f"at the peak on {groups[0].stage}"
            text = f"T1, U, S and H {label}."
            caption = _caption(context, having, text, _bars(having), ACCURACIES)
            figure = comparison_plots.plot_bars(values)
            yield NamedFigure(f"bars_{kind}_{context.slug}", figure, caption)
    if any(group.areas(LAST) for group in groups):
        yield _curves_figure(context)
    for index, (name, points) in enumerate(numeric_settings(groups)):
        drawn = [group for _, group in points]
        scores = {score: [_values(group, LAST, score) for group in drawn] for score in SCORES}
        figure = comparison_plots.plot_sensitivity(name, [value for value, _ in points], scores)
        text = f"Scores at the last step over the values of {name}."
        caption = _caption(context, drawn, text, _band(drawn), ACCURACIES)
        yield NamedFigure(f"sensitivity_{context.slug}_{slug(name)}_{index}", figure, caption)


def figures_of_group(
    group: Group, context: Context, class_names: Sequence[str] | None
) -> Iterator[NamedFigure]:
    """Draws the figures of one group: prediction_*, classes_*, history_*, losses_*."""

    def named(kind: str, figure: Figure, *sentences: str) -> NamedFigure:
        name = f"{kind}_{context.slug}_{slug(group.name)}"
        return NamedFigure(name, figure, _caption(context, [group], *sentences))

    caches, band = group.caches(LAST), _band([group])
    if caches:
        text = "Scores of the model of the last step as one setting of its prediction varies."
        yield named("prediction", _prediction_figure(caches), text, band, ACCURACIES)
        names = class_names or group.runs[0].class_names
        text = "Accuracy of every class among all classes at the last step, ascending."
        line = band.replace("Band", "Line")
        yield named("classes", _class_figure(caches, names), text, line)
    steps, scores = _over_steps([run.history for run in group.runs if run.history])
    if len(steps) > 1:
        scores = {score: scores[score] for score in SCORES}
        figure = plots.plot_histories(steps, scores, group.stage)
        yield named("history", figure, "Scores over the training.", band, ACCURACIES)
    steps, losses = _over_steps([run.losses for run in group.runs if run.losses])
    if len(steps) > 1:
        terms = sorted(losses, key=lambda name: (name != "loss", name))  # the sum before its terms
        figure = plots.plot_losses(steps, {term: losses[term] for term in terms})
        text = "Training loss and its terms, each with a scale of its own."
        yield named("losses", figure, text, band)


def _curves_figure(context: Context) -> NamedFigure:
    """The seen-unseen curves of the groups with the largest areas."""
    cached = [group for group in context.groups if group.areas(LAST)]
    by_area = sorted(cached, key=lambda group: -float(np.mean(group.areas(LAST))))
    best = {group.name for group in by_area[:_MAX_CURVES]}
    drawn = [group for group in cached if group.name in best]
    lines = []
    for group in drawn:
        caches = group.caches(LAST)
        curves = [cache.curve() for cache in caches]
        calibrations = [cache.calibration for cache in caches]
        lines.append(comparison_plots.CurveLine(group.name, curves, calibrations))
    text = (
        "Accuracy of the seen over that of the unseen classes as the calibration varies, of the "
        "model of the last step. AUSUC: area under the curve. Mark: the run's own calibration."
    )
    few = f"The best {len(drawn)} of {len(cached)} groups." if len(drawn) < len(cached) else ""
    caption = _caption(context, drawn, text, _band(drawn), few)
    return NamedFigure(f"curves_{context.slug}", comparison_plots.plot_curves(lines), caption)


def _several_seeds(groups: Sequence[Group]) -> bool:
    return any(len(group.runs) > 1 for group in groups)


def _bars(groups: Sequence[Group]) -> str:
    if not _several_seeds(groups):
        return ""
    return "Bar: mean over the seeds; dots: single seeds; line: 95 % t interval of the mean."


def _band(groups: Sequence[Group]) -> str:
    return "Band: ± 1 standard deviation of the seeds." if _several_seeds(groups) else ""


def _caption(context: Context, groups: Sequence[Group], *sentences: str) -> str:
    """Sentences, followed by the runs: benchmark, backbone, protocol, groups, splits, seeds."""
    numbers = {len(group.runs) for group in groups}
    if len(numbers) == 1:
        n = f"n = {numbers.pop()}" + (" in each group" if len(groups) > 1 else "")
    else:
        n = "n = " + ", ".join(f"{len(group.runs)} ({group.name})" for group in groups)
    name = f", {groups[0].name}" if len(groups) == 1 else ""
    runs = f"{context.title}{name}; evaluated on {groups[0].stage}; seeds: {n}."
    return " ".join([*filter(None, sentences), runs])


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


def _prediction_figure(caches: Sequence[ScoreCache]) -> Figure:
    curves = [_calibration_curve(caches)]
    if len(caches[0].subnets) == 2:
        curves.insert(0, _fusion_curve(caches))
    return plots.plot_prediction_settings(curves)


def _fusion_curve(caches: Sequence[ScoreCache]) -> plots.SettingCurve:
    """Scores over the weight of the first of two sub-nets; the second has the rest."""
    fusion, subnet = caches[0].fusion, caches[0].subnets[0].replace("_", " ")
    tried = [[cache.scores((weight, 1 - weight)) for cache in caches] for weight in _WEIGHTS]
    scores = {
        name: [[float(getattr(of_seed, name)) for of_seed in seeds] for seeds in tried]
        for name in SCORES
    }
    return plots.SettingCurve(f"weight of {subnet}", _WEIGHTS, scores, fusion[0] / sum(fusion))


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
    return plots.SettingCurve("calibration", grid, scores, own)


def _class_figure(caches: Sequence[ScoreCache], class_names: Sequence[str] | None) -> Figure:
    names = readable_names(class_names, caches[0])
    accuracies = [Predictions(cache).accuracies() for cache in caches]
    domains = []
    for domain, ids in (("seen", caches[0].seen), ("unseen", caches[0].unseen)):
        present = np.intersect1d(ids, caches[0].labels_N)
        values_nC = np.array([[of_seed[c] for c in present.tolist()] for of_seed in accuracies])
        present_names = [names[c] for c in present]
        domains.append(plots.ClassAccuracies(domain, present_names, values_nC))
    return plots.plot_class_accuracies(domains)


def _values(group: Group, evaluation: str, score: str) -> list[float]:
    return [run.scores[evaluation][score] for run in group.having(evaluation)]
