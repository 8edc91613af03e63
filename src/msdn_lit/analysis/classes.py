"""Accuracy of each class, and the most frequent confusions, from the predictions of each seed.

Letters: C classes, P pieces of the seen-unseen curve, n seeds.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.analysis.predictions import Predictions
from msdn_lit.errors import ConfigError
from msdn_lit.metrics.arrays import harmonic_mean
from msdn_lit.runs.score_cache import ScoreCache

NUM_PAIRS = 20
_MAX_POINTS = 200  # of a curve; W&B shows at most 10,000 rows of all runs together


def readable_names(names: Sequence[str] | None, cache: ScoreCache) -> list[str]:
    """Returns class names by id without the benchmark's spelling.

    Args:
        names: Names of the benchmark, e.g. "002.Laysan_Albatross"; None takes the ids.
        cache: Score cache of the same classes.

    Raises:
        ConfigError: The number of names is not the number of classes.
    """
    C = cache.logits_ONC.shape[2]
    if names is None:
        return [str(c) for c in range(C)]
    if len(names) != C:
        raise ConfigError("The class names do not fit", expected=f"{C} classes", found=len(names))
    return [short_name(name) for name in names]


def short_name(class_name: str) -> str:
    """Returns a name without its number: "002.Laysan_Albatross" -> "Laysan Albatross"."""
    return re.sub(r"^\d+\.", "", class_name).replace("_", " ")


def class_table(seeds: Sequence[Predictions], names: Sequence[str]) -> Table:
    """One row for each class that has images, the worst class first.

    Args:
        seeds: Predictions of each seed for the same images.
        names: Class names by id.
    """
    images, domains = np.bincount(seeds[0].cache.labels_N), _domains(seeds[0].cache)
    accuracies = [of_seed.accuracies() for of_seed in seeds]
    values = {c: np.array([of_seed[c] for of_seed in accuracies]) for c in sorted(accuracies[0])}
    rows: list[list[Cell]] = []
    for c, values_n in sorted(values.items(), key=lambda item: float(item[1].mean())):
        std = Share(values_n.std(ddof=1)) if len(seeds) > 1 else None
        rows.append([names[c], domains[c], int(images[c]), Share(values_n.mean()), std])
    header = ["class", "domain", "images", "accuracy", "std over seeds"]
    notes = ["Percent, among all classes; the worst class first."]
    return Table("classes", "Accuracy of every class", header, rows, notes)


def confusion_table(
    seeds: Sequence[Predictions], names: Sequence[str], num_pairs: int = NUM_PAIRS
) -> Table:
    """The pairs of class and wrong prediction with the most images, counted over all seeds.

    Args:
        seeds: Predictions of each seed for the same images.
        names: Class names by id.
        num_pairs: Number of rows.
    """
    images, domains = np.bincount(seeds[0].cache.labels_N), _domains(seeds[0].cache)
    counts: Counter[tuple[int, int]] = Counter()
    for of_seed in seeds:
        counts.update({(label, predicted): count for label, predicted, count in of_seed.confused()})
    most_frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:num_pairs]
    rows: list[list[Cell]] = []
    for (label, predicted), count in most_frequent:
        share = Share(count / len(seeds) / images[label])
        classes = [names[label], domains[label], names[predicted], domains[predicted]]
        rows.append([*classes, share, int(images[label])])
    rates = [of_seed.domain_confusion_rates() for of_seed in seeds]
    seen_as_unseen, unseen_as_seen = 100 * np.mean(rates, axis=0)
    notes = [
        "Share: percent of the images of the class.",
        f"Between seen and unseen: {unseen_as_seen:.1f} % of the unseen classes' images are "
        f"predicted as a seen class, {seen_as_unseen:.1f} % of the seen classes' as an unseen one.",
    ]
    header = ["class", "domain", "predicted", "its domain", "share", "images"]
    return Table("confusions", "Most confused pairs", header, rows, notes)


def curve_points(cache: ScoreCache) -> list[list[float]]:
    """Returns at most 200 points U, S and H of the seen-unseen curve, with both ends; fractions."""
    curve = cache.curve()
    P = len(curve.acc_seen_P)
    some = np.linspace(0, P - 1, min(P, _MAX_POINTS)).round().astype(int)
    unseen, seen = curve.acc_unseen_P[some], curve.acc_seen_P[some]
    points = np.stack([unseen, seen, harmonic_mean(unseen, seen)], axis=1)
    rows: list[list[float]] = points.tolist()
    return rows


def _domains(cache: ScoreCache) -> list[str]:
    """Domain of each class by id; "" for a class that is no candidate."""
    domains = [""] * cache.logits_ONC.shape[2]
    for domain, ids in (("seen", cache.seen), ("unseen", cache.unseen)):
        for c in ids.tolist():
            domains[c] = domain
    return domains
