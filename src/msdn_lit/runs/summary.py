"""result.json: reading it, and a result as title, rows and page. Scores are in percent there."""

import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.runs.layout import RESULT, SCORES
from msdn_lit.runs.version_0_1 import translate_choices
from msdn_lit.texts import read_text

_NEEDED: Mapping[str, Any] = {
    **dict.fromkeys(("benchmark", "features", "protocol", "stage", "code", "device"), str),
    **dict.fromkeys(("choices", "scores", "data", "versions"), dict),
    **{"seed": int, "wall_time_s": (int, float)},
}
_LARGEST = sys.float_info.max
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|(?<=\])\(")
_LINK_IN_A_RECORD = re.compile(r"\[\w+(?:-\w+)*\]\(\w+(?:-\w+)*\)")  # of the index


def read_result(folder: Path) -> dict[str, Any]:
    """Reads and checks the result.json of a finished run; names of version 0.1 are translated.

    Raises:
        CheckpointError: The file is missing or damaged, or holds scores that are no fractions.
    """
    path = folder / RESULT
    try:
        content = json.loads(read_text(path))
        json.dumps(content, ensure_ascii=False).encode()  # JSON can hold texts that UTF-8 cannot
    except READ_ERRORS as error:
        problem = f"{path} is damaged ({one_line(error)})"
        raise CheckpointError(problem, action="Train again.") from error
    fault = _fault(content)
    if fault:
        raise CheckpointError(f"{path} is damaged: {fault}", action="Train again.")
    result: dict[str, Any] = content
    return result | {"choices": translate_choices(result["choices"])}


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value read from a file is a finite number."""
    if isinstance(value, bool):
        return False
    # whole numbers may be too large for a float
    return isinstance(value, int | float) and -_LARGEST <= value <= _LARGEST


def _fault(result: object) -> str:
    """Returns what is wrong with the content of a result.json; "" for nothing."""
    if not isinstance(result, dict):
        return "expected names and values"
    for name, kind in _NEEDED.items():
        if not isinstance(result.get(name), kind) or (name == "scores" and not result[name]):
            return f"it has no {name}"
    if not all(isinstance(choice, str | None) for choice in result["choices"].values()):
        return "choices are no names"
    for evaluation, scores in result["scores"].items():
        if not isinstance(scores, dict) or not _are_scores(scores):
            return f"scores of {evaluation} are no fractions"
    try:
        shlex.split(str(result.get("command", "")))
    except ValueError as error:
        return f"its command cannot be split ({error})"
    return "" if is_number(result["wall_time_s"]) else "its time is no number"


def _are_scores(scores: Mapping[str, Any]) -> bool:
    numbers: list[Any] = [scores.get(name) for name in ("step", *SCORES)]
    if not all(map(is_number, numbers)):
        return False
    step, *fractions = numbers
    return step >= 0 and all(-1e-6 <= value <= 1 + 1e-6 for value in fractions)


def plain_line(text: str) -> str:
    """Returns a text as one line that cannot change a table or a terminal."""
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in line)


def markdown_text(text: str) -> str:
    """Escapes what Markdown would show as a cell, as HTML, or as a link or image to elsewhere."""
    line = plain_line(text).replace("|", "\\|")
    return line if _LINK_IN_A_RECORD.fullmatch(line) else _MARKUP.sub(r"\\\g<0>", line)


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
    if "fine_tuned" in result["data"].get("features", {}):
        warnings.append("FINE-TUNED BACKBONE")
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
    lines = [
        f"# {markdown_text(result_title(result))}",
        "",
        *_markdown_table(header, result_rows(result)),
        "",
    ]
    if result.get("warning"):
        lines.append(f"- warning: {result['warning']}")
    lines += [f"- command: `{result['command']}`", f"- code: {result['code']}"]
    lines += [f"- device: {result['device']}"]
    memory = _pairs(result["peak_memory_gb"])
    since = f" from step {first} on" if (first := result.get("first_step")) else ""
    lines += [f"- wall time: {result['wall_time_s']} s{since}; peak memory (GB): {memory}"]
    if result.get("backbone"):
        lines.append(f"- backbone: {_pairs(result['backbone'])}")
    lines += [f"- data: {_pairs(result['data'])}", f"- versions: {_pairs(result['versions'])}"]
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).rstrip()
    return "\n".join([*lines, "", "```yaml", text, "```", ""])


def _markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table with text in the first column and numbers in the others."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    escaped = [[markdown_text(cell) for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *escaped)]


def _row(label: str, scores: Mapping[str, float]) -> list[str]:
    values = [f"{100 * scores[score]:.1f}" if score in scores else "" for score in SCORES]
    return [label, str(scores.get("step", "")), *values]


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
