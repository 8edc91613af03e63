"""The tables of a report: what groups of runs scored, beside the published numbers."""

from collections.abc import Mapping, Sequence

from msdn_lit.analysis.groups import PLACE, Group
from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.analysis.references import (
    RECIPES,
    REPORTED,
    SOURCES,
    Reference,
    find_reference,
    verdict,
)
from msdn_lit.analysis.statistics import summarise
from msdn_lit.attention.tables import attention_table, part_table
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.summary import evaluation_label

_PEAKS = "A peak on test is the best of all looks at the test splits, as papers report; the test set chose it."


def report_tables(groups: Sequence[Group]) -> list[Table]:
    """All tables of some groups; those without a row are left out."""
    makers = (
        score_table,
        protocol_table,
        attention_table,
        part_table,
        run_table,
        reproduction_table,
    )
    tables = [make(groups) for make in makers]
    return [table for table in tables if table.rows]


def score_table(groups: Sequence[Group]) -> Table:
    """One row for each group and reported evaluation."""
    of_caches = ("AUSUC", "best H", "oracle gamma")
    header = [*PLACE, "protocol", "evaluation", "step", *SCORES.values(), "H 95 %", *of_caches, "n"]
    rows = [
        [*g.place, g.protocol, *_score_cells(g, evaluation)]
        for g in groups
        for evaluation in g.evaluations
    ]
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
            notes.append(
                f"CAUTION: the seeds of {group} were run by {len(code)} versions of the code."
            )
    return Table("scores", "Scores", header, rows, notes)


def protocol_table(groups: Sequence[Group]) -> Table:
    """The two ways to report side by side: the peak on the test splits, and the last step."""
    by_place: dict[tuple[str, ...], dict[str, Group]] = {}
    for group in groups:
        if group.stage == "test":
            by_place.setdefault(group.place, {})[group.protocol] = group
    rows: list[list[Cell]] = []
    for place, protocols in by_place.items():
        peak = next(
            (group for group in protocols.values() if "peak_harmonic_mean" in group.evaluations),
            None,
        )
        last = next(
            (group for _, group in sorted(protocols.items()) if "last" in group.evaluations), None
        )  # honest
        if peak and last:
            rows.append(
                [
                    *place,
                    *_reported(peak, "peak"),
                    *_reported(last, "last"),
                    last.protocol,
                    len(peak.runs),
                ]
            )
    columns = [f"{kind} {name}" for kind in REPORTED for name in SCORES.values()]
    header = [*PLACE, *columns, "last step of", "n"]
    notes = [
        f"{_PEAKS} T1 and H have their peaks at different steps; U and S are those of the peak H."
    ]
    return Table(
        "protocols", "Peak on test (paper) beside the last step (honest)", header, rows, notes
    )


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
    header = [
        *PLACE,
        "protocol",
        "score",
        *SOURCES,
        "ours",
        "95 %",
        *(f"against {name}" for name in SOURCES),
        "n",
    ]
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
        rows.append([*group.place, group.protocol, seeds, code, devices, time, len(results)])
    header = [*PLACE, "protocol", "seeds", "code", "device", "wall time in all", "n"]
    return Table("runs", "Runs", header, rows)


def _reproduction_row(
    group: Group, reported: str, score: str, references: Mapping[str, Reference | None]
) -> list[Cell]:
    summary = group.summary(REPORTED[reported][score], score)
    assert summary is not None
    theirs = [
        Share(reference.percent[score] / 100) if reference else None
        for reference in references.values()
    ]
    verdicts = [
        verdict(reference, group, score) if reference else None for reference in references.values()
    ]
    protocol = {"peak": "paper: peak on test", "last": "honest: last step"}[reported]
    return [
        *group.place,
        protocol,
        SCORES[score],
        *theirs,
        summary,
        summary.interval,
        *verdicts,
        summary.n,
    ]


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
