"""A measurement beside what it is compared with, for machines and for people."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

HEADER = [
    "",
    "ours",
    "release",
    "release / ours: min, median, max",
    "limit",
    "ours / limit: min, median, max",
]


class Comparison(NamedTuple):
    """One measurement; repetition i of each list was taken right after that of the one before.

    Attributes:
        what: What was measured.
        unit: Of the numbers: "ms", "s", "GB", "images/s".
        ours: One number a repetition.
        release: In the release's order of computation; empty where there is none.
        limit: What the machine allows; empty where that is unknown.
    """

    what: str
    unit: str
    ours: Sequence[float]
    release: Sequence[float] = ()
    limit: Sequence[float] = ()

    def cells(self) -> list[str]:
        """A line of the table."""
        against_release = [
            release / ours for release, ours in zip(self.release, self.ours, strict=False)
        ]
        against_limit = [ours / limit for ours, limit in zip(self.ours, self.limit, strict=False)]
        medians = [_median(values, self.unit) for values in (self.ours, self.release, self.limit)]
        return [
            self.what,
            medians[0],
            medians[1],
            _ratios(against_release),
            medians[2],
            _ratios(against_limit),
        ]

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return self._asdict() | {"median": statistics.median(self.ours)}


def of_parts(results: Sequence[dict[str, float]], name: str, scale: float = 1e3) -> list[float]:
    """One part of every repetition; seconds become milliseconds."""
    return [scale * result[name] for result in results]


def _median(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    median = statistics.median(values)
    return f"{median:,.0f} {unit}" if median >= 1000 else f"{median:.3g} {unit}"


def _ratios(ratios: Sequence[float]) -> str:
    return (
        f"{min(ratios):.2f}, **{statistics.median(ratios):.2f}**, {max(ratios):.2f}"
        if ratios
        else ""
    )
