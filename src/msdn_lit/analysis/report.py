"""The tables of a report: what groups of runs scored, beside the published numbers and beside one another."""

from collections.abc import Mapping, Sequence

from msdn_lit.analysis.formats import Cell, Share, Table
from msdn_lit.analysis.groups import Group
from msdn_lit.analysis.pairing import NUM_RESAMPLES, compare_caches, over_classes, over_images
from msdn_lit.analysis.references import RECIPES, REPORTED, SOURCES, Reference, find_reference, verdict
from msdn_lit.analysis.runs import Run
from msdn_lit.analysis.statistics import compare_seeds, summarise
from msdn_lit.analysis.tables import SCORES, evaluation_label
from msdn_lit.errors import ConfigError

_PLACE = ("benchmark", "features", "settings")
_TESTS = (
    "A - B: mean and standard deviation of the paired differences over the n common seeds, in points. "
    "95 % seeds and p (t): Student's paired t. p (sign flips): exact; it cannot fall below 2 / 2^n.",
    f"Images and classes: paired bootstrap, {NUM_RESAMPLES:,} resamples. The seeds' models are fixed; each resample is "
    "drawn once, scored by every seed of both methods, and the difference of a score is averaged over the seeds. These "
    "say whether other images or classes would tell the same of these seeds; the first two, whether other seeds would.",
    "No p-value is corrected for the number of rows.",
)
_PEAKS = "A peak on test is the best of all looks at the test splits, as papers report; the test set chose it."


def report_tables(groups: Sequence[Group]) -> list[Table]:
    """All tables of some groups; those without a row are left out."""
    tables = (score_table(groups), protocol_table(groups), run_table(groups), reproduction_table(groups))
    return [table for table in tables if table.rows]


def score_table(groups: Sequence[Group]) -> Table:
    """One row for each group and reported evaluation."""
    of_caches = ("AUSUC", "best H", "oracle gamma")
    header = [*_PLACE, "protocol", "evaluation", "step", *SCORES.values(), "H 95 %", *of_caches, "n"]
    rows = [[*_place(g), g.protocol, *_score_cells(g, evaluation)] for g in groups for evaluation in g.evaluations]
    notes = [
        "Percent: mean ± standard deviation over n runs that differ in their seed alone; (n=...) where fewer have it. "
        "H 95 %: Student's t interval of the mean.",
        _PEAKS,
    ]
    if any(run.curves for group in groups for run in group.runs):
        notes.append(
            "AUSUC: area under the seen-unseen curve. Best H: of that curve, at the oracle gamma (mean over the runs) "
            "which the evaluated images chose themselves: an upper bound, no result."
        )
    for group in groups:
        code = {run.result["code"] for run in group.runs}
        if len(code) > 1:
            where = ", ".join([*_place(group), f"{group.protocol} protocol"])
            notes.append(f"CAUTION: the seeds of {where} were run by {len(code)} versions of the code.")
    return Table("scores", "Scores", header, rows, notes)


def protocol_table(groups: Sequence[Group]) -> Table:
    """The two ways to report side by side: the peak on the test splits, and the last step."""
    by_place: dict[tuple[str, ...], dict[str, Group]] = {}
    for group in groups:
        if group.stage == "test":
            by_place.setdefault(_place(group), {})[group.protocol] = group
    rows: list[list[Cell]] = []
    for place, protocols in by_place.items():
        peak = next((group for group in protocols.values() if "peak_harmonic_mean" in group.evaluations), None)
        last = next((group for _, group in sorted(protocols.items()) if "last" in group.evaluations), None)  # honest
        if peak and last:
            rows.append([*place, *_reported(peak, "peak"), *_reported(last, "last"), last.protocol, len(peak.runs)])
    columns = [f"{kind} {name}" for kind in REPORTED for name in SCORES.values()]
    header = [*_PLACE, *columns, "last step of", "n"]
    notes = [f"{_PEAKS} T1 and H have their peaks at different steps; U and S are those of the peak H."]
    return Table("protocols", "Peak on test (paper) beside the last step (honest)", header, rows, notes)


def reproduction_table(groups: Sequence[Group]) -> Table:
    """Published numbers, the released code's on this backbone, and ours under both protocols, with verdicts.

    Of the groups that ran a recipe of the published numbers, such as experiment=cub_gzsl.
    """
    rows: list[list[Cell]] = []
    for group in groups:
        if group.stage != "test" or group.recipe not in RECIPES:
            continue
        for reported, evaluations in REPORTED.items():
            references = {source: find_reference(source, group, reported) for source in SOURCES}
            scores = [score for score in SCORES if group.having(evaluations[score])]
            rows += [_reproduction_row(group, reported, score, references) for score in scores]
    header = [*_PLACE, "protocol", "score", *SOURCES, "ours", "95 %", *(f"against {name}" for name in SOURCES), "n"]
    note = (
        "Published: ResNet-101 at 448 px, peak on test, one seed; within is at most 1 point away. Released code: on "
        "this backbone, images at their original size, seed 214; within is at most 2 points from our mean, or from our "
        "run of that seed, which is then named. 95 %: Student's t interval of our mean over n seeds."
    )
    return Table("reproduction", "Reproduction", header, rows, [note])


def run_table(groups: Sequence[Group]) -> Table:
    """Where the numbers come from."""
    rows: list[list[Cell]] = []
    for group in groups:
        results = [run.result for run in group.runs]
        code = ", ".join(sorted({result["code"][:12] for result in results}))
        devices = ", ".join(sorted({result["device"] for result in results}))
        time = f"{sum(result['wall_time_s'] for result in results) / 60:.0f} min"
        seeds = " ".join(str(run.seed) for run in group.runs)
        rows.append([*_place(group), group.protocol, seeds, code, devices, time, len(results)])
    header = [*_PLACE, "protocol", "seeds", "code", "device", "wall time in all", "n"]
    return Table("runs", "Runs", header, rows)


def comparison_table(first: Group, second: Group) -> Table:
    """Two groups paired by their seeds and test images.

    Raises:
        ConfigError: They are of different benchmarks, or share no seed and evaluation.
        CheckpointError: They were not tested on the same images.
    """
    if (first.benchmark, first.stage) != (second.benchmark, second.stage):
        found = " and ".join(f"{group.benchmark} ({group.stage})" for group in (first, second))
        raise ConfigError("The two groups do not compare", expected="one benchmark and stage", found=found)
    rows: list[list[Cell]] = []
    for evaluation in first.evaluations:
        pairs = _pairs(first, second, evaluation)
        if not pairs:
            continue
        label, on_images = evaluation_label(evaluation, first.stage), _bootstraps(pairs, evaluation)
        for score, name in SCORES.items():
            values = [[run.scores[evaluation][score] for run in runs] for runs in zip(*pairs, strict=True)]
            seeds = compare_seeds(*values)
            cells = [*map(summarise, values), seeds.difference, seeds.difference.interval]
            p_values = [seeds.t_p_value, seeds.permutation_p_value]
            rows.append([label, name, *cells, *p_values, *on_images.get(score, [None] * 6), len(pairs)])
    if not rows:
        found = " and ".join("seeds " + ", ".join(str(run.seed) for run in group.runs) for group in (first, second))
        raise ConfigError(
            "The two groups share no seed and evaluation", found=found, action="Train with the same seeds."
        )
    tests = ["A - B", "95 % seeds", "p (t)", "p (sign flips)"]
    tests += ["95 % images", "p images", "95 % classes", "p classes", "images", "classes"]
    labels = [
        f"{name}: {g.benchmark}, {g.features}, {g.name}, {g.protocol} protocol"
        for name, g in zip("AB", (first, second), strict=True)
    ]
    return Table(
        "comparison", "Paired comparison", ["evaluation", "score", "A", "B", *tests, "n"], rows, [*labels, *_TESTS]
    )


def _pairs(first: Group, second: Group, evaluation: str) -> list[tuple[Run, Run]]:
    others = {run.seed: run for run in second.having(evaluation)}
    return [(run, others[run.seed]) for run in first.having(evaluation) if run.seed in others]


def _bootstraps(pairs: Sequence[tuple[Run, Run]], evaluation: str) -> dict[str, list[Cell]]:
    """Cells for each score; nothing unless all seeds have their caches."""
    if not all(evaluation in run.curves for pair in pairs for run in pair):
        return {}
    first, second = ([run.cache(evaluation) for run in runs] for runs in zip(*pairs, strict=True))
    images, classes = (compare_caches(first, second, resample) for resample in (over_images, over_classes))
    return {
        score: [
            *(images[score].interval, images[score].p_value, classes[score].interval, classes[score].p_value),
            *(images[score].num_images, images[score].num_classes),
        ]
        for score in images
    }


def _place(group: Group) -> tuple[str, str, str]:
    return group.benchmark, group.features, group.name


def _reproduction_row(
    group: Group, reported: str, score: str, references: Mapping[str, Reference | None]
) -> list[Cell]:
    summary = group.summary(REPORTED[reported][score], score)
    assert summary is not None
    theirs = [Share(reference.percent[score] / 100) if reference else None for reference in references.values()]
    verdicts = [verdict(reference, group, score) if reference else None for reference in references.values()]
    protocol = {"peak": "paper: peak on test", "last": "honest: last step"}[reported]
    return [*_place(group), protocol, SCORES[score], *theirs, summary, summary.interval, *verdicts, summary.n]


def _score_cells(group: Group, evaluation: str) -> list[Cell]:
    """Label, step, scores and what the caches say."""
    runs = group.having(evaluation)
    steps = sorted({int(run.scores[evaluation]["step"]) for run in runs})
    step = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    scores = [group.summary(evaluation, score) for score in SCORES]
    curves = [run.curves[evaluation] for run in runs if evaluation in run.curves]
    ausuc, best, gamma = map(summarise, zip(*curves, strict=True)) if curves else (None, None, None)
    interval = scores[-1].interval if scores[-1] else None
    label = evaluation_label(evaluation, group.stage)
    return [label, step, *scores, interval, ausuc, best, gamma and gamma.mean, len(runs)]


def _reported(group: Group, way: str) -> list[Cell]:
    return [group.summary(REPORTED[way][score], score) for score in SCORES]
