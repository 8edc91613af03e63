"""A result as a table and as a page: percent, one decimal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from msdn_lit.runs.layout import SCORES


def result_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Returns one row per reported evaluation and one for chance: name, step, T1, U, S, H.

    Args:
        result: Content of a result.json.
    """
    stage = result["stage"]
    rows = [
        _row(evaluation_label(name, stage), scores) for name, scores in result["scores"].items()
    ]
    return [*rows, _row("chance", result["chance"])]


def evaluation_label(evaluation: str, stage: str) -> str:
    """Returns an evaluation's name for people, e.g. "peak T1 on test" for "peak_acc_czsl"."""
    labels = {"last": "last step"}
    labels |= {f"peak_{score}": f"peak {name} on {stage}" for score, name in SCORES.items()}
    return labels.get(evaluation, evaluation)


def result_table(result: Mapping[str, Any]) -> Table:
    """Returns the result as a table for the terminal."""
    table = Table(title=f"{_title(result)} (%)", title_justify="left")
    table.add_column("")
    for name in ("step", *SCORES.values()):
        table.add_column(name, justify="right")
    for row in result_rows(result):
        table.add_row(*row)
    return table


def result_markdown(result: Mapping[str, Any], config: str) -> str:
    """Returns the whole record as Markdown: scores, command, data, versions and config."""
    header = ["", "step", *SCORES.values()]
    lines = [f"# {_title(result)}", "", *markdown_table(header, result_rows(result)), ""]
    lines += [f"- command: `{result['command']}`", f"- code: {result['code']}"]
    lines += [f"- device: {result['device']}"]
    memory = _pairs(result["peak_memory_gb"])
    lines += [f"- wall time: {result['wall_time_s']} s; peak memory (GB): {memory}"]
    lines += [f"- data: {_pairs(result['data'])}", f"- versions: {_pairs(result['versions'])}"]
    return "\n".join([*lines, "", "```yaml", config.rstrip(), "```", ""])


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def _row(label: str, scores: Mapping[str, float]) -> list[str]:
    values = [f"{100 * scores[score]:.1f}" if score in scores else "" for score in SCORES]
    return [label, str(scores.get("step", "")), *values]


def _title(result: Mapping[str, Any]) -> str:
    model = result["choices"].get("model")
    parts = (result["benchmark"], result["features"], model, f"{result['protocol']} protocol")
    variant = result["data"].get("split_variant", "")
    warnings = [f"UNOFFICIAL SPLIT ({variant})"] if variant.startswith("unknown") else []
    if "semi_synthetic" in result["data"].get("features", {}):
        warnings.append("SEMI-SYNTHETIC FEATURES")
    return ", ".join([*filter(None, parts), f"seed {result['seed']}", *warnings])


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
