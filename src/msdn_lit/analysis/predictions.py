"""Predictions of a score cache at any fusion and calibration, without the model and its features.

Letters: N images, C classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.metrics.arrays import predict
from msdn_lit.metrics.confusion import domain_confusion, top_k_accuracy
from msdn_lit.metrics.curve import best_point, seen_unseen_auc
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.score_cache import ScoreCache

TOP_K = 5


class Predictions:
    """The predictions of one evaluation.

    Args:
        cache: Score cache of the evaluation.
        fusion: Weight of each sub-net; None takes the run's weights.
        calibration: Calibration of the prediction; None takes that of the run.
    """

    def __init__(
        self,
        cache: ScoreCache,
        fusion: Sequence[float] | None = None,
        calibration: float | None = None,
    ) -> None:
        self.cache = cache
        self.fusion = fusion
        self.calibration = cache.calibration if calibration is None else calibration
        self.logits_NC = cache.fused(fusion, self.calibration)
        self.candidates = np.concatenate([cache.seen, cache.unseen])
        self.predicted_N = predict(self.logits_NC, self.candidates)

    def top_k(self, domain: str, k: int = TOP_K) -> float:
        """Computes the top-k mean class accuracy among all classes, as a fraction.

        Args:
            domain: "seen" or "unseen", the domain of the images.
            k: Number of predictions per image.
        """
        is_domain_N = np.isin(self.cache.labels_N, getattr(self.cache, domain))
        logits_NC, labels_N = self.logits_NC[is_domain_N], self.cache.labels_N[is_domain_N]
        return top_k_accuracy(logits_NC, labels_N, self.candidates, k)

    def domain_confusion_rates(self) -> tuple[float, float]:
        """Computes the shares of images that are predicted as a class of the other domain.

        Returns:
            Share of the seen-class images, and share of the unseen-class images.
        """
        cache = self.cache
        counts = domain_confusion(self.predicted_N, cache.labels_N, cache.seen, cache.unseen)
        with np.errstate(invalid="ignore"):  # NaN without images of a domain
            shares = counts / counts.sum(axis=1, keepdims=True)
        return float(shares[0, 1]), float(shares[1, 0])

    def accuracies(self) -> Mapping[int, float]:
        """Computes the accuracy of each class that has images, among all classes.

        Returns:
            Accuracy as a fraction by class id, the lowest first.
        """
        is_right_N = self.predicted_N == self.cache.labels_N
        accuracies = {
            int(c): float(is_right_N[self.cache.labels_N == c].mean())
            for c in np.unique(self.cache.labels_N)
        }
        return dict(sorted(accuracies.items(), key=lambda item: item[1]))

    def confused(self, most: int | None = None) -> list[tuple[int, int, int]]:
        """Counts the wrong predictions of each pair of classes.

        Args:
            most: Number of pairs, the most frequent ones; None returns all.

        Returns:
            True class, predicted class and number of images, the most frequent pair first.
        """
        pairs = zip(self.cache.labels_N.tolist(), self.predicted_N.tolist(), strict=True)
        wrong = Counter((label, predicted) for label, predicted in pairs if label != predicted)
        return [(*pair, count) for pair, count in wrong.most_common(most)]


def cache_table(evaluations: Mapping[str, Predictions]) -> Table:
    """One row for each evaluation: scores, curve, top-k accuracy and domain confusion."""
    header = ["evaluation", "step", *SCORES.values(), "AUSUC", "oracle H", "oracle calibration"]
    header += [f"top-{TOP_K} U", f"top-{TOP_K} S", "U as seen", "S as unseen"]
    notes = [
        "Percent. Oracle: the calibration with the best H on these images, an upper bound and no "
        "result.",
        f"Top-{TOP_K}: among all classes. U as seen: share of the unseen-class images that are "
        "predicted as a seen class.",
    ]
    rows = [_row(predictions) for predictions in evaluations.values()]
    settings = [_settings(predictions) for predictions in evaluations.values()]
    stages = sorted({predictions.cache.stage for predictions in evaluations.values()})
    title = ", ".join(["From the score cache", *stages])
    if len(set(settings)) == 1:
        title += f", {settings[0]}"
    else:
        header.insert(1, "prediction")
        rows = [[text, *row] for text, row in zip(settings, rows, strict=True)]
    named = [[name, *row] for name, row in zip(evaluations, rows, strict=True)]
    return Table("cache", title, header, named, notes)


def _settings(predictions: Predictions) -> str:
    weights = " ".join(f"{weight:g}" for weight in predictions.fusion or predictions.cache.fusion)
    return f"fusion {weights}, calibration {predictions.calibration:g}"


def _row(predictions: Predictions) -> list[Cell]:
    cache, fusion = predictions.cache, predictions.fusion
    curve = cache.curve(fusion)
    best = best_point(curve)
    seen_as_unseen, unseen_as_seen = predictions.domain_confusion_rates()
    scores = [Share(value) for value in cache.scores(fusion, predictions.calibration)]
    oracle: list[Cell] = [Share(float(best.harmonic_mean)), float(best.calibration)]
    rates = (predictions.top_k("unseen"), predictions.top_k("seen"), unseen_as_seen, seen_as_unseen)
    area = Share(seen_unseen_auc(curve))
    return [cache.step, *scores, area, *oracle, *map(Share, rates)]
