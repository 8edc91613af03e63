"""msdn report: tables, figures, comparisons and records of runs."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.commands._arguments import Parser, add_figures, run_command, score_columns
from msdn_lit.errors import CheckpointError, some
from msdn_lit.files import make_folder, write_atomically
from msdn_lit.runs.layout import FIGURE_FORMATS

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from msdn_lit.analysis.figures.captions import NamedFigure
    from msdn_lit.analysis.groups import Group
    from msdn_lit.analysis.output.formats import Table
    from msdn_lit.runs.reader import Run, RunScan

EXAMPLES = (
    "msdn report logs",
    "msdn report logs --output report --figures pdf",
    "msdn report logs --format latex --columns T1,U,S,H",
    "msdn report logs/full logs/ablated --compare",
    "msdn report logs/ablations --against logs/full",
    "msdn report logs --record experiments/2026-11-24_cub_ablation",
    "msdn report --index experiments",
)
_ENDINGS = {"md": "md", "latex": "tex", "html": "html", "csv": "csv"}


def main() -> None:
    """Reports."""
    run_command("msdn report", run, is_result=True)


def run(words: Sequence[str]) -> None:
    """Prints or writes tables, figures and records of runs.

    Raises:
        UserError: The command line is not valid, or there is no finished run.
    """
    options = _parse(words)
    if options.index:
        from msdn_lit.analysis.output.records import write_index

        write_index(options.index)
        print(options.index / "README.md")
        return
    groups, tables, left_out = _read(options)
    if not options.record:
        _show([*tables, *left_out], groups, options)
        return
    from msdn_lit.analysis.output.records import write_record

    write_record(options.record, groups, tables, _figures(groups, options))
    index = f"msdn report --index {options.record.parent} adds it to the index."
    print(f"{options.record} is written; {index}")
    if left_out:
        from msdn_lit.analysis.output import formats

        print("\n".join(["", *formats.markdown_lines(left_out[0])]))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = (
        "Tables, figures, comparisons and records of runs. Runs that differ only in their seed\n"
        "form a group, one row of the tables."
    )
    parser = Parser("msdn report", description, EXAMPLES)
    option = parser.add_argument
    text = "run folders, or folders that contain some at any depth"
    option("paths", nargs="*", type=Path, metavar="PATH", help=text)
    text = "output format; html is one page with all figures (default: %(default)s)"
    option("--format", choices=list(_ENDINGS), default="md", help=text)
    option("--output", type=Path, metavar="DIR", help="write files there instead of printing")
    text = "also report runs of fewer batches or images than their settings say"
    option("--partial", action="store_true", help=text)
    add_figures(parser, "also draw figures, which needs --output")
    text = "scores of the LaTeX table, in this order, e.g. T1,U,S,H,AUSUC (default: T1,U,S,H)"
    option("--columns", type=score_columns, metavar="NAMES", help=text)
    text = "class names for the figures, one a line, by class id"
    option("--class-names", type=Path, metavar="FILE", help=text)
    pairing = parser.add_mutually_exclusive_group().add_argument
    text = "compare the groups of two paths by their seeds and test images"
    pairing("--compare", action="store_true", help=text)
    text = "compare every group with the group of PATH"
    pairing("--against", type=Path, metavar="PATH", help=text)
    text = "write a dated record, e.g. experiments/2026-11-24_cub_ablation"
    option("--record", type=Path, metavar="DIR", help=text)
    text = "write DIR/README.md, the index of all records"
    option("--index", type=Path, nargs="?", const="experiments", metavar="DIR", help=text)
    options = parser.parse_args(words)
    if bool(options.paths) == bool(options.index) or (options.index and options.against):
        parser.error("name run folders, or --index alone")
    if options.compare and len(options.paths) != 2:
        parser.error(f"--compare takes two paths, not {len(options.paths)}")
    if options.record and options.output:
        parser.error("--record and --output are two commands")
    if options.record and options.partial:
        parser.error("--record takes no partial runs")
    if options.columns and options.format != "latex":
        parser.error("--columns needs --format latex")
    if options.figures is not None and not options.output:
        parser.error("--figures needs --output DIR")
    return options


def _read(options: argparse.Namespace) -> "tuple[list[Group], list[Table], list[Table]]":
    """The groups, their tables, and a table of what was left out, if anything was.

    Raises:
        UserError: There is no finished run, or those to compare do not compare.
    """
    from msdn_lit.analysis.comparison import against_table, comparison_table
    from msdn_lit.analysis.groups import (
        group_runs,
        groups_with_base,
        pair_of_groups,
        without_partial,
    )
    from msdn_lit.analysis.output.report import report_tables
    from msdn_lit.attention.tables import attention_tables
    from msdn_lit.runs.reader import find_runs

    base = [options.against] if options.against else []
    scans = [[path] for path in options.paths] if options.compare else [[*base, *options.paths]]
    found = [find_runs(paths) for paths in scans]
    partial: list[Run] = []
    if not options.partial:
        separated = [without_partial(scan) for scan in found]
        found = [whole for whole, _ in separated]
        partial = [run for _, runs in separated for run in runs]
    if not any(part.runs for part in found):
        faults = [fault for part in found for fault in part.faults]
        reasons = [f"{sum(len(part.unfinished) for part in found)} unfinished"]
        if partial:
            reasons.append(f"{len(partial)} partial (--partial reports them)")
        reason = some([*reasons, *faults])
        raise CheckpointError(
            "There is no finished run", found=reason, action="Name folders that msdn train wrote."
        )
    compared: list[Table] = []
    repeated: list[str] = []
    if options.compare:
        groups = list(pair_of_groups(found[0].runs, found[1].runs))
        compared = [comparison_table(*groups)]
    elif base:
        in_base = find_runs(base)  # they come first
        size = len((in_base if options.partial else without_partial(in_base)[0]).runs)
        first, groups, repeated = groups_with_base(found[0].runs[:size], found[0].runs[size:])
        compared = [against_table(first, groups)]
    else:
        groups, repeated = group_runs(found[0].runs)
    tables = [*compared, *report_tables(groups), *attention_tables(groups)]
    return groups, tables, _left_out(found, partial, repeated)


def _left_out(
    found: "Iterable[RunScan]", partial: "Iterable[Run]", repeated: Iterable[str]
) -> "list[Table]":
    from msdn_lit.analysis.output.formats import Table

    rows = [["unfinished", str(folder)] for part in found for folder in part.unfinished]
    rows += [["partial", f"{run.folder} ({run.result['partial']})"] for run in partial]
    rows += [["damaged", fault] for part in found for fault in part.faults]
    rows += [["repeated", sentence] for sentence in repeated]
    return [Table("left_out", "Left out", ["why", "what"], rows)] if rows else []


def _show(
    tables: "Sequence[Table]", groups: "Sequence[Group]", options: argparse.Namespace
) -> None:
    """Prints the tables, or writes them and the figures."""
    from msdn_lit.analysis.figures.captions import save_figures
    from msdn_lit.analysis.output import formats
    from msdn_lit.analysis.output.latex import latex

    figures: list[formats.SavedFigure] = []
    if options.output:
        make_folder(options.output)
    if options.figures is not None:
        ending = options.figures or ("pdf" if options.format == "latex" else FIGURE_FORMATS[0])
        figures = save_figures(_figures(groups, options), options.output, ending)
    if options.format == "csv":
        pages = {table.slug: formats.comma_separated(table) for table in tables}
    elif options.format == "html":
        pages = {"report": _page(tables, groups, options)}
    elif options.format == "latex":
        pages = {"report": latex(tables, groups, figures, options.columns)}
    else:
        pages = {"report": formats.markdown(tables, "Results", figures)}
    if not options.output:
        print("\n".join(pages.values()), end="")
        return
    for name, text in pages.items():
        path = options.output / f"{name}.{_ENDINGS[options.format]}"
        write_atomically(path, text)
        print(path)


def _page(tables: "Sequence[Table]", groups: "Sequence[Group]", options: argparse.Namespace) -> str:
    from msdn_lit.analysis.output.page import report_page

    title = f"Results of {', '.join(path.resolve().name for path in options.paths)}"
    return report_page(title, groups, tables, _class_names(options), options.output or Path())


def _figures(groups: "Sequence[Group]", options: argparse.Namespace) -> "Iterator[NamedFigure]":
    from msdn_lit.analysis.figures.report_figures import report_figures

    return report_figures(groups, _class_names(options))


def _class_names(options: argparse.Namespace) -> list[str] | None:
    from msdn_lit.runs.score_cache import read_class_names

    return read_class_names(options.class_names) if options.class_names else None


if __name__ == "__main__":
    main()
