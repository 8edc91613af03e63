"""Words of attribute names; an attribute's vector is the sum of its words' vectors.

The rules are those of the published tables (DAZLE, TransZero), which were made from Google News
word vectors; tests compare the tables with them. Words without a vector are skipped.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from msdn_lit.errors import DataError, some

Words = tuple[str, ...]
WordRule = Callable[[str], Words]

_CUB = {"spatulate": "broad", "upperparts": "upper parts", "grey": "gray"}
_SUN = {
    "rockstone": "rock stone",
    "dirtsoil": "dirt soil",
    "sunsunny": "sun sunny",
    "electricindoor": "electric indoor",
    "semi-enclosed": "semi enclosed",
    "far-away": "faraway",
}
_AWA2 = {
    "newworld": "new world",
    "oldworld": "old world",
    "nestspot": "nest spot",
    "toughskin": "tough skin",
    "longleg": "long leg",
    "chewteeth": "chew teeth",
    "meatteeth": "meat teeth",
    "strainteeth": "strain teeth",
    "quadrapedal": "quadrupedal",
}


def readable_attribute(name: str) -> str:
    """Returns a readable name: "has_wing_color::black" -> "wing color: black"."""
    return name.removeprefix("has_").replace("::", ": ").replace("_", " ")


def part_of(name: str) -> str:
    """Returns what an attribute describes: "has_bill_shape::curved" -> "bill shape"; "" if none."""
    part, separator, _ = readable_attribute(name).partition(": ")
    return part if separator else ""


def attribute_parts(names: Sequence[str]) -> list[str] | None:
    """Returns the part of each attribute, "other" for one without; None if no name has a part."""
    parts = [part_of(name) for name in names]
    return [part or "other" for part in parts] if any(parts) else None


def spelling(name: str) -> str:
    """Normalises a class or attribute name: "has_wing_color::black" -> "wing color black"."""
    words = re.findall(r"[^\W_]+", re.sub(r"^\d+\.", "", name).lower())
    return " ".join(words[words[:1] == ["has"] :])


def cub_words(name: str) -> Words:
    """Splits a CUB attribute: "has_size::large_(16_-_32_in)" -> size, large."""
    words = re.sub(r"_|-|::", " ", name.partition("(")[0]).split()
    return tuple(_replaced(" ".join(words[words[:1] == ["has"] :]), _CUB).split())


def sun_words(name: str) -> Words:
    """Splits a SUN attribute: "rock/stone" -> rock, stone; "man-made" has no vector."""
    return tuple(_replaced(name.replace("/", ""), _SUN).split())


def awa2_words(name: str) -> Words:
    """Splits an AWA2 attribute: "longleg" -> long, leg; most names are one word."""
    return tuple(_replaced(name, _AWA2).split())


def plain_words(name: str) -> Words:
    """Splits a lower-cased name at everything that is not a letter; for all other benchmarks."""
    return tuple(re.findall(r"[^\W\d_]+", name.lower()))


def sum_of_words(
    words_of_attributes: Sequence[Words],
    vector_of: Mapping[str, NDArray[np.float64]],
    source: object,
) -> tuple[NDArray[np.float32], Words]:
    """Makes attribute vectors from word vectors.

    Args:
        words_of_attributes: Words of each of the K attributes.
        vector_of: Vectors of the known words, (E,) each.
        source: File of the vectors, for the error message.

    Returns:
        Sums of each attribute's word vectors, zeros for an attribute without known words, (K, E);
        and the unknown words, sorted.

    Raises:
        DataError: More than half of the words are unknown.
    """
    words = {word for attribute in words_of_attributes for word in attribute}
    unknown = tuple(sorted(words - vector_of.keys()))
    if 2 * len(unknown) > len(words) or not words:
        raise DataError(
            f"{source} lacks most words of the attribute names",
            expected=f"at least half of {len(words)} words",
            found=f"{len(words) - len(unknown)} (unknown: {some(unknown)})",
            action="Use word vectors in the language of the names, such as GloVe or Google News.",
        )
    E = len(next(iter(vector_of.values())))
    vectors_KE = np.zeros((len(words_of_attributes), E))
    for k, attribute in enumerate(words_of_attributes):
        for word in attribute:
            vectors_KE[k] += vector_of.get(word, 0)
    return vectors_KE.astype(np.float32), unknown


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text
