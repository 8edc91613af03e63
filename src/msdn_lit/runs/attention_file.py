"""attention.json: the attention scores of a run.

It holds what the attention was compared with ("parts", "keypoints" or "boxes"), the evaluated
splits, the number of pairs of an image and an attribute, and the scores of each output of the net
and of chance, over all pairs and over the pairs of each part. "step" is the training step of the
model; older files lack it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msdn_lit.errors import READ_ERRORS
from msdn_lit.files import write_atomically
from msdn_lit.runs.layout import ATTENTION
from msdn_lit.runs.summary import is_number
from msdn_lit.texts import read_text

CHANCE = "chance"  # the scores of uniform attention
MEASURES = ("pointing_game", "energy_inside")


def write_attention(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes attention.json into a run folder."""
    write_atomically(folder / ATTENTION, json.dumps(content, indent=2) + "\n")


def read_attention(
    folder: Path, evaluations: Mapping[str, Mapping[str, float]]
) -> dict[str, Any] | None:
    """Reads attention.json of a run folder; None if it is missing, damaged or of another model.

    Args:
        folder: Run folder.
        evaluations: Reported evaluations of the run, with the training steps of their models.
    """
    try:
        text = read_text(folder / ATTENTION)
        content: dict[str, Any] = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()  # JSON can hold texts that UTF-8 cannot
        content.setdefault("parts", {})  # older files have none
        parts = list(content["parts"].values())
        is_named = isinstance(content["against"], str) and "splits" in content
        is_complete = is_named and all(map(_has_scores, [content, *parts]))
    except READ_ERRORS:
        return None
    steps = [None, *(scores["step"] for scores in evaluations.values())]
    return content if is_complete and content.get("step") in steps else None


def _has_scores(content: Mapping[str, Any]) -> bool:
    """Whether a file or one of its parts has the number of pairs, and all scores with chance."""
    scores = content["scores"]
    is_complete = CHANCE in scores and isinstance(content["pairs"], int)
    values = [of_net[measure] for of_net in scores.values() for measure in MEASURES]
    return is_complete and all(map(is_number, values))
