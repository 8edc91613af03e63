"""Groups of runs paired by seeds and test images: two in every evaluation, or many with a base at the last step."""

from collections.abc import Sequence

from msdn_lit.analysis.groups import PLACE, Group
from msdn_lit.analysis.output.formats import Cell, Table
from msdn_lit.analysis.pairing import (
    NUM_RESAMPLES,
    ImageComparison,
    Resample,
    compare_caches,
    over_classes,
    over_images,
)
from msdn_lit.analysis.statistics import compare_seeds, summarise
from msdn_lit.errors import CheckpointError, ConfigError
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.reader import Run
from msdn_lit.runs.summary import evaluation_label

Pairs = Sequence[tuple[Run, Run]]

_LAST = "last"
_SEEDS = (
    "mean and standard deviation of the paired differences over the n common seeds, in points. "
    "95 % seeds and p (t): Student's paired t."
)
_RESAMPLES = (
    f"paired bootstrap, {NUM_RESAMPLES:,} resamples. The seeds' models are fixed; each resample is drawn once, scored "
    "by every seed of both methods, and the difference of a score is averaged over the seeds. This says whether other "
    "{} would tell the same of these seeds; the paired t, whether other seeds would."
)
_UNCORRECTED = "No p-value is corrected for the number of rows."


def comparison_table(first: Group, second: Group) -> Table:
    """Two groups in every evaluation that both report.

    Raises:
        ConfigError: They are of different benchmarks, or share no seed and evaluation.
        CheckpointError: They were not tested on the same images.
    """
    if (first.benchmark, first.stage) != (second.benchmark, second.stage):
        found = " and ".join(f"{group.benchmark} ({group.stage})" for group in (first, second))
        raise ConfigError(
            "The two groups do not compare", expected="one benchmark and stage", found=found
        )
    rows: list[list[Cell]] = []
    for evaluation in first.evaluations:
        pairs = _pairs(first, second, evaluation)
        if not pairs:
            continue
        label = evaluation_label(evaluation, first.stage)
        images, classes = (
            _bootstrap(pairs, evaluation, resample) for resample in (over_images, over_classes)
        )
        for score, name in SCORES.items():
            values = [
                [run.scores[evaluation][score] for run in runs] for runs in zip(*pairs, strict=True)
            ]
            seeds = compare_seeds(*values)
            cells = [*map(summarise, values), seeds.difference, seeds.difference.interval]
            p_values = [seeds.t_p_value, seeds.permutation_p_value]
            on_images = [*_interval_and_p(images, score), *_interval_and_p(classes, score)]
            sizes = (
                [images[score].num_images, images[score].num_classes] if images else [None, None]
            )
            rows.append([label, name, *cells, *p_values, *on_images, *sizes, len(pairs)])
    if not rows:
        found = " and ".join(
            "seeds " + ", ".join(str(run.seed) for run in group.runs) for group in (first, second)
        )
        raise ConfigError(
            "The two groups share no seed and evaluation",
            found=found,
            action="Train with the same seeds.",
        )
    header = [
        "evaluation",
        "score",
        "A",
        "B",
        "A - B",
        "95 % seeds",
        "p (t)",
        "p (sign counterfactuals)",
    ]
    header += ["95 % images", "p images", "95 % classes", "p classes", "images", "classes", "n"]
    notes = [f"{name}: {group}" for name, group in zip("AB", (first, second), strict=True)]
    notes += [
        f"A - B: {_SEEDS} p (sign counterfactuals): exact; it cannot fall below 2 / 2^n.",
        f"Images and classes: {_RESAMPLES.format('images or classes')}",
        _UNCORRECTED,
    ]
    return Table("comparison", "Paired comparison", header, rows, notes)


def against_table(base: Group, groups: Sequence[Group]) -> Table:
    """Every other group of the base's benchmark, features and stage beside it, at the last step.

    Args:
        base: What the others are held against.
        groups: The base may be among them; those that do not pair with it are named in a note.

    Raises:
        ConfigError: None of them pairs with the base.
    """
    kind = (base.benchmark, base.features, base.stage)
    rows: list[list[Cell]] = []
    left_out = []
    for group in groups:
        if group is not base and (group.benchmark, group.features, group.stage) == kind:
            try:
                rows += [
                    [*group.place, group.protocol, *cells] for cells in _cells_against(base, group)
                ]
            except CheckpointError as reason:
                left_out.append(f"{group.name} ({str(reason).rstrip('.')})")
    if not rows:
        found = "; ".join(left_out) or "no other group of its benchmark, features and stage"
        raise ConfigError(
            f"Nothing pairs with {base.name}", found=found, action="Train with the same seeds."
        )
    header = [*PLACE, "protocol", "score", "base", "ours", "ours - base", "95 % seeds", "p (t)"]
    header += ["95 % images", "p images", "n"]
    notes = [
        f"Base: {base}. All at the last step; a peak on test is not compared, the test set chose it.",
        f"ours - base: {_SEEDS} Positive: better than the base.",
        f"Images: {_RESAMPLES.format('images')} AUSUC, which no calibration changes, is paired by seeds alone.",
        _UNCORRECTED,
        *([f"Left out: {'; '.join(left_out)}."] if left_out else []),
    ]
    return Table("against", f"Paired with {base.name}", header, rows, notes)


def _cells_against(base: Group, group: Group) -> list[list[Cell]]:
    """From score to n.

    Raises:
        CheckpointError: The two share no seed, or were not tested on the same images.
    """
    pairs = _pairs(group, base, _LAST)
    if not pairs:
        raise CheckpointError("no common seed")
    images = _bootstrap(pairs, _LAST, over_images)
    scores = [[_last_scores(run) for run in pair] for pair in pairs]
    rows: list[list[Cell]] = []
    for score, name in {**SCORES, "ausuc": "AUSUC"}.items():
        values = [
            [found[score] for found in pair]
            for pair in scores
            if all(score in found for found in pair)
        ]
        if values:
            ours, theirs = zip(*values, strict=True)
            difference, t_p_value, _ = compare_seeds(ours, theirs)
            cells = [summarise(theirs), summarise(ours), difference, difference.interval, t_p_value]
            rows.append([name, *cells, *_interval_and_p(images, score), len(values)])
    return rows


def _last_scores(run: Run) -> dict[str, float]:
    """With those of the curve where its cache is there."""
    return {**run.scores[_LAST], **(run.curves[_LAST]._asdict() if _LAST in run.curves else {})}


def _pairs(first: Group, second: Group, evaluation: str) -> Pairs:
    others = {run.seed: run for run in second.having(evaluation)}
    return [(run, others[run.seed]) for run in first.having(evaluation) if run.seed in others]


def _bootstrap(pairs: Pairs, evaluation: str, resample: Resample) -> dict[str, ImageComparison]:
    """For each score; nothing unless all seeds have their caches."""
    if not all(evaluation in run.curves for pair in pairs for run in pair):
        return {}
    first, second = ([run.cache(evaluation) for run in runs] for runs in zip(*pairs, strict=True))
    return compare_caches(first, second, resample)


def _interval_and_p(found: dict[str, ImageComparison], score: str) -> list[Cell]:
    return [found[score].interval, found[score].p_value] if score in found else [None, None]
