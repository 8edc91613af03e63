"""Groups of runs compared by seeds and test images: two groups, or many groups with a base."""

from collections.abc import Iterator, Sequence

from msdn_lit.analysis.groups import CONTEXT, Group, usual_of
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
from msdn_lit.errors import CheckpointError, ConfigError, some
from msdn_lit.runs.layout import LAST, SCORES
from msdn_lit.runs.reader import Run
from msdn_lit.runs.summary import evaluation_label

Pairs = Sequence[tuple[Run, Run]]

_SEEDS = (
    "mean and standard deviation of the paired differences over the n common seeds, in points. "
    "95 % seeds and p (t): Student's paired t."
)
_RESAMPLES = (
    f"paired bootstrap, {NUM_RESAMPLES:,} resamples. The seeds' models are fixed; each resample is "
    "drawn once and scored by every seed of both methods, and the difference of a score is "
    "averaged over the seeds. It tests whether the difference holds for other {} with these seeds; "
    "the paired t tests whether it holds for other seeds."
)
_UNCORRECTED = "No p-value is corrected for the number of rows."


def comparison_table(first: Group, second: Group) -> Table:
    """Compares two groups in every evaluation that both report.

    Raises:
        ConfigError: The groups are of different benchmarks, or share no seed and evaluation.
        CheckpointError: The groups were not tested on the same images.
    """
    groups = (first, second)
    if (first.benchmark, first.stage) != (second.benchmark, second.stage):
        found = " and ".join(f"{group.benchmark} ({group.stage})" for group in groups)
        problem = "The two groups are not comparable"
        raise ConfigError(problem, expected="one benchmark and stage", found=found)
    rows: list[list[Cell]] = []
    for evaluation in first.evaluations:
        label = evaluation_label(evaluation, first.stage)
        pairs = _pairs(first, second, evaluation)
        rows += [[label, *cells] for cells in (_cells(pairs, evaluation) if pairs else ())]
    if not rows:
        seeds = [some(run.seed for run in group.runs) for group in groups]
        raise ConfigError(
            "The two groups share no seed and evaluation",
            found=" and ".join(f"seeds {of_group}" for of_group in seeds),
            action="Train with the same seeds.",
        )
    header = ["evaluation", "score", "A", "B", "A - B", "95 % seeds", "p (t)", "p (sign flips)"]
    header += ["95 % images", "p images", "95 % classes", "p classes", "images", "classes", "n"]
    notes = [f"{name}: {group}" for name, group in zip("AB", groups, strict=True)]
    notes += [
        f"A - B: {_SEEDS} p (sign flips): exact; it cannot fall below 2 / 2^n.",
        f"Images and classes: {_RESAMPLES.format('images or classes')}",
        _UNCORRECTED,
    ]
    return Table("comparison", "Paired comparison", header, rows, notes)


def against_table(base: Group, groups: Sequence[Group]) -> Table:
    """Compares every group of the base's benchmark, features and stage with it, at the last step.

    Args:
        base: Group with which the others are compared.
        groups: Other groups; the base may be among them. A note names those that do not pair with
            the base.

    Raises:
        ConfigError: No group pairs with the base.
    """
    kind = (base.benchmark, base.features, base.stage)
    rows: list[list[Cell]] = []
    left_out = []
    for group in groups:
        if group is base or (group.benchmark, group.features, group.stage) != kind:
            continue
        try:
            cells = _cells_against(base, group)
        except CheckpointError as reason:
            left_out.append(f"{group.name} ({str(reason).rstrip('.')})")
        else:
            rows += [[*group.context, group.protocol, *row] for row in cells]
    if not rows:
        found = some(left_out) or "no other group of its benchmark, features and stage"
        action = "Train with the same seeds."
        raise ConfigError(f"Nothing pairs with {base.name}", found=found, action=action)
    header = [*CONTEXT, "protocol", "score", "base", "ours", "ours - base", "95 % seeds", "p (t)"]
    header += ["95 % images", "p images", "n"]
    notes = [
        f"Base: {base}. All at the last step; a peak on test is not compared, because the test set "
        "chose it.",
        *usual_of(groups if base in groups else [base, *groups], base),
        f"ours - base: {_SEEDS} Positive: better than the base.",
        f"Images: {_RESAMPLES.format('images')} AUSUC does not depend on the calibration; it is "
        "compared by seeds only.",
        _UNCORRECTED,
    ]
    if left_out:
        notes.append(f"Left out: {'; '.join(left_out)}.")
    return Table("against", f"Paired with {base.name}", header, rows, notes)


def _cells(pairs: Pairs, evaluation: str) -> Iterator[list[Cell]]:
    """For each score of one evaluation: the cells of `comparison_table` from the score to n."""
    images = _bootstrap(pairs, evaluation, over_images)
    classes = _bootstrap(pairs, evaluation, over_classes)
    for score, name in SCORES.items():
        values = [
            [run.scores[evaluation][score] for run in runs] for runs in zip(*pairs, strict=True)
        ]
        seeds = compare_seeds(*values)
        cells: list[Cell] = [*map(summarise, values), seeds.difference, seeds.difference.interval]
        cells += [seeds.t_p_value, seeds.permutation_p_value]
        cells += [*_interval_and_p(images, score), *_interval_and_p(classes, score)]
        sizes = [images[score].num_images, images[score].num_classes] if images else [None, None]
        yield [name, *cells, *sizes, len(pairs)]


def _cells_against(base: Group, group: Group) -> list[list[Cell]]:
    """For each score: the cells of `against_table` from the score to n.

    Raises:
        CheckpointError: The two share no seed, or were not tested on the same images.
    """
    pairs = _pairs(group, base, LAST)
    if not pairs:
        raise CheckpointError("no common seed")
    images = _bootstrap(pairs, LAST, over_images)
    scores = [[_last_scores(run) for run in pair] for pair in pairs]
    rows: list[list[Cell]] = []
    for score, name in {**SCORES, "ausuc": "AUSUC"}.items():
        values = [
            [of_run[score] for of_run in pair]
            for pair in scores
            if all(score in of_run for of_run in pair)
        ]
        if values:
            ours, theirs = zip(*values, strict=True)
            difference, t_p_value, _ = compare_seeds(ours, theirs)
            cells = [summarise(theirs), summarise(ours), difference, difference.interval, t_p_value]
            rows.append([name, *cells, *_interval_and_p(images, score), len(values)])
    return rows


def _last_scores(run: Run) -> dict[str, float]:
    """Scores of the last step, and those of its curve if the run has its score cache."""
    curve = run.curves[LAST]._asdict() if LAST in run.curves else {}
    return {**run.scores[LAST], **curve}


def _pairs(first: Group, second: Group, evaluation: str) -> Pairs:
    others = {run.seed: run for run in second.having(evaluation)}
    return [(run, others[run.seed]) for run in first.having(evaluation) if run.seed in others]


def _bootstrap(pairs: Pairs, evaluation: str, resample: Resample) -> dict[str, ImageComparison]:
    """Comparison for each score; empty unless all runs have their score caches."""
    if not all(evaluation in run.curves for pair in pairs for run in pair):
        return {}
    first, second = ([run.cache(evaluation) for run in runs] for runs in zip(*pairs, strict=True))
    return compare_caches(first, second, resample)


def _interval_and_p(comparisons: dict[str, ImageComparison], score: str) -> list[Cell]:
    if score not in comparisons:
        return [None, None]
    return [comparisons[score].interval, comparisons[score].p_value]
