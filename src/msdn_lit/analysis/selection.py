"""Chooses settings on validation scores: the training step, the fusion weights and the calibration.

All three are computed from the score caches of runs under protocol=validation, without training.

Letters: G calibrations, T thresholds.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from msdn_lit.metrics.arrays import Floats
from msdn_lit.metrics.curve import SeenUnseenCurve, scores_at
from msdn_lit.runs.score_cache import ScoreCache

NUM_CALIBRATIONS = 400


class Choice(NamedTuple):
    """Settings and their mean scores over the seeds on the validation classes, as fractions."""

    step: int
    fusion: tuple[float, ...]
    calibration: float
    acc_unseen: float
    acc_seen: float
    harmonic_mean: float


def choose(runs: Sequence[Sequence[ScoreCache]], fusions: Sequence[tuple[float, ...]]) -> Choice:
    """Returns the step, fusion and calibration with the highest mean H.

    Args:
        runs: Score caches of the evaluations of each seed. Only steps that all seeds have count.
        fusions: Candidate weights, each a tuple over the sub-nets that sums to one.
    """
    caches_by_step = [{cache.step: cache for cache in run} for run in runs]
    steps = sorted(set.intersection(*(set(caches) for caches in caches_by_step)))
    choices = (
        _best_calibration([caches[step] for caches in caches_by_step], fusion)
        for step in steps
        for fusion in fusions
    )
    return max(choices, key=lambda choice: choice.harmonic_mean)


def fusion_grid(num_subnets: int, intervals: int) -> Iterator[tuple[float, ...]]:
    """Yields all weights that are multiples of 1 / intervals and sum to one."""
    for parts in itertools.product(range(intervals + 1), repeat=num_subnets):
        if sum(parts) == intervals:
            yield tuple(part / intervals for part in parts)


def _best_calibration(caches: Sequence[ScoreCache], fusion: tuple[float, ...]) -> Choice:
    """The calibration with the highest mean H over the seeds, for one step and fusion."""
    curves = [cache.curve(fusion) for cache in caches]
    calibrations_G = _calibrations(curves)
    scores = [scores_at(curve, calibrations_G) for curve in curves]
    unseen_G, seen_G, harmonic_G = (
        np.mean([getattr(score, name) for score in scores], axis=0)
        for name in ("acc_unseen", "acc_seen", "harmonic_mean")
    )
    best = int(harmonic_G.argmax())
    values = [float(v_G[best]) for v_G in (calibrations_G, unseen_G, seen_G, harmonic_G)]
    return Choice(caches[0].step, fusion, *values)


def _calibrations(curves: Sequence[SeenUnseenCurve]) -> Floats:
    """Quantiles of the thresholds of all seeds, evenly spaced, (G,)."""
    thresholds_T = np.concatenate([curve.thresholds_T for curve in curves])
    calibrations_G: Floats = np.quantile(thresholds_T, np.linspace(0, 1, NUM_CALIBRATIONS))
    return calibrations_G
