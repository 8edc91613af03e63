"""Numbers of others to hold ours against, and when the two compare at all."""

from typing import NamedTuple

from msdn_lit.analysis.groups import Group
from msdn_lit.analysis.statistics import Summary, summarise

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
        name: Whose, and with what.
        benchmark: As in a result.json.
        features: The backbone as we call it; only groups on it compare.
        reported: "peak" or "last", as in `REPORTED`.
        percent: Score -> percent.
        tolerance: Points to either side that count as the same.
        seed: Their seed, to be held against ours of that seed if there is one; None compares our mean.
        on_its_backbone: Not to be shown beside other backbones at all.
    """

    name: str
    benchmark: str
    features: str
    reported: str
    percent: dict[str, float]
    tolerance: float
    seed: int | None = None
    on_its_backbone: bool = False


def _percent(acc_czsl: float, acc_unseen: float, acc_seen: float, harmonic_mean: float) -> dict[str, float]:
    return dict(acc_czsl=acc_czsl, acc_unseen=acc_unseen, acc_seen=acc_seen, harmonic_mean=harmonic_mean)


_PAPER = "published MSDN (ResNet-101, 448 px)"
_CODE = "released code (MobileNetV2, 224 px, original-size images)"
REFERENCES = (  # T1, U, S, H
    # README of the release; it drifted by up to 2 points in the days before publication
    Reference(_PAPER, "CUB", "resnet101_448", "peak", _percent(76.1, 68.7, 67.5, 68.1), tolerance=1),
    Reference(_PAPER, "SUN", "resnet101_448", "peak", _percent(65.8, 52.2, 34.2, 41.3), tolerance=1),
    Reference(_PAPER, "AWA2", "resnet101_448", "peak", _percent(70.1, 62.0, 74.5, 67.7), tolerance=1),
    # measured outside this repository; see README.md
    Reference(_CODE, "CUB", "mobilenetv2_224", "peak", _percent(54.5, 43.6, 50.5, 46.8), 2, 214, True),
    Reference(_CODE, "CUB", "mobilenetv2_224", "last", _percent(52.6, 40.5, 49.5, 44.6), 2, 214, True),
)


def references_for(group: Group) -> list[Reference]:
    """The references to show beside a group: those of its benchmark, on any backbone or on its own as they ask."""
    return [
        reference
        for reference in REFERENCES
        if reference.benchmark == group.runs[0].result["benchmark"]
        and group.stage == "test"
        and (reference.features == group.features or not reference.on_its_backbone)
    ]


def ours(reference: Reference, group: Group, score: str) -> Summary | None:
    """Our number beside a reference's: of its seed if the group has that, else the mean over the seeds."""
    evaluation = REPORTED[reference.reported][score]
    for run in group.having(evaluation):
        if run.seed == reference.seed:
            return summarise([run.scores[evaluation][score]])
    return group.summary(evaluation, score)


def verdict(reference: Reference, group: Group, score: str) -> str:
    """`within` the tolerance, `above`, `below`, or why the two do not compare."""
    if group.features != reference.features:
        return "not comparable: other backbone"
    if not group.is_official:
        return "not comparable: other split"
    mine = ours(reference, group, score)
    if mine is None:
        return "not comparable: no peak on test"
    difference = 100 * mine.mean - reference.percent[score]
    if abs(difference) <= reference.tolerance + 1e-9:
        return "within"
    return "above" if difference > 0 else "below"
