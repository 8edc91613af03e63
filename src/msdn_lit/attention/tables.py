"""What runs left of their attention's scores: attention.json, and the tables of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msdn_lit.analysis.groups import PLACE, Group
from msdn_lit.analysis.output.formats import Cell, Share, Table
from msdn_lit.analysis.statistics import summarise
from msdn_lit.errors import READ_ERRORS

FILE, CHANCE = "attention.json", "chance"
MEASURES = {"pointing_game": "pointing game", "energy_inside": "energy inside"}
_HEADER = [
    "sub-net",
    *(column for name in MEASURES.values() for column in (name, "chance")),
    "pairs",
    "n",
]


def write_attention(folder: Path, found: Mapping[str, Any]) -> None:
    """Writes what was measured beside a run's result."""
    (folder / FILE).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def read_attention(folder: Path) -> dict[str, Any] | None:
    """What was measured of a run; None where nothing was, or the file is damaged."""
    try:
        found: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for scores in found["scores"].values():
            assert all(isinstance(scores[measure], float) for measure in MEASURES)
        found.setdefault("parts", {})  # of an older version
        return (
            found
            if {"against", "splits", "pairs"} <= found.keys() and CHANCE in found["scores"]
            else None
        )
    except READ_ERRORS:
        return None


def attention_table(groups: Sequence[Group]) -> Table:
    """One row for each sub-net of each group whose runs were measured, chance beside it."""
    rows: list[list[Cell]] = []
    for group in groups:
        measured = _measured(group)
        rows += [[*group.place, measured[0]["against"], *cells] for cells in _cells(measured)]
    notes = [
        "Percent, over pairs of an evaluated image and an attribute that its class has. Pointing game: the region with "
        "the most attention touches the attribute's part. Energy inside: the share of attention that lies in the part.",
        "Against parts or keypoints: the attribute's own place; against boxes: the whole bird. Chance: even attention.",
        "Visual to attribute's attention sums to one over a region's attributes, not over regions: an undecided region "
        "leaves an attribute more than one that is sure of another.",
    ]
    return Table("attention", "Where it looks", [*PLACE, "against", *_HEADER], rows, notes)


def part_table(groups: Sequence[Group]) -> Table:
    """The same for the attributes of each part, where they have places of their own."""
    rows: list[list[Cell]] = []
    for group in groups:
        measured = _measured(group)
        for part in measured[0]["parts"] if measured and measured[0]["against"] != "boxes" else ():
            of_part = [found["parts"][part] for found in measured if part in found["parts"]]
            rows += [[*group.place, part, *cells] for cells in _cells(of_part)]
    return Table("attention_parts", "Where it looks, by part", [*PLACE, "part", *_HEADER], rows)


def _measured(group: Group) -> list[dict[str, Any]]:
    return [found for run in group.runs if (found := read_attention(run.folder))]


def _cells(measured: Sequence[Mapping[str, Any]]) -> Iterator[list[Cell]]:
    """Of each sub-net: its measures over the runs with their chances, pairs of a run, runs."""
    for subnet in measured[0]["scores"] if measured else ():
        if subnet == CHANCE:
            continue
        cells: list[Cell] = []
        for measure in MEASURES:
            values = [
                found["scores"][subnet][measure] for found in measured if subnet in found["scores"]
            ]
            cells += [summarise(values), Share(measured[0]["scores"][CHANCE][measure])]
        yield [subnet.replace("_", " "), *cells, measured[0]["pairs"], len(measured)]
