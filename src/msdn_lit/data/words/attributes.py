"""The words of an attribute's name, and the attribute's vector: the sum of its words' vectors.

The rules are those by which the published tables (DAZLE, TransZero) were made from Google News word vectors; the tests
hold the tables to them. Words without a vector are skipped.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from msdn_lit.errors import DataError

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
    """A name for people: "has_wing_color::black" -> "wing color: black"."""
    return name.removeprefix("has_").replace("::", ": ").replace("_", " ")


def spelling(name: str) -> str:
    """What is left of a class's or an attribute's name when its spelling does not matter: "wing color black"."""
    words = re.findall(r"[^\W_]+", re.sub(r"^\d+\.", "", name).lower())
    return " ".join(words[words[:1] == ["has"] :])


def cub_words(name: str) -> Words:
    """E.g. "has_size::large_(16_-_32_in)" is size, large."""
    words = re.sub(r"_|-|::", " ", name.partition("(")[0]).split()
    return tuple(_replaced(" ".join(words[words[:1] == ["has"] :]), _CUB).split())


def sun_words(name: str) -> Words:
    """E.g. "rock/stone" is rock, stone; "man-made" stays one word, which Google News does not have."""
    return tuple(_replaced(name.replace("/", ""), _SUN).split())


def awa2_words(name: str) -> Words:
    """E.g. "longleg" is long, leg; most names are one word."""
    return tuple(_replaced(name, _AWA2).split())


def plain_words(name: str) -> Words:
    """Every other benchmark: the name in lower case, split at all that is not a letter."""
    return tuple(re.findall(r"[^\W\d_]+", name.lower()))


def sum_of_words(
    words_of_attributes: Sequence[Words],
    vector_of: Mapping[str, NDArray[np.float64]],
    source: object,
) -> tuple[NDArray[np.float32], Words]:
    """Makes attribute vectors from word vectors.

    Args:
        words_of_attributes: The words of each of the K attributes.
        vector_of: Vectors of those words that are known, (E,) each.
        source: Where they come from, for the message.

    Returns:
        Sums over each attribute's words, zeros where none is known, (K, E); and the unknown words, sorted.

    Raises:
        DataError: More than half of the words are unknown.
    """
    words = {word for attribute in words_of_attributes for word in attribute}
    unknown = tuple(sorted(words - vector_of.keys()))
    if 2 * len(unknown) > len(words) or not words:
        raise DataError(
            f"{source} does not know the words of the attributes",
            expected=f"at least half of {len(words)} words",
            found=f"{len(words) - len(unknown)}; unknown are {', '.join(unknown[:5])}, ...",
            action="Take vectors of the language of the attributes' names, such as GloVe or Google News.",
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
