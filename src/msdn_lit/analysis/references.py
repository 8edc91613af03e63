"""Scores measured by others, and verdicts on ours beside them."""

from statistics import mean
from typing import NamedTuple

from msdn_lit.analysis.groups import Group

# The evaluation from which each score is read, for the two ways to report. "peak": the best of all
# evaluations on the test splits, for T1 and for H separately, as the papers report; "last": one
# evaluation at the end.
REPORTED = {
    "peak": {
        "acc_unseen": "peak_harmonic_mean",
        "acc_seen": "peak_harmonic_mean",
        "harmonic_mean": "peak_harmonic_mean",
        "acc_czsl": "peak_acc_czsl",
    },
    "last": dict.fromkeys(("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean"), "last"),
}


class Reference(NamedTuple):
    """Scores measured by others.

    Attributes:
        source: "published" or "released code".
        benchmark: Benchmark as in a result.json.
        features: Our name of the backbone; only groups with it are comparable.
        reported: "peak" or "last", as in `REPORTED`.
        percent: Scores in percent.
        tolerance: Largest difference in points that counts as equal.
        seed: Seed of the measurement, which is compared with our run of that seed if there is one;
            None compares the mean over our seeds.
    """

    source: str
    benchmark: str
    features: str
    reported: str
    percent: dict[str, float]
    tolerance: float
    seed: int | None = None


def _percent(
    acc_czsl: float, acc_unseen: float, acc_seen: float, harmonic_mean: float
) -> dict[str, float]:
    return {
        "acc_czsl": acc_czsl,
        "acc_unseen": acc_unseen,
        "acc_seen": acc_seen,
        "harmonic_mean": harmonic_mean,
    }


PUBLISHED_RECIPES = tuple(
    f"{name}_{setting}" for name in ("cub", "sun", "awa2") for setting in ("gzsl", "czsl")
)
_PAPER = "published"
_CODE = "released code"
SOURCES = (_PAPER, _CODE)
REFERENCES = (  # T1, U, S, H; tolerance; seed
    # README of the release, which changed by up to 2 points in the days before publication.
    Reference(_PAPER, "CUB", "resnet101_448", "peak", _percent(76.1, 68.7, 67.5, 68.1), 1),
    Reference(_PAPER, "SUN", "resnet101_448", "peak", _percent(65.8, 52.2, 34.2, 41.3), 1),
    Reference(_PAPER, "AWA2", "resnet101_448", "peak", _percent(70.1, 62.0, 74.5, 67.7), 1),
    # Measured outside this repository, on features of images at their original size; see README.md.
    Reference(_CODE, "CUB", "mobilenetv2_224", "peak", _percent(54.5, 43.6, 50.5, 46.8), 2, 214),
    Reference(_CODE, "CUB", "mobilenetv2_224", "last", _percent(52.6, 40.5, 49.5, 44.6), 2, 214),
)


def find_reference(source: str, group: Group, reported: str) -> Reference | None:
    """Returns the scores to show beside a group.

    Published numbers are shown beside any backbone, those of the released code only beside theirs.
    """
    for reference in REFERENCES:
        is_same = (reference.source, reference.reported) == (source, reported)
        is_benchmark = reference.benchmark == group.runs[0].result["benchmark"]
        if is_same and is_benchmark and (source == _PAPER or reference.features == group.features):
            return reference
    return None


def verdict(reference: Reference, group: Group, score: str) -> str:
    """Compares a group with a reference.

    Returns:
        "within" the tolerance, "above" or "below"; or the reason why they are not comparable.
    """
    if group.features == "semisynthetic":
        return "not comparable: semi-synthetic, no images"
    if group.features != reference.features:
        return "not comparable: other backbone"
    if not group.is_official:
        return "not comparable: other split"
    evaluation = REPORTED[reference.reported][score]
    runs = group.having(evaluation)
    same_seed = [run for run in runs if run.seed == reference.seed]
    percent = 100 * mean(run.scores[evaluation][score] for run in same_seed or runs)
    difference = percent - reference.percent[score]
    word = "above" if difference > 0 else "below"
    if abs(difference) <= reference.tolerance + 1e-9:
        word = "within"
    is_one_of_several = bool(same_seed) and len(runs) > 1
    return f"{word} (seed {reference.seed}: {percent:.1f})" if is_one_of_several else word
