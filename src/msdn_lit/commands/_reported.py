"""The runs of a report: read, chosen, grouped, sorted, compared."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from msdn_lit.analysis.comparison import against_table, comparison_table
from msdn_lit.analysis.filters import filter_runs, latest, sort_groups
from msdn_lit.analysis.groups import (
    Group,
    group_runs,
    groups_with_base,
    pair_of_groups,
    without_partial,
)
from msdn_lit.analysis.output.formats import Table
from msdn_lit.errors import CheckpointError, some
from msdn_lit.runs.reader import Run, RunScan, find_runs


class RunChoice(NamedTuple):
    """Which runs a report has, and their order.

    Attributes:
        partial: Whether runs of fewer batches or images than their settings say count, too.
        filters: Settings that the runs have, "key=value" each.
        last: Number of runs, those that ended last; None for all.
        sort: Key of `sort_groups`.
    """

    partial: bool = False
    filters: Sequence[str] = ()
    last: int | None = None
    sort: str = "H"


class Reported(NamedTuple):
    """The runs of a report.

    Attributes:
        groups: Groups, sorted.
        base: Group with which the others are compared, if one is named.
        compared: Tables of comparisons.
        left_out: Runs that are left out, and why; None if there are none.
    """

    groups: Sequence[Group]
    base: Group | None
    compared: Sequence[Table]
    left_out: Table | None


def read_groups(
    paths: Sequence[Path], choice: RunChoice, *, against: Path | None = None, compare: bool = False
) -> Reported:
    """Reads and groups the runs in some folders, and compares the groups if that is asked for.

    Args:
        paths: Run folders, or folders that contain some at any depth.
        choice: Choice of the runs that count.
        against: Folder of the group with which every other one is compared; `choice` leaves it.
        compare: Whether to compare the groups of two paths.

    Raises:
        UserError: There is no finished run, or those to compare do not compare.
    """
    base = [against] if against else []
    scans = [[path] for path in paths] if compare else [[*base, *paths]]  # the base comes first
    in_base = {run.folder for run in find_runs(base).runs}
    found, partial = _chosen([find_runs(of_scan) for of_scan in scans], choice, in_base)
    if not any(scan.runs for scan in found):
        raise _no_run(found, partial)
    first: Group | None = None
    groups: Sequence[Group]
    repeated: list[str] = []
    compared: list[Table] = []
    if compare:
        groups = pair_of_groups(found[0].runs, found[1].runs)
        compared = [comparison_table(*groups)]
    elif against:
        others = [run for run in found[0].runs if run.folder not in in_base]
        of_base = [run for run in found[0].runs if run.folder in in_base]
        first, groups, repeated = groups_with_base(of_base, others)
        compared = [against_table(first, groups)]
    else:
        groups, repeated = group_runs(found[0].runs)
    left_out = _left_out(found, partial, repeated)
    return Reported(sort_groups(groups, choice.sort), first, compared, left_out)


def _chosen(
    found: Sequence[RunScan], choice: RunChoice, in_base: set[Path]
) -> tuple[list[RunScan], list[Run]]:
    """What was found, with the chosen runs and those of the base; the partial runs."""
    partial: list[Run] = []
    if not choice.partial:
        separated = [without_partial(scan) for scan in found]
        found = [whole for whole, _ in separated]
        partial = [run for _, runs in separated for run in runs]
    runs = [run for scan in found for run in scan.runs if run.folder not in in_base]
    runs = filter_runs(runs, choice.filters)
    kept = {run.folder for run in (latest(runs, choice.last) if choice.last else runs)} | in_base
    chosen = [
        scan._replace(runs=[run for run in scan.runs if run.folder in kept]) for scan in found
    ]
    return chosen, partial


def _no_run(found: Sequence[RunScan], partial: Sequence[Run]) -> CheckpointError:
    reasons = [f"{sum(len(scan.unfinished) for scan in found)} unfinished"]
    if partial:
        reasons.append(f"{len(partial)} partial (--partial reports them)")
    faults = [fault for scan in found for fault in scan.faults]
    return CheckpointError(
        "There is no finished run",
        found=some([*reasons, *faults]),
        action="Name folders that msdn train wrote.",
    )


def _left_out(
    found: Iterable[RunScan], partial: Iterable[Run], repeated: Iterable[str]
) -> Table | None:
    rows = [["unfinished", str(folder)] for scan in found for folder in scan.unfinished]
    rows += [["partial", f"{run.folder} ({run.result['partial']})"] for run in partial]
    rows += [["damaged", fault] for scan in found for fault in scan.faults]
    rows += [["repeated", sentence] for sentence in repeated]
    return Table("left_out", "Left out", ["why", "what"], rows) if rows else None
