"""Which classes go wrong, and for what they are taken; from score caches of the same images, one for each seed.

Predictions are among all classes, with the run's own fusion and calibration. Letters: N images, C classes.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.analysis.predictions import Predictions
from msdn_lit.errors import ConfigError
from msdn_lit.metrics.functional import harmonic_mean
from msdn_lit.runs.score_cache import ScoreCache

NUM_PAIRS = 20
_MAX_POINTS = 200  # of a curve; W&B draws no more than 10,000 rows of all runs together


def readable_names(names: Sequence[str] | None, cache: ScoreCache) -> list[str]:
    """Names by class id without the benchmark's spelling: "002.Laysan_Albatross" -> "Laysan Albatross".

    Args:
        names: As the benchmark has them; None takes the ids.
        cache: Of an evaluation of the same classes.

    Raises:
        ConfigError: The names are not as many as the classes.
    """
    C = cache.logits_ONC.shape[2]
    if names is None:
        return [str(c) for c in range(C)]
    if len(names) != C:
        raise ConfigError("The class names do not fit", expected=f"{C} classes", found=len(names))
    return [short_name(name) for name in names]


def short_name(class_name: str) -> str:
    """One name, without its number."""
    return re.sub(r"^\d+\.", "", class_name).replace("_", " ")


def class_table(caches: Sequence[ScoreCache], names: Sequence[str]) -> Table:
    """Every class that has images, the worst first.

    Args:
        caches: One for each seed, of the same images.
        names: By class id.
    """
    images, sides = np.bincount(caches[0].labels_N), _sides(caches[0])
    accuracies = [Predictions(cache).accuracies() for cache in caches]
    values = {c: np.array([of_seed[c] for of_seed in accuracies]) for c in sorted(accuracies[0])}
    rows: list[list[Cell]] = []
    for c, values_n in sorted(values.items(), key=lambda item: float(item[1].mean())):
        std = Share(values_n.std(ddof=1)) if len(caches) > 1 else None
        rows.append([names[c], sides[c], int(images[c]), Share(values_n.mean()), std])
    header = ["class", "side", "images", "accuracy", "std over seeds"]
    return Table(
        "classes",
        "Accuracy of every class",
        header,
        rows,
        ["Percent, among all classes; the worst first."],
    )


def confusion_table(
    caches: Sequence[ScoreCache], names: Sequence[str], num_pairs: int = NUM_PAIRS
) -> Table:
    """The pairs of class and wrong prediction with the most images, counted over all seeds; arguments as above."""
    images, sides = np.bincount(caches[0].labels_N), _sides(caches[0])
    judged = [Predictions(cache) for cache in caches]
    counts: Counter[tuple[int, int]] = Counter()
    for evaluation in judged:
        counts.update({(label, guess): count for label, guess, count in evaluation.confused()})
    rows: list[list[Cell]] = []
    for (label, guess), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[
        :num_pairs
    ]:
        share = Share(count / len(caches) / images[label])
        rows.append(
            [names[label], sides[label], names[guess], sides[guess], share, int(images[label])]
        )
    seen_lost, unseen_lost = 100 * np.mean(
        [evaluation.domain_confusion_rates() for evaluation in judged], axis=0
    )
    notes = [
        "Share: of the images of the class, in percent.",
        f"Across the border: {unseen_lost:.1f} % of the unseen classes' images are taken for a seen class, "
        f"{seen_lost:.1f} % of the seen classes' for an unseen one.",
    ]
    header = ["class", "side", "taken for", "its side", "share", "images"]
    return Table("confusions", "Most confused pairs", header, rows, notes)


def curve_points(cache: ScoreCache) -> list[list[float]]:
    """Rows of U, S and H along the seen-unseen curve, as fractions; both ends, and at most 200."""
    curve = cache.curve()
    P = len(curve.acc_seen_P)
    some = torch.linspace(0, P - 1, min(P, _MAX_POINTS)).round().long()
    unseen, seen = curve.acc_unseen_P[some], curve.acc_seen_P[some]
    rows: list[list[float]] = torch.stack(
        [unseen, seen, harmonic_mean(unseen, seen)], dim=1
    ).tolist()
    return rows


def _sides(cache: ScoreCache) -> list[str]:
    """By class id; "" of a class that is no candidate."""
    sides = [""] * cache.logits_ONC.shape[2]
    for side, ids in (("seen", cache.seen), ("unseen", cache.unseen)):
        for c in ids.tolist():
            sides[c] = side
    return sides
