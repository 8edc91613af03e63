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

FILE = "attention.json"
CHANCE = "chance"  # the scores of uniform attention
MEASURES = ("pointing_game", "energy_inside")


def write_attention(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes attention.json into a run folder."""
    write_atomically(folder / FILE, json.dumps(content, indent=2) + "\n")


def read_attention(
    folder: Path, evaluations: Mapping[str, Mapping[str, float]]
) -> dict[str, Any] | None:
    """Reads attention.json of a run folder; None if it is missing, damaged or of another model.

    Args:
        folder: Run folder.
        evaluations: Reported evaluations of the run, with the training steps of their models.
    """
    try:
        content: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for scores in content["scores"].values():
            assert all(isinstance(scores[measure], float) for measure in MEASURES)
        content.setdefault("parts", {})  # older files have none
        is_complete = {"against", "splits", "pairs"} <= content.keys()
        is_complete = is_complete and CHANCE in content["scores"]
    except READ_ERRORS:
        return None
    steps = [None, *(scores["step"] for scores in evaluations.values())]
    return content if is_complete and content.get("step") in steps else None
