"""msdn report: tables, figures, comparisons and records of runs."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.commands._arguments import Parser, add_figures, run_command, score_columns
from msdn_lit.files import make_folder, write_atomically
from msdn_lit.runs.layout import FIGURE_FORMATS

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from msdn_lit.analysis.figures.captions import NamedFigure
    from msdn_lit.analysis.groups import Group
    from msdn_lit.analysis.output.formats import SavedFigure, Table
    from msdn_lit.commands._reported import Reported

EXAMPLES = (
    "msdn report logs",
    "msdn report logs --filter optimizer.lr=0.001 --last 10 --sort T1",
    "msdn report logs --output report --figures pdf",
    "msdn report logs --format latex --columns T1,U,S,H",
    "msdn report logs/full logs/ablated --compare",
    "msdn report logs/ablations --against logs/full",
    "msdn report logs --record experiments/2026-11-24_cub_ablation",
    "msdn report --index experiments",
)
_ENDINGS = {"markdown": "md", "latex": "tex", "html": "html", "csv": "csv"}


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
    from msdn_lit.commands._reported import RunChoice, read_groups

    choice = RunChoice(options.partial, options.filter, options.last, options.sort)
    reported = read_groups(options.paths, choice, against=options.against, compare=options.compare)
    if options.record:
        _write_record(reported, options)
    elif options.format == "table":
        _print_report(reported, options.sort)
    else:
        left_out = [reported.left_out] if reported.left_out else []
        _show([*_tables(reported), *left_out], reported.groups, options)


def _print_report(reported: "Reported", sort: str) -> None:
    from msdn_lit.analysis.terminal.ranking import print_report
    from msdn_lit.attention.tables import attention_tables

    groups, base, compared, left_out = reported
    attention = [table._replace(notes=[]) for table in attention_tables(groups)[:1]]
    print_report(groups, compared, attention, left_out, sort=sort, base=base)


def _write_record(reported: "Reported", options: argparse.Namespace) -> None:
    from msdn_lit.analysis.output.records import write_record

    groups = reported.groups
    write_record(options.record, groups, _tables(reported), _figures(groups, options))
    index = f"msdn report --index {options.record.parent} adds it to the index."
    print(f"{options.record} is written; {index}")
    if reported.left_out:
        from msdn_lit.analysis.output import formats

        print("\n".join(["", *formats.markdown_lines(reported.left_out)]))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = (
        "Tables, figures, comparisons and records of runs. Runs that differ only in their seed\n"
        "form a group, one row of the tables."
    )
    parser = Parser("msdn report", description, EXAMPLES)
    option = parser.add_argument
    text = "run folders, or folders that contain some at any depth"
    option("paths", nargs="*", type=Path, metavar="PATH", help=text)
    text = "table (default on a terminal), markdown (default elsewhere), latex, csv, or html: one "
    text += "page with all figures"
    option("--format", choices=["table", *_ENDINGS, "md"], metavar="FORMAT", help=text)
    _add_choices(option)
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
    options.format = _format(options)
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


def _add_choices(option: Callable[..., object]) -> None:
    """Adds the options that choose and sort the runs."""
    text = "T1, U, S, H, AUSUC, n (highest first), name, time, date, or a setting (default: H)"
    option("--sort", default="H", metavar="KEY", help=text)
    option("--last", type=_positive, metavar="N", help="only the N runs that ended last")
    text = "only runs with this setting, e.g. optimizer.lr=0.001; may be repeated"
    option("--filter", action="append", default=[], metavar="KEY=VALUE", help=text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number of runs from 1 on, found {text!r}")
    return int(text)


def _format(options: argparse.Namespace) -> str:
    """The format that is asked for, or the one for where the output goes."""
    if options.format == "md":
        return "markdown"
    is_shown = not (options.output or options.record) and _is_terminal()
    return str(options.format or ("table" if is_shown else "markdown"))


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _tables(reported: "Reported") -> "list[Table]":
    """All tables but that of what was left out."""
    from msdn_lit.analysis.output.report import report_tables
    from msdn_lit.attention.tables import attention_tables

    return [
        *reported.compared,
        *report_tables(reported.groups, reported.base),
        *attention_tables(reported.groups),
    ]


def _show(
    tables: "Sequence[Table]", groups: "Sequence[Group]", options: argparse.Namespace
) -> None:
    """Prints the tables, or writes them and the figures."""
    from msdn_lit.analysis.output import formats

    if options.output:
        make_folder(options.output)
    figures = [] if options.figures is None else _save_figures(groups, options)
    if options.format == "csv":
        pages = {table.slug: formats.comma_separated(table) for table in tables}
    elif options.format == "html":
        pages = {"report": _page(tables, groups, options)}
    elif options.format == "latex":
        from msdn_lit.analysis.output.latex import latex

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


def _save_figures(groups: "Sequence[Group]", options: argparse.Namespace) -> "list[SavedFigure]":
    """Writes the figures with their captions."""
    from msdn_lit.analysis.figures.captions import save_figures

    ending = options.figures or ("pdf" if options.format == "latex" else FIGURE_FORMATS[0])
    return save_figures(_figures(groups, options), options.output, ending)


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
