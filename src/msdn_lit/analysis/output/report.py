"""The tables of a report: scores of groups of runs, beside published numbers."""

from collections.abc import Iterator, Mapping, Sequence

from msdn_lit.analysis.groups import CONTEXT, Group, usual_of, wall_time
from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.analysis.output.reporting import reporting_table
from msdn_lit.analysis.references import (
    PUBLISHED_RECIPES,
    REPORTED,
    SOURCES,
    Reference,
    find_reference,
    verdict,
)
from msdn_lit.analysis.statistics import summarise
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.summary import evaluation_label

_PEAKS = (
    "A peak on test is the best of all evaluations on the test splits, as papers report; the test "
    "set chose it."
)


def report_tables(groups: Sequence[Group], base: Group | None = None) -> list[Table]:
    """Returns all tables of some groups; tables without rows are left out.

    Args:
        groups: Groups of runs.
        base: The group after whose settings the others are named.
    """
    makers = (reporting_table, protocol_table, run_table, reproduction_table)
    tables = [score_table(groups, base), *(make(groups) for make in makers)]
    return [table for table in tables if table.rows]


def score_table(groups: Sequence[Group], base: Group | None = None) -> Table:
    """One row for each group and reported evaluation."""
    header = [*CONTEXT, "protocol", "evaluation", "step", *SCORES.values(), "H 95 %"]
    header += ["AUSUC", "oracle H", "oracle calibration", "n"]
    rows = [
        [*group.context, group.protocol, *_score_cells(group, evaluation)]
        for group in groups
        for evaluation in group.evaluations
    ]
    notes = [
        "Percent: mean ± standard deviation over n runs that differ only in their seed; (n=...) if "
        "fewer runs have the score. H 95 %: Student's t interval of the mean.",
        _PEAKS,
    ]
    if any(run.curves for group in groups for run in group.runs):
        notes.append(
            "AUSUC: area under the seen-unseen curve. Oracle H: the largest H of that curve, at "
            "the oracle calibration (mean over the runs), which is chosen on the evaluated images: "
            "an upper bound and no result."
        )
    notes += usual_of(groups, base)
    notes += dict.fromkeys(note for group in groups for note in backbones(group))
    notes += [caution for group in groups for caution in cautions(group)]
    return Table("scores", "Scores", header, rows, notes)


def backbones(group: Group) -> Iterator[str]:
    """Yields a sentence for each way in which a backbone was trained for a group's runs."""
    for run in group.runs:
        for stated in run.result["data"].get("features", {}).get("fine_tuned", ()):
            yield f"{group.features}: backbone {stated}."
        trained = (run.result.get("backbone") or {}).get("trained")
        if trained:
            yield f"{group}: trained through the backbone ({trained}), on seen classes."


def cautions(group: Group) -> Iterator[str]:
    """Yields a sentence for everything in which the seeds of a group should not differ."""
    results = [run.result for run in group.runs]
    code = {result["code"] for result in results}
    if len(code) > 1:
        yield f"CAUTION: the seeds of {group} were run by {len(code)} versions of the code."
    features = {result["data"].get("regions_sha256") for result in results} - {None}
    if len(features) > 1:
        extractions = f"{len(features)} extractions of the features"
        yield f"CAUTION: the seeds of {group} were trained on {extractions}."


def protocol_table(groups: Sequence[Group]) -> Table:
    """The two ways to report side by side: the peak on the test splits, and the last step."""
    by_context: dict[tuple[str, ...], dict[str, Group]] = {}
    for group in groups:
        if group.stage == "test":
            by_context.setdefault(group.context, {})[group.protocol] = group
    rows: list[list[Cell]] = []
    for context, protocols in by_context.items():
        peak = _first_with("peak_harmonic_mean", list(protocols.values()))
        last = _first_with("last", [group for _, group in sorted(protocols.items())])
        if peak and last:
            cells = [*_reported(peak, "peak"), *_reported(last, "last")]
            rows.append([*context, *cells, last.protocol, len(peak.runs)])
    columns = [f"{kind} {name}" for kind in REPORTED for name in SCORES.values()]
    header = [*CONTEXT, *columns, "last step of", "n"]
    note = f"{_PEAKS} T1 and H peak at different steps; U and S are those of the peak of H."
    title = "Peak on test (paper) beside the last step (honest)"
    return Table("protocols", title, header, rows, [note])


def reproduction_table(groups: Sequence[Group]) -> Table:
    """Published numbers, those of the released code, and ours under both protocols, with verdicts.

    Only groups that ran a recipe of the published numbers count, e.g. experiment=cub_gzsl.
    """
    rows: list[list[Cell]] = []
    for group in groups:
        if group.stage != "test" or group.recipe not in PUBLISHED_RECIPES:
            continue
        for reported, evaluations in REPORTED.items():
            references = {source: find_reference(source, group, reported) for source in SOURCES}
            scores = [score for score in SCORES if group.having(evaluations[score])]
            rows += [_reproduction_row(group, reported, score, references) for score in scores]
    header = [*CONTEXT, "protocol", "score", *SOURCES, "ours", "95 %"]
    header += [*(f"against {name}" for name in SOURCES), "n"]
    note = (
        "Published: ResNet-101 at 448 px, peak on test, one seed; within: at most 1 point from it. "
        "Released code: on this backbone, images at their original size, seed 214; within: at most "
        "2 points from it, for our run of that seed (which is then named) or else for our mean. "
        "95 %: Student's t interval of our mean over n seeds."
    )
    return Table("reproduction", "Reproduction", header, rows, [note])


def run_table(groups: Sequence[Group]) -> Table:
    """Seeds, code, devices and time of the runs of each group."""
    rows: list[list[Cell]] = []
    for group in groups:
        results = [run.result for run in group.runs]
        code = ", ".join(sorted({result["code"][:12] for result in results}))
        devices = ", ".join(sorted({result["device"] for result in results}))
        time = f"{wall_time(group.runs) / 60:.0f} min"
        seeds = " ".join(str(run.seed) for run in group.runs)
        rows.append([*group.context, group.protocol, seeds, code, devices, time, len(results)])
    header = [*CONTEXT, "protocol", "seeds", "code", "device", "wall time in all", "n"]
    return Table("runs", "Runs", header, rows)


def _reproduction_row(
    group: Group, reported: str, score: str, references: Mapping[str, Reference | None]
) -> list[Cell]:
    summary = group.summary(REPORTED[reported][score], score)
    assert summary is not None
    theirs: list[Cell] = []
    verdicts: list[Cell] = []
    for reference in references.values():
        theirs.append(Share(reference.percent[score] / 100) if reference else None)
        verdicts.append(verdict(reference, group, score) if reference else None)
    protocol = {"peak": "paper: peak on test", "last": "honest: last step"}[reported]
    cells = [protocol, SCORES[score], *theirs, summary, summary.interval, *verdicts, summary.n]
    return [*group.context, *cells]


def _score_cells(group: Group, evaluation: str) -> list[Cell]:
    """Label, step, scores, and the values of the score caches."""
    runs = group.having(evaluation)
    steps = sorted({int(run.scores[evaluation]["step"]) for run in runs})
    step = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    scores = [group.summary(evaluation, score) for score in SCORES]
    curves = [run.curves[evaluation] for run in runs if evaluation in run.curves]
    ausuc, H, oracle = map(summarise, zip(*curves, strict=True)) if curves else (None, None, None)
    interval = scores[-1].interval if scores[-1] else None
    label = evaluation_label(evaluation, group.stage)
    return [label, step, *scores, interval, ausuc, H, oracle and oracle.mean, len(runs)]


def _first_with(evaluation: str, groups: Sequence[Group]) -> Group | None:
    return next((group for group in groups if evaluation in group.evaluations), None)


def _reported(group: Group, kind: str) -> list[Cell]:
    return [group.summary(REPORTED[kind][score], score) for score in SCORES]
