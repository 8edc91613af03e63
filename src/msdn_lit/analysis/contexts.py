"""Groups that are shown together, and their names in file names and labels."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple
from zlib import crc32

from msdn_lit.analysis.groups import Group


class Context(NamedTuple):
    """Groups with the same benchmark, backbone and protocol, which share figures and tables.

    Attributes:
        slug: Part of file names.
        title: Benchmark, backbone and protocol.
        groups: Groups, at least one.
    """

    slug: str
    title: str
    groups: Sequence[Group]


def contexts(groups: Sequence[Group]) -> Iterator[Context]:
    """Yields the groups that are shown together."""

    def key(group: Group) -> tuple[str, str, str]:
        return group.benchmark, group.features, group.protocol

    for (benchmark, features, protocol), members in groupby(sorted(groups, key=key), key):
        title = f"{benchmark}, {features}, {protocol} protocol"
        yield Context(slug(benchmark, features, protocol), title, list(members))


def slug(*texts: str) -> str:
    """Part of a file name; a checksum of the text follows if characters are replaced or cut."""
    text = "_".join(texts).replace(", ", "_")
    plain = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text)[:60]
    return plain if plain == text else f"{plain}-{crc32(text.encode()):08x}"
