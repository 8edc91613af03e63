"""Which classes go wrong, and for what they are taken; from score caches of the same images, one for each seed.

Predictions are among all classes, with the run's own fusion and calibration. Letters: N images, C classes.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.analysis.formats import Cell, Share, Table
from msdn_lit.analysis.scores import ScoreCache
from msdn_lit.errors import ConfigError
from msdn_lit.metrics.confusion import confusion_counts, domain_confusion
from msdn_lit.metrics.functional import harmonic_mean, predict

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
    C = cache.logits_SNC.shape[2]
    if names is None:
        return [str(c) for c in range(C)]
    if len(names) != C:
        raise ConfigError("The class names do not fit", expected=f"{C} classes", found=len(names))
    return [short_name(name) for name in names]


def short_name(class_name: str) -> str:
    """One name, without its number."""
    return re.sub(r"^\d+\.", "", class_name).replace("_", " ")


def predictions(cache: ScoreCache) -> Tensor:
    """Predicted class ids, (N,)."""
    candidates = torch.from_numpy(np.concatenate([cache.seen, cache.unseen]))
    return predict(cache.fused(calibration=cache.calibration), candidates)


def class_accuracies(cache: ScoreCache, classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Accuracies of the given classes, NaN where one has no image."""
    counts_CC = _counts(cache).double()
    accuracies_C: NDArray[np.float64] = (counts_CC.diagonal() / counts_CC.sum(dim=1)).numpy()
    return accuracies_C[classes]


def class_table(caches: Sequence[ScoreCache], names: Sequence[str]) -> Table:
    """Every class that has images, the worst first.

    Args:
        caches: One for each seed, of the same images.
        names: By class id.
    """
    classes = np.unique(caches[0].labels_N)
    accuracies_nC = np.array([class_accuracies(cache, classes) for cache in caches])
    images, sides = np.bincount(caches[0].labels_N), _sides(caches[0])
    rows: list[list[Cell]] = []
    for index in np.argsort(accuracies_nC.mean(axis=0), kind="stable"):
        values_n, c = accuracies_nC[:, index], int(classes[index])
        std = Share(values_n.std(ddof=1)) if len(caches) > 1 else None
        rows.append([names[c], sides[c], int(images[c]), Share(values_n.mean()), std])
    header = ["class", "side", "images", "accuracy", "std over seeds"]
    return Table("classes", "Accuracy of every class", header, rows, ["Percent, among all classes; the worst first."])


def confusion_table(caches: Sequence[ScoreCache], names: Sequence[str], num_pairs: int = NUM_PAIRS) -> Table:
    """The pairs of class and wrong prediction with the most images, counted over all seeds; arguments as above."""
    counts_CC = torch.stack([_counts(cache) for cache in caches]).sum(dim=0)
    totals_C = counts_CC.sum(dim=1)
    wrong_CC = counts_CC.masked_fill(torch.eye(len(counts_CC), dtype=torch.bool), 0).flatten()
    order = torch.argsort(wrong_CC, descending=True, stable=True)[:num_pairs]
    rows: list[list[Cell]] = []
    sides = _sides(caches[0])
    for pair in order[wrong_CC[order] > 0].tolist():
        truth, guess = divmod(pair, len(counts_CC))
        images = int(totals_C[truth]) // len(caches)
        share = Share(wrong_CC[pair] / totals_C[truth])
        rows.append([names[truth], sides[truth], names[guess], sides[guess], share, images])
    header = ["class", "side", "taken for", "its side", "share", "images"]
    notes = ["Share: of the images of the class, in percent.", _across_the_border(caches)]
    return Table("confusions", "Most confused pairs", header, rows, notes)


def curve_points(cache: ScoreCache) -> list[list[float]]:
    """Rows of U, S and H along the seen-unseen curve, as fractions; both ends, and at most 200."""
    curve = cache.curve()
    P = len(curve.acc_seen_P)
    some = torch.linspace(0, P - 1, min(P, _MAX_POINTS)).round().long()
    unseen, seen = curve.acc_unseen_P[some], curve.acc_seen_P[some]
    rows: list[list[float]] = torch.stack([unseen, seen, harmonic_mean(unseen, seen)], dim=1).tolist()
    return rows


def _counts(cache: ScoreCache) -> Tensor:
    return confusion_counts(predictions(cache), torch.from_numpy(cache.labels_N), cache.logits_SNC.shape[2])


def _sides(cache: ScoreCache) -> list[str]:
    """By class id; "" of a class that is no candidate."""
    sides = [""] * cache.logits_SNC.shape[2]
    for side, ids in (("seen", cache.seen), ("unseen", cache.unseen)):
        for c in ids.tolist():
            sides[c] = side
    return sides


def _across_the_border(caches: Sequence[ScoreCache]) -> str:
    seen, unseen = (torch.from_numpy(ids) for ids in (caches[0].seen, caches[0].unseen))
    labels_N = torch.from_numpy(caches[0].labels_N)
    counts_22 = torch.stack([domain_confusion(predictions(cache), labels_N, seen, unseen) for cache in caches]).sum(0)
    of_seen, of_unseen = (100 * counts_22[i, 1 - i] / counts_22[i].sum().clamp_min(1) for i in (0, 1))
    return (
        f"Across the border: {of_unseen:.1f} % of the unseen classes' images are taken for a seen class, "
        f"{of_seen:.1f} % of the seen classes' for an unseen one."
    )
