"""What runs left of their attention's scores: attention.json, and the table of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msdn_lit.analysis.formats import Cell, Share, Table
from msdn_lit.analysis.groups import PLACE, Group
from msdn_lit.analysis.statistics import summarise
from msdn_lit.errors import READ_ERRORS

FILE, CHANCE = "attention.json", "chance"
MEASURES = {"pointing_game": "pointing game", "energy_inside": "energy inside"}


def write_attention(folder: Path, found: Mapping[str, Any]) -> None:
    """Writes what was measured beside a run's result."""
    (folder / FILE).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def read_attention(folder: Path) -> dict[str, Any] | None:
    """What was measured of a run; None where nothing was, or the file is damaged."""
    try:
        found: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for scores in found["scores"].values():
            assert all(isinstance(scores[measure], float) for measure in MEASURES)
        return found if {"against", "splits", "pairs"} <= found.keys() and CHANCE in found["scores"] else None
    except READ_ERRORS:
        return None


def attention_table(groups: Sequence[Group]) -> Table:
    """One row for each sub-net of each group whose runs were measured, chance beside it."""
    rows: list[list[Cell]] = []
    for group in groups:
        measured = [found for run in group.runs if (found := read_attention(run.folder))]
        for subnet in measured[0]["scores"] if measured else ():
            if subnet == CHANCE:
                continue
            row: list[Cell] = [*group.place, subnet.replace("_", " "), measured[0]["against"]]
            for measure in MEASURES:
                values = [found["scores"][subnet][measure] for found in measured if subnet in found["scores"]]
                row += [summarise(values), Share(measured[0]["scores"][CHANCE][measure])]
            rows.append([*row, measured[0]["pairs"], len(measured)])
    columns = [column for name in MEASURES.values() for column in (name, "chance")]
    notes = [
        "Percent, over pairs of an evaluated image and an attribute that its class has. Pointing game: the region with "
        "the most attention touches the attribute's part. Energy inside: the share of attention that lies in the part.",
        "Against parts or keypoints: the attribute's own place; against boxes: the whole bird. Chance: even attention.",
    ]
    return Table("attention", "Where it looks", [*PLACE, "sub-net", "against", *columns, "pairs", "n"], rows, notes)
