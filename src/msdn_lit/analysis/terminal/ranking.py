"""The report on a terminal: groups of runs from best to worst, and what a reader should know."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from rich.console import Console
from rich.text import Text

from msdn_lit.analysis.filters import date_of, minutes_of
from msdn_lit.analysis.groups import Group, usual_of
from msdn_lit.analysis.output.formats import Cell, Table, without_columns
from msdn_lit.analysis.output.report import cautions
from msdn_lit.analysis.output.tables import terminal
from msdn_lit.analysis.references import REFERENCES, REPORTED
from msdn_lit.analysis.settings import COLUMNS, NO_SETTING, is_below
from msdn_lit.analysis.statistics import summarise
from msdn_lit.analysis.terminal.tables import print_table
from msdn_lit.runs.layout import SCORES

_ORDER = {"H": "harmonic_mean", "U": "acc_unseen", "S": "acc_seen", "T1": "acc_czsl"}
_TITLE = (*COLUMNS, "trainer")  # groups in the title, or of the machine
_OF_SWEEPS = ("hydra", "trial_launcher", "hparams_search")
_MAX_LEFT_OUT = 8
# Columns of what groups are sorted by, if it has none anyway.
_FURTHER: Mapping[str, Callable[[Group], Cell]] = {
    "time": lambda group: f"{minutes_of(group):.1f} min",
    "date": lambda group: f"{datetime.fromtimestamp(date_of(group)):%Y-%m-%d %H:%M}",
}


def print_report(
    groups: Sequence[Group],
    comparisons: Sequence[Table],
    others: Sequence[Table],
    left_out: Table | None,
    *,
    sort: str,
    base: Group | None = None,
) -> None:
    """Prints a report for a terminal of any width from 60 columns on.

    Args:
        groups: Groups in the order of `sort_groups`.
        comparisons: Tables to print first.
        others: Tables to print after the groups; without rows they are left out.
        left_out: Runs that are not in the report, and why.
        sort: Key of `sort_groups`.
        base: Group whose settings are the usual ones.
    """
    console = terminal()
    _print_tables(console, comparisons)
    for _, members in groupby(groups, attrgetter("section")):
        _print_section(console, list(members), sort, base)
    _print_tables(console, others)
    for caution in (sentence for group in groups for sentence in cautions(group)):
        console.print(Text(caution, style="yellow"))
    if left_out:
        _print_left_out(console, left_out)
    more = "All tables: --format markdown. With figures: --format html --output DIR"
    console.print(Text(more, style="dim"))


def _print_tables(console: Console, tables: Sequence[Table]) -> None:
    for table in tables:
        if table.rows:
            print_table(table, console=console)
            console.print()


def _print_section(
    console: Console, groups: Sequence[Group], sort: str, base: Group | None
) -> None:
    """Prints groups whose scores compare: at the last step, and at the peak if it is elsewhere."""
    first = groups[0]
    optional = [name for name in ("AUSUC", "U", "S", "T1") if name != sort]
    title = f"{first.benchmark}, {first.features}, {first.protocol} protocol"
    console.print(Text(title, style="bold"))
    console.print(Text("\n".join(_introduction(groups, base))), end="\n\n")
    print_table(_ranking(groups, "last", sort), optional=optional, console=console)
    peaked = [group for group in groups if _has_peaks(group)]
    if any(_peaks_elsewhere(group) for group in peaked):
        title = f"Peak on {first.stage}: the best evaluation of each run, chosen on these images"
        table = _ranking(peaked, "peak", sort)._replace(title=title)
        console.print()
        print_table(table, optional=optional, console=console)
    elif peaked:
        console.print(Text(f"The peak on {first.stage} is the last step.", style="dim"))
    for line in _references(first):
        console.print(Text(line, style="italic"))
    console.print()


def _introduction(groups: Sequence[Group], base: Group | None) -> Iterator[str]:
    runs = [run for group in groups for run in group.runs]
    steps = {int(run.scores["last"]["step"]) for run in runs if "last" in run.scores}
    at = f"last step ({steps.pop()})" if len(steps) == 1 else "last step"
    spread = ", mean ± standard deviation" if len(runs) > len(groups) else ""
    number = _number(len(runs), "run")
    number = number if len(runs) == 1 else f"{_number(len(groups), 'group')} of {number}"
    yield f"{number}, {at}, percent{spread}"
    same = common_settings(groups) if len(groups) > 1 else []
    if same:
        yield f"All: {' '.join(same)}"
    yield from usual_of(groups, base)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def common_settings(groups: Sequence[Group]) -> list[str]:
    """Returns the settings that were typed for every run, as overrides."""
    typed = [
        [word for word in shlex.split(str(run.result.get("command", ""))) if _is_setting(word)]
        for group in groups
        for run in group.runs
    ]
    return [word for word in typed[0] if all(word in words for words in typed)]


def _is_setting(word: str) -> bool:
    key = word.partition("=")[0].lstrip("+~")
    is_other = key in _TITLE or is_below(key.replace("/", "."), (*NO_SETTING, *_OF_SWEEPS))
    return "=" in word and not is_other


def _ranking(groups: Sequence[Group], kind: str, sort: str) -> Table:
    """One row for each group, at the last step or at the peaks ("last" or "peak")."""
    evaluations = REPORTED[kind]
    rows: list[tuple[float, list[Cell]]] = []
    for group in groups:
        scores = {name: group.summary(evaluations[score], score) for name, score in _ORDER.items()}
        areas = [
            run.curves[evaluations["harmonic_mean"]].ausuc
            for run in group.runs
            if evaluations["harmonic_mean"] in run.curves
        ]
        scores["AUSUC"] = summarise(areas) if areas else None
        summary = scores.get(sort)
        cells: list[Cell] = [group.name, *scores.values(), *_further(group, sort)]
        rows.append((-summary.mean if summary else 0.0, [*cells, len(group.runs)]))
    if sort in (*_ORDER, "AUSUC"):
        rows.sort(key=lambda row: row[0])
    header = ["settings", *_ORDER, "AUSUC", *([sort] if sort in _FURTHER else []), "n"]
    has_areas = any(cells[header.index("AUSUC")] for _, cells in rows)
    table = Table(kind, "", header, [cells for _, cells in rows])
    return table if has_areas else without_columns(table, ["AUSUC"])


def _further(group: Group, sort: str) -> list[Cell]:
    """The cell of what the groups are sorted by, if it has no column anyway."""
    return [_FURTHER[sort](group)] if sort in _FURTHER else []


def _has_peaks(group: Group) -> bool:
    return set(REPORTED["peak"].values()) <= set(group.evaluations)


def _peaks_elsewhere(group: Group) -> bool:
    return any(
        group.summary(REPORTED["peak"][score], score) != group.summary("last", score)
        for score in SCORES
    )


def _references(group: Group) -> Iterator[str]:
    """Yields a line for each reference of the benchmark that can stand beside a group."""
    for reference in REFERENCES:
        is_benchmark = reference.benchmark == group.runs[0].result["benchmark"]
        is_same = reference.features == group.features
        if group.stage == "test" and is_benchmark and (is_same or reference.source == "published"):
            scores = "  ".join(f"{n} {reference.percent[score]}" for n, score in _ORDER.items())
            kind = {"peak": "peak on test", "last": "last step"}[reference.reported]
            backbone = "" if is_same else f", {reference.features}"
            yield f"{reference.source}, {kind}{backbone}:  {scores}"


def _print_left_out(console: Console, table: Table) -> None:
    console.print(Text("Left out", style="bold"))
    for why, what in table.rows[:_MAX_LEFT_OUT]:
        console.print(Text(f"{why}: {what}", style="yellow"))
    rest = len(table.rows) - _MAX_LEFT_OUT
    if rest > 0:
        console.print(Text(f"and {rest} more; --format markdown lists all", style="yellow"))
