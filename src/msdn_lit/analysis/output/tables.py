"""Results as tables for people: percent, one decimal, what was measured in words."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

SCORES = {"acc_czsl": "T1", "acc_unseen": "U", "acc_seen": "S", "harmonic_mean": "H"}


def result_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """One row per evaluation worth reporting and one for chance: name, step, T1, U, S, H.

    Args:
        result: Content of a result.json.
    """
    rows = [
        _row(evaluation_label(name, result["stage"]), scores)
        for name, scores in result["scores"].items()
    ]
    return [*rows, _row("chance", result["chance"])]


def evaluation_label(evaluation: str, stage: str) -> str:
    """What an evaluation is called: "peak_acc_czsl" is the "peak T1 on test" where the stage is "test"."""
    labels = {"last": "last step"} | {
        f"peak_{score}": f"peak {name} on {stage}" for score, name in SCORES.items()
    }
    return labels.get(evaluation, evaluation)


def result_table(result: Mapping[str, Any]) -> Table:
    """The result as a table for the terminal."""
    table = Table(title=f"{_title(result)} (%)", title_justify="left")
    table.add_column("")
    for name in ("step", *SCORES.values()):
        table.add_column(name, justify="right")
    for row in result_rows(result):
        table.add_row(*row)
    return table


def result_markdown(result: Mapping[str, Any], config: str) -> str:
    """The whole record as a page: scores, command, data, versions and config."""
    header = ["", "step", *SCORES.values()]
    lines = [f"# {_title(result)}", "", *markdown_table(header, result_rows(result)), ""]
    lines += [
        f"- command: `{result['command']}`",
        f"- code: {result['code']}",
        f"- device: {result['device']}",
    ]
    lines += [
        f"- wall time: {result['wall_time_s']} s; peak memory (GB): {_pairs(result['peak_memory_gb'])}"
    ]
    lines += [f"- data: {_pairs(result['data'])}", f"- versions: {_pairs(result['versions'])}"]
    return "\n".join([*lines, "", "```yaml", config.rstrip(), "```", ""])


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table whose first column is text and the others numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def _row(label: str, scores: Mapping[str, float]) -> list[str]:
    values = [f"{100 * scores[score]:.1f}" if score in scores else "" for score in SCORES]
    return [label, str(scores.get("step", "")), *values]


def _title(result: Mapping[str, Any]) -> str:
    parts = (
        result["benchmark"],
        result["features"],
        result["choices"].get("model"),
        f"{result['protocol']} protocol",
    )
    variant = result["data"].get("split_variant", "")
    warning = [f"UNOFFICIAL SPLIT ({variant})"] if variant.startswith("unknown") else []
    warning += (
        ["SEMI-SYNTHETIC FEATURES"]
        if "semi_synthetic" in result["data"].get("features", {})
        else []
    )
    return ", ".join([*filter(None, parts), f"seed {result['seed']}", *warning])


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
