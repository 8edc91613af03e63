"""Results as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.summary import result_rows, result_title


def terminal() -> Console:
    """Returns a console that prints names as they are: brackets and colons are no markup."""
    return Console(markup=False, emoji=False, highlight=False)


def result_table(result: Mapping[str, Any]) -> Table:
    """Returns a result as a table: one row per evaluation, scores in percent.

    Args:
        result: Content of a result.json.
    """
    table = Table(title=f"{result_title(result)} (%)", title_justify="left")
    table.add_column("")
    for name in ("step", *SCORES.values()):
        table.add_column(name, justify="right")
    for row in result_rows(result):
        table.add_row(*row)
    return table
