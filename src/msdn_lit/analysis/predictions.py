"""What a score cache tells of its predictions, at any fusion and calibration, without a model or its features."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.metrics.confusion import domain_confusion, top_k_accuracy
from msdn_lit.metrics.curve import best_point, seen_unseen_auc
from msdn_lit.metrics.functional import predict
from msdn_lit.runs.score_cache import ScoreCache

TOP_K = 5


class Predictions:
    """The predictions of one evaluation.

    Args:
        cache: Its logits.
        fusion: Weight of each sub-net; None takes the run's.
        calibration: Margin gamma; None takes the run's.
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
        self.seen = torch.from_numpy(cache.seen)
        self.unseen = torch.from_numpy(cache.unseen)
        self.labels_N = torch.from_numpy(cache.labels_N)
        self.logits_NC = cache.fused(fusion, self.calibration)
        self.candidates = torch.cat([self.seen, self.unseen])
        self.guesses_N = predict(self.logits_NC, self.candidates)

    def top_k(self, side: str, k: int = TOP_K) -> float:
        """Mean class accuracy of the best k among all classes, of "seen" or "unseen" images; as a fraction."""
        is_side_N = torch.isin(self.labels_N, getattr(self, side))
        return float(
            top_k_accuracy(self.logits_NC[is_side_N], self.labels_N[is_side_N], self.candidates, k)
        )

    def domain_confusion_rates(self) -> tuple[float, float]:
        """Shares of seen-class images taken for an unseen class, and of unseen-class images taken for a seen one."""
        counts = domain_confusion(self.guesses_N, self.labels_N, self.seen, self.unseen)
        shares = counts / counts.sum(dim=1, keepdim=True)
        return float(shares[0, 1]), float(shares[1, 0])

    def accuracies(self) -> Mapping[int, float]:
        """Accuracy of each class that has images, among all classes, by its id, lowest first."""
        is_right_N = (self.guesses_N == self.labels_N).numpy()
        found = {
            int(c): float(is_right_N[self.cache.labels_N == c].mean())
            for c in np.unique(self.cache.labels_N)
        }
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def confused(self, most: int | None = None) -> list[tuple[int, int, int]]:
        """The most frequent mistakes, or all: true class, predicted class, how many images."""
        pairs = zip(self.labels_N.tolist(), self.guesses_N.tolist(), strict=True)
        wrong = Counter((label, guess) for label, guess in pairs if label != guess)
        return [(label, guess, count) for (label, guess), count in wrong.most_common(most)]


def cache_table(evaluations: Mapping[str, Predictions]) -> Table:
    """Scores, curve, near misses and border crossings of some evaluations, a row each."""
    header = [
        "evaluation",
        "step",
        "fusion",
        "gamma",
        "T1",
        "U",
        "S",
        "H",
        "AUSUC",
        "oracle gamma",
        "oracle H",
    ]
    header += [f"top-{TOP_K} U", f"top-{TOP_K} S", "unseen as seen", "seen as unseen"]
    notes = [
        "Percent. Oracle: the gamma with the best H on these very images, an upper bound and no result.",
        f"Top-{TOP_K}: among all classes. Unseen as seen: share of unseen-class images taken for any seen class.",
    ]
    return Table(
        "cache",
        "From the score cache",
        header,
        [_row(*item) for item in evaluations.items()],
        notes,
    )


def _row(name: str, judged: Predictions) -> list[Cell]:
    cache, curve = judged.cache, judged.cache.curve(judged.fusion)
    best, (seen_lost, unseen_lost) = best_point(curve), judged.domain_confusion_rates()
    weights = " ".join(f"{weight:g}" for weight in judged.fusion or cache.fusion)
    scores = [Share(float(value)) for value in cache.scores(judged.fusion, judged.calibration)]
    cells: list[Cell] = [name, cache.step, weights, judged.calibration, *scores]
    cells += [
        Share(float(seen_unseen_auc(curve))),
        float(best.calibration),
        Share(float(best.harmonic_mean)),
    ]
    shares = (judged.top_k("unseen"), judged.top_k("seen"), unseen_lost, seen_lost)
    return [*cells, *map(Share, shares)]
