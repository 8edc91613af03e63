"""Results as tables for the terminal."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.summary import result_rows, result_title

_WIDTH_OF_A_PIPE = 1000  # nothing is wrapped or cut in a log


def terminal() -> Console:
    """Returns a console that prints names as they are: brackets and colons are no markup.

    In a pipe or a file, lines are not wrapped.
    """
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    return Console(markup=False, emoji=False, highlight=False, width=width)


def new_table(*columns: str) -> Table:
    """Returns an empty table with frames in a terminal, and only a line below its header in a log.

    Args:
        columns: Names of columns with texts; columns of numbers are added with justify="right".
    """
    frame = box.HEAVY_HEAD if sys.stdout.isatty() else box.SIMPLE_HEAD
    return Table(*columns, box=frame)


def result_table(result: Mapping[str, Any]) -> Table:
    """Returns a result as a table: one row per evaluation, scores in percent.

    Args:
        result: Content of a result.json.
    """
    table = new_table("")
    for name in ("step", *SCORES.values()):
        table.add_column(name, justify="right")
    for row in result_rows(result):
        table.add_row(*row)
    return table


def print_result(result: Mapping[str, Any]) -> None:
    """Prints the title and the table of a result."""
    console = terminal()
    # a title of the table would be wrapped at the width of the table
    console.print(f"{result_title(result)} (%)")
    console.print(result_table(result))


def print_next(*commands: Sequence[str]) -> None:
    """Prints commands that continue from here, quoted for the shell.

    Args:
        commands: Words of each command.
    """
    for number, words in enumerate(commands):
        print_command("     " if number else "Next:", words)


def print_command(label: str, words: Sequence[str]) -> None:
    """Prints a command after a label, quoted for the shell."""
    terminal().print(f"{label} {shlex.join(words)}", soft_wrap=True)
