"""Numbers of others to hold ours against, and when the two compare at all."""

from statistics import mean
from typing import NamedTuple

from msdn_lit.analysis.groups import Group

# Which evaluation a score is read from, for the two ways to report. "peak": the best of all looks at the test splits,
# for T1 and for H separately, as the papers do; "last": one look at the end.
REPORTED = {
    "peak": dict.fromkeys(("acc_unseen", "acc_seen", "harmonic_mean"), "peak_harmonic_mean")
    | {"acc_czsl": "peak_acc_czsl"},
    "last": dict.fromkeys(("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean"), "last"),
}


class Reference(NamedTuple):
    """Scores that someone else measured.

    Attributes:
        source: "published" or "released code".
        benchmark: As in a result.json.
        features: The backbone as we call it; only groups on it compare.
        reported: "peak" or "last", as in `REPORTED`.
        percent: Score -> percent.
        tolerance: Points to either side that count as the same.
        seed: Their seed, to be held against ours of that seed if there is one; None compares our mean.
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
    return dict(
        acc_czsl=acc_czsl, acc_unseen=acc_unseen, acc_seen=acc_seen, harmonic_mean=harmonic_mean
    )


RECIPES = tuple(
    f"{name}_{setting}" for name in ("cub", "sun", "awa2") for setting in ("gzsl", "czsl")
)
SOURCES = _PAPER, _CODE = "published", "released code"
REFERENCES = (  # T1, U, S, H
    # README of the release; it drifted by up to 2 points in the days before publication
    Reference(
        _PAPER, "CUB", "resnet101_448", "peak", _percent(76.1, 68.7, 67.5, 68.1), tolerance=1
    ),
    Reference(
        _PAPER, "SUN", "resnet101_448", "peak", _percent(65.8, 52.2, 34.2, 41.3), tolerance=1
    ),
    Reference(
        _PAPER, "AWA2", "resnet101_448", "peak", _percent(70.1, 62.0, 74.5, 67.7), tolerance=1
    ),
    # measured outside this repository, on features of images at their original size; see README.md
    Reference(
        _CODE,
        "CUB",
        "mobilenetv2_224",
        "peak",
        _percent(54.5, 43.6, 50.5, 46.8),
        tolerance=2,
        seed=214,
    ),
    Reference(
        _CODE,
        "CUB",
        "mobilenetv2_224",
        "last",
        _percent(52.6, 40.5, 49.5, 44.6),
        tolerance=2,
        seed=214,
    ),
)


def find_reference(source: str, group: Group, reported: str) -> Reference | None:
    """What to show beside a group: published numbers beside any backbone, the released code's beside its own alone."""
    for reference in REFERENCES:
        is_of_group = reference.benchmark == group.runs[0].result["benchmark"]
        is_shown = source == _PAPER or reference.features == group.features
        if (
            (reference.source, reference.reported) == (source, reported)
            and is_of_group
            and is_shown
        ):
            return reference
    return None


def verdict(reference: Reference, group: Group, score: str) -> str:
    """`within` the tolerance, `above`, `below`, or why the two do not compare; our mean, or our run of their seed."""
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
    word = "within" if abs(difference) <= reference.tolerance + 1e-9 else word
    return f"{word} (seed {reference.seed}: {percent:.1f})" if same_seed and len(runs) > 1 else word
