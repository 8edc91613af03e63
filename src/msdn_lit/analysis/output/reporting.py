"""How the way of reporting changes H: the same runs, reported in the ways of the literature."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from msdn_lit.analysis.groups import CONTEXT, Group
from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.analysis.selection import choose
from msdn_lit.analysis.settings import Settings, is_below
from msdn_lit.analysis.statistics import summarise
from msdn_lit.metrics.curve import (
    CurveScores,
    SeenUnseenCurve,
    best_point,
    curve_of_thresholds,
    scores_at,
)
from msdn_lit.runs.layout import LAST
from msdn_lit.runs.reader import Run
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.runs.summary import is_number

# Settings in which a run of protocol=validation differs from its run on the test splits.
_OF_PROTOCOL = (
    *("protocol", "passes", "prediction.calibration"),
    *("trainer.max_steps", "trainer.val_check_interval"),
)
_PEAK = "peak_harmonic_mean"
_NOTES = (
    "U, S, H: last step, at the calibration that validation classes chose (runs of "
    "protocol=validation with the same settings, among these runs; those of the same length if "
    "there are several), or else at the run's own calibration.",
    "What would be added to H, each alone: the step with the peak H on test, at the run's own "
    "calibration; the oracle calibration of the test images; accuracy per image instead of per "
    "class; the best seed instead of the mean. All four: the best seed at its peak step, with the "
    "calibration that is best for the accuracy per image. None of these is a result.",
)


class _Ways(NamedTuple):
    """One run, reported in several ways; fractions.

    Attributes:
        scores: U, S and H at the last step.
        peak: H of the peak on test less H of the last step, at the run's own calibration.
        oracle: H at the oracle calibration, less H.
        per_image: H of accuracies per image, less H.
        highest: H per image at the peak step with the calibration that is best for it.
    """

    scores: CurveScores
    peak: float | None
    oracle: float
    per_image: float
    highest: float | None


def reporting_table(groups: Sequence[Group]) -> Table:
    """One row for each group on the test splits that has its score caches."""
    rows = [row for group in groups if group.stage == "test" for row in _rows(group, groups)]
    header = [*CONTEXT, "protocol", "calibration", "chosen by", "U", "S", "H", "+ peak step"]
    header += ["+ oracle calibration", "+ per image", "+ best seed", "all four", "n"]
    return Table("reporting", "How reporting changes H", header, rows, _NOTES)


def validated_calibration(group: Group, groups: Sequence[Group]) -> float | None:
    """Returns the calibration with the highest mean H on validation classes, at the last step.

    Args:
        group: Group on the test splits.
        groups: Groups among which its runs of protocol=validation may be.

    Returns:
        The calibration; None if there are no such runs with score caches of one step, or several
        groups of them, none of which is as long. Of several that are as long, the one with the most
        seeds counts: they differ in nothing that changes the training.
    """
    found = [
        other
        for other in groups
        if other.stage == "val"
        and (other.benchmark, other.features) == (group.benchmark, group.features)
        and _essential(other) == _essential(group)
        and any(LAST in run.curves for run in other.runs)
    ]
    if len(found) > 1:
        found = [other for other in found if _is_as_long(other, group)]
    if not found:
        return None
    chosen = max(found, key=lambda other: (len(other.runs), other.name))
    caches = chosen.caches(LAST)
    if len({cache.step for cache in caches}) > 1:
        return None
    return choose([[cache] for cache in caches], [caches[0].fusion]).calibration


def _is_as_long(one: Group, other: Group) -> bool:
    """Whether two groups train as many steps, or as many passes over their images, to a step."""
    steps = [group.settings.get("trainer.max_steps") for group in (one, other)]
    images = [group.runs[0].result["data"].get("num_train") for group in (one, other)]
    if steps[0] == steps[1] or not all(map(is_number, [*steps, *images])):
        return bool(steps[0] == steps[1])
    return bool(abs(steps[0] - steps[1] * images[0] / images[1]) <= 1)


def _essential(group: Group) -> Settings:
    settings = group.settings.items()
    return {name: value for name, value in settings if not is_below(name, _OF_PROTOCOL)}


def _rows(group: Group, groups: Sequence[Group]) -> Iterator[list[Cell]]:
    runs = [run for run in group.runs if LAST in run.curves]
    if not runs:
        return
    chosen = validated_calibration(group, groups)
    ways = [_ways(run, chosen) for run in runs]
    fields = ("acc_unseen", "acc_seen", "harmonic_mean")
    scores = [summarise([getattr(way.scores, field) for way in ways]) for field in fields]
    harmonic_means = [way.scores.harmonic_mean for way in ways]
    peaks = [way.peak for way in ways if way.peak is not None]
    highest = [way.highest for way in ways if way.highest is not None]
    cells: list[Cell] = [
        summarise(peaks) if peaks else None,
        summarise([way.oracle for way in ways]),
        summarise([way.per_image for way in ways]),
        Share(max(harmonic_means) - np.mean(harmonic_means)) if len(ways) > 1 else None,
        Share(max(highest)) if highest else None,
    ]
    calibration = float(np.mean([way.scores.calibration for way in ways]))
    of = "the run" if chosen is None else "validation"
    yield [*group.context, group.protocol, calibration, of, *scores, *cells, len(ways)]


def _ways(run: Run, calibration: float | None) -> _Ways:
    last = run.cache(LAST)
    curve, curve_per_image = _curves(last)
    calibration = last.calibration if calibration is None else calibration
    scores = scores_at(curve, calibration)
    peak = highest = None
    if _PEAK in run.curves:
        peak = run.scores[_PEAK]["harmonic_mean"] - run.scores[LAST]["harmonic_mean"]
        highest = best_point(_curves(run.cache(_PEAK))[1]).harmonic_mean
    per_image = scores_at(curve_per_image, calibration)
    H = scores.harmonic_mean
    oracle = best_point(curve).harmonic_mean - H
    return _Ways(scores, peak, oracle, per_image.harmonic_mean - H, highest)


def _curves(cache: ScoreCache) -> tuple[SeenUnseenCurve, SeenUnseenCurve]:
    """Returns the curves of accuracies per class and per image.

    For accuracies per image, all seen classes count as one, and all unseen ones.
    """
    thresholds_N, is_right_N = cache.thresholds()
    is_unseen_N = np.isin(cache.labels_N, cache.unseen)
    return (
        curve_of_thresholds(thresholds_N, is_right_N, cache.labels_N, cache.seen, cache.unseen),
        curve_of_thresholds(thresholds_N, is_right_N, is_unseen_N, [False], [True]),
    )
