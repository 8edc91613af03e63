"""A result as text: its title, its rows and its page. Scores are in percent."""

from collections.abc import Mapping
from typing import Any

import yaml

from msdn_lit.runs.layout import SCORES


def partial(result: Mapping[str, Any]) -> str:
    """Returns why a result is not one of a whole training and all images; "" if it is."""
    return str(result.get("partial") or "")


def result_title(result: Mapping[str, Any]) -> str:
    """Returns the title of a result.json: benchmark, features, model, protocol, seed, warnings."""
    model = result["choices"].get("model")
    parts = (result["benchmark"], result["features"], model, f"{result['protocol']} protocol")
    variant = result["data"].get("split_variant", "")
    warnings = [f"UNOFFICIAL SPLIT ({variant})"] if variant.startswith("unknown") else []
    if "semi_synthetic" in result["data"].get("features", {}):
        warnings.append("SEMI-SYNTHETIC FEATURES")
    if reason := partial(result):
        warnings.append(f"PARTIAL ({reason})")
    return ", ".join([*filter(None, parts), f"seed {result['seed']}", *warnings])


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
    """Returns an evaluation's readable name, e.g. "peak T1 on test" for "peak_acc_czsl"."""
    labels = {"last": "last step"}
    labels |= {f"peak_{score}": f"peak {name} on {stage}" for score, name in SCORES.items()}
    return labels.get(evaluation, evaluation)


def result_page(result: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Returns the whole record as Markdown: scores, command, data, versions and config."""
    header = ["", "step", *SCORES.values()]
    lines = [f"# {result_title(result)}", "", *_markdown_table(header, result_rows(result)), ""]
    if result.get("warning"):
        lines.append(f"- warning: {result['warning']}")
    lines += [f"- command: `{result['command']}`", f"- code: {result['code']}"]
    lines += [f"- device: {result['device']}"]
    memory = _pairs(result["peak_memory_gb"])
    since = f" from step {first} on" if (first := result.get("first_step")) else ""
    lines += [f"- wall time: {result['wall_time_s']} s{since}; peak memory (GB): {memory}"]
    lines += [f"- data: {_pairs(result['data'])}", f"- versions: {_pairs(result['versions'])}"]
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).rstrip()
    return "\n".join([*lines, "", "```yaml", text, "```", ""])


def _markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table with text in the first column and numbers in the others."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def _row(label: str, scores: Mapping[str, float]) -> list[str]:
    values = [f"{100 * scores[score]:.1f}" if score in scores else "" for score in SCORES]
    return [label, str(scores.get("step", "")), *values]


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
