"""Tables of the attention scores of runs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msdn_lit.analysis.groups import CONTEXT, Group
from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.analysis.statistics import summarise
from msdn_lit.runs.attention_file import CHANCE, MEASURES, read_attention
from msdn_lit.runs.layout import LAST
from msdn_lit.runs.reader import Run

_COLUMNS = [column for name in MEASURES for column in (name.replace("_", " "), "chance")]
_HEADER = ["sub-net", *_COLUMNS, "pairs", "n"]
_NOTES = (
    "Percent, over pairs of an evaluated image and an attribute that its class has. Pointing game: "
    "the region with the most attention touches the attribute's part. Energy inside: the share of "
    "attention inside the part.",
    "Against parts or keypoints: the attribute's own location; against boxes: the whole bird. "
    "Chance: uniform attention.",
    "n: the runs that were measured at the same evaluation and against the same.",
    "The attention of visual to attribute sums to one over a region's attributes, not over the "
    "regions: a region without a clear attribute adds more attention to an attribute than a region "
    "that clearly shows another one.",
)


Measured = Mapping[Path, dict[str, Any]]
OfGroup = tuple[Group, list[dict[str, Any]]]  # a group and what was measured of its runs


def attention_tables(groups: Sequence[Group], measured: Measured | None = None) -> list[Table]:
    """Returns the tables of the groups' attention scores; none if no run has any.

    Args:
        groups: Groups of runs.
        measured: Contents by run folder that count instead of the runs' files.
    """
    of_groups = [(group, _attention_of(group, measured or {})) for group in groups]
    tables = (attention_table(of_groups), part_table(of_groups))
    return [table for table in tables if table.rows]


def attention_table(of_groups: Sequence[OfGroup]) -> Table:
    """One row for each sub-net of each group with attention scores, beside chance."""
    rows: list[list[Cell]] = []
    for group, runs in of_groups:
        rows += [[*group.context, runs[0]["against"], *cells] for cells in _cells(runs)]
    header = [*CONTEXT, "against", *_HEADER]
    return Table("attention", "Attention localisation", header, rows, _NOTES)


def part_table(of_groups: Sequence[OfGroup]) -> Table:
    """The same for the attributes of each part, if attributes have locations of their own."""
    rows: list[list[Cell]] = []
    for group, runs in of_groups:
        for part in runs[0]["parts"] if runs and runs[0]["against"] != "boxes" else ():
            of_part = [content["parts"][part] for content in runs if part in content["parts"]]
            rows += [[*group.context, part, *cells] for cells in _cells(of_part)]
    header = [*CONTEXT, "part", *_HEADER]
    return Table("attention_parts", "Attention localisation by part", header, rows)


def _attention_of(group: Group, measured: Measured) -> list[dict[str, Any]]:
    """Contents of the attention.json of the runs of a group whose scores compare.

    They are of the same evaluation and were compared with the same: those of most runs, of the last
    step if there are as many of another evaluation.
    """
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in group.runs:
        content = measured.get(run.folder) or read_attention(run.folder, run.scores)
        if content is None:
            continue
        for evaluation in _evaluations(run, content):
            kinds.setdefault((content["against"], evaluation), []).append(content)
    return max(kinds.items(), key=_preference)[1] if kinds else []


def _preference(kind: tuple[tuple[str, str], list[dict[str, Any]]]) -> tuple[object, ...]:
    (against, evaluation), contents = kind
    return len(contents), evaluation == LAST, against, evaluation


def _evaluations(run: Run, content: Mapping[str, Any]) -> list[str]:
    """Returns the evaluations of the model that was measured, or its step if it is of none.

    Older files do not know the step; they count for the last one.
    """
    step = content.get("step", run.scores.get(LAST, {}).get("step"))
    names = [name for name, scores in run.scores.items() if scores["step"] == step]
    return names or [f"step {step}"]


def _cells(runs: Sequence[Mapping[str, Any]]) -> Iterator[list[Cell]]:
    """For each sub-net: its measures over the runs beside chance, pairs per run, number of runs."""
    for subnet in runs[0]["scores"] if runs else ():
        if subnet == CHANCE:
            continue
        cells: list[Cell] = []
        for measure in MEASURES:
            scores = [run["scores"] for run in runs]
            values = [of_run[subnet][measure] for of_run in scores if subnet in of_run]
            cells += [summarise(values), Share(scores[0][CHANCE][measure])]
        yield [subnet.replace("_", " "), *cells, runs[0]["pairs"], len(runs)]
