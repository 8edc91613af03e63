"""Attributes that a description in words names: "blue upperparts, crest" -> two attributes.

Words are compared in any order and by their stems. A benchmark's names have a part and a value,
"has_wing_color::blue", or a value alone, "furry".

Letters: K attributes.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import log
from typing import NamedTuple

from msdn_lit.data.words.attributes import part_of, spelling
from msdn_lit.errors import ConfigError

FULL = 100.0  # largest value of a description
MAX_PHRASES = 64  # of a description
_MAX_LENGTH = 200  # characters of a phrase
_NUM_NEAREST = 6
_SIMILAR = (
    0.84  # of two spellings, as difflib measures it: "bely" and "belly", not "crown", "brown"
)

_NUMBER = re.compile(r"(.*?)[\s:=]*\b(\d+(?:\.\d+)?)\s*%?", re.DOTALL)
_NEGATION = re.compile(r"(no|not|without)\s+(.*)", re.DOTALL | re.IGNORECASE)
_ENDINGS = ("less", "ish", "ed", "ing", "er", "y")
_IGNORED = re.compile("an?|the|of|on|in|at|to|its?|is|are|has|have|having|or|and|with|like|some")
_IGNORED_UNLESS_IN_A_NAME = re.compile("bright|dark|pale|light|lives|eats")
# What people say for the benchmarks' words, tried if a word is no word of any attribute.
_OTHER_WORDS = {
    "beak": "bill",
    "bill": "beak",
    "feet": "leg",
    "foot": "leg",
    "chest": "breast",
    "grey": "gray",
    "gray": "grey",
    "colour": "color",
    "big": "large",
    "body": "primary",
    "bird": "primary",
    "mostly": "primary",
    "overall": "primary",
}
_WIDER = {"head": "crown", "cap": "crown"}  # tried if a phrase names nothing as it is
_WHOLE = "primary"  # part of a colour without a part, in CUB
_KINDS = frozenset(("color", "shape", "pattern", "length", "size"))  # name no part by themselves


class Phrase(NamedTuple):
    """One phrase of a description.

    Attributes:
        text: The phrase.
        value: Value of its attributes, 0 (after "no") to 100.
        attributes: Attributes that it names; empty if it names none, or several equally well.
        nearest: Other attributes with words of the phrase or a similar spelling, the best first.
        unknown: Words of the phrase that are in none of its attributes.
    """

    text: str
    value: float
    attributes: tuple[int, ...]
    nearest: tuple[int, ...]
    unknown: tuple[str, ...]


def read_phrases(text: str, attribute_names: Sequence[str]) -> list[Phrase]:
    """Finds the attributes that a description names.

    Args:
        text: Phrases between commas, semicolons, line breaks or "with", in any order of words. A
            number after a phrase is its value: "wing: blue 90".
        attribute_names: K names of the benchmark.

    Raises:
        ConfigError: There are too many phrases, one is too long, or a value is out of range.

    Example:
        >>> names = ["has_wing_color::blue", "has_wing_color::red", "has_head_pattern::crested"]
        >>> [phrase.attributes for phrase in read_phrases("blue wings, a crest", names)]
        [(0,), (2,)]
    """
    words = _words(tuple(attribute_names))
    pieces = [piece.strip() for piece in re.split(r"[,;\n]|\.\s|\.$|\bwith\b", text)]
    pieces = [piece for piece in pieces if piece]
    if len(pieces) > MAX_PHRASES or any(len(piece) > _MAX_LENGTH for piece in pieces):
        expected = f"at most {MAX_PHRASES} phrases of at most {_MAX_LENGTH} characters"
        raise ConfigError("The description is too long", expected=expected)
    return [phrase for piece in pieces for phrase in words.phrases(piece)]


class _Words:
    """Words of attribute names.

    Args:
        names: K names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.spellings = [spelling(name) for name in names]
        self.parts = [_stems(part_of(name)) for name in names]
        own = [_stems(re.sub(r"\(.*?\)", "", name)) for name in names]
        self.values = [
            all_ - part - {"has"} or part for all_, part in zip(own, self.parts, strict=True)
        ]
        self.all = [part | value for part, value in zip(self.parts, self.values, strict=True)]
        counts = Counter(stem for stems in self.all for stem in stems)
        self.weights = {stem: log(1 + len(names) / count) for stem, count in counts.items()}
        self.part_words = frozenset().union(*self.parts) - _KINDS
        self.value_words = frozenset().union(*self.values)
        whole = {word for text in self.spellings for word in re.findall(r"[^\W\d_]+", text)}
        self.whole = {word: _stem(word) for word in sorted(whole)}

    def phrases(self, piece: str) -> Iterator[Phrase]:
        """Yields the phrases of a text without commas: one, or several that "and" joins."""
        text, value = self._value_of(piece)
        if exact := self._exact(text):
            yield Phrase(piece, value, exact, self._nearest(self._stems_of(text), exact, text), ())
            return
        negated = _NEGATION.fullmatch(text)
        if negated and "no" not in text.lower().split()[1:]:
            text, value = negated[2], 0.0
        sides = self._sides(text)
        for side in sides:
            yield self._phrase(piece if len(sides) == 1 else side, side, value)

    def _value_of(self, piece: str) -> tuple[str, float]:
        """Text and value of a phrase; a name that ends in a number has no value."""
        number = None if self._exact(piece) else _NUMBER.fullmatch(piece)
        if number is None or not number[1].strip():
            return piece, FULL
        value = float(number[2])
        if value > FULL:
            raise ConfigError(f"{piece!r} is out of range", expected="0 to 100", found=number[2])
        return number[1].strip(), value

    def _exact(self, text: str) -> tuple[int, ...]:
        found = [k for k, name in enumerate(self.spellings) if name and name == spelling(text)]
        return tuple(found) if len(found) == 1 else ()

    def _sides(self, text: str) -> list[str]:
        """Splits at "and" where each side is complete: "red crown and blue wing", two sides."""
        sides: list[str] = []
        waiting: list[str] = []  # values whose part follows: "red" of "red and black wings"
        for side in re.split(r"\s+(?:and|&)\s+", text):
            stems = set(self._stems_of(side))
            if not stems & self.part_words:
                waiting.append(side)
            elif sides and not stems & self.value_words and not waiting:
                sides[-1] += f" and {side}"  # a part: "tail" of "black wings and tail"
            else:
                sides.append(" and ".join([*waiting, side]))
                waiting = []
        if waiting and sides and not self._exact(waiting[-1]):
            sides[-1] = " and ".join([sides[-1], *waiting])
        elif waiting:
            sides.append(" and ".join(waiting))
        return sides

    def _stems_of(self, text: str) -> dict[str, str]:
        """Stems of a text's words, each with its word; unknown words have the stem ""."""
        words = [w for w in re.findall(r"[^\W\d_]+", text.lower()) if not self._is_ignored(w)]
        found: dict[str, str] = {}
        while words:
            word = words.pop(0)
            if words and _stem(word + words[0]) in self.weights:  # "eye ring", "upper parts"
                word += words.pop(0)
            stems = self._known(word)
            found |= dict.fromkeys(stems, word) if stems else {f"?{word}": word}
        return found

    def _is_ignored(self, word: str) -> bool:
        is_optional = _IGNORED_UNLESS_IN_A_NAME.fullmatch(word) and word not in self.whole
        return bool(_IGNORED.fullmatch(word) or is_optional)

    def _known(self, word: str) -> list[str]:
        """Stems of a word that are in the names: as it is, of its synonym, its halves, or alike."""
        for candidate in (word, _OTHER_WORDS.get(word, _OTHER_WORDS.get(_stem(word), ""))):
            if _stem(candidate) in self.weights:
                return [_stem(candidate)]
        for i in range(3, len(word) - 2):
            if word[:i] in self.whole and _stem(word[i:]) in self.weights:
                return [self.whole[word[:i]], _stem(word[i:])]
        close = difflib.get_close_matches(word, self.whole, n=1, cutoff=_SIMILAR)
        return [self.whole[name] for name in close if len(word) > 3]

    def _phrase(self, piece: str, text: str, value: float) -> Phrase:
        stems = self._stems_of(text)
        known = {stem for stem in stems if not stem.startswith("?")}
        chosen = self._named(known) or self._named({_WIDER.get(stem, stem) for stem in known})
        if not chosen and len(known) == len(stems) and not known & self.part_words:
            chosen = self._named({*known, _stem(_WHOLE)} & self.weights.keys())
        covered = set().union(*(self.all[k] for k in chosen))
        replaced = {stem for stem in stems if _WIDER.get(stem) in covered}
        unknown = tuple(word for stem, word in stems.items() if stem not in covered | replaced)
        return Phrase(piece, value, chosen, self._nearest(stems, chosen, text), unknown)

    def _named(self, stems: set[str]) -> tuple[int, ...]:
        """Attributes that the words of a phrase name, for each of its parts."""
        chosen: dict[int, None] = {}
        for part in sorted(stems & self.part_words, key=self._weight) or [""]:
            remaining = stems & self.value_words - {part}
            while best := self._best(stems, remaining, part):
                chosen |= dict.fromkeys(best)
                remaining -= self.values[best[0]]
        return tuple(chosen)

    def _weight(self, stem: str) -> tuple[float, str]:
        """Sort key: rare words first."""
        return -self.weights[stem], stem

    def _best(self, stems: set[str], remaining: set[str], part: str) -> tuple[int, ...]:
        """The attribute of a part with most of the phrase's words; none if others equal it."""
        candidates = [
            k
            for k, values in enumerate(self.values)
            if values & remaining and (not part or part in self.all[k])
        ]
        if not candidates:
            return ()
        order = sorted(candidates, key=lambda k: self._rank(k, stems))
        matched = self._rank(order[0], stems)[0]
        rivals = [k for k in order if self._rank(k, stems)[0] == matched]
        return (order[0],) if part or self._is_decided(rivals, stems) else ()

    def _is_decided(self, rivals: Sequence[int], stems: set[str]) -> bool:
        """Whether the first of some attributes that share as many words with a phrase is meant."""
        parts = {frozenset(self.parts[k]) for k in rivals}
        is_complete = self.all[rivals[0]] <= stems
        return len(rivals) == 1 or (len(parts) == 1 and any(parts)) or is_complete

    def _rank(self, k: int, stems: set[str]) -> tuple[float, float]:
        """Sort key: weight of the words in common, and of the attribute's other words."""
        common = sum(sorted(self.weights[stem] for stem in self.all[k] & stems))
        return -round(common, 6), sum(sorted(self.weights[stem] for stem in self.all[k] - stems))

    def _nearest(self, stems: dict[str, str], chosen: Sequence[int], text: str) -> tuple[int, ...]:
        known = set(stems) | {_WIDER.get(stem, stem) for stem in stems}
        sharing = [k for k, words in enumerate(self.all) if words & known and k not in chosen]
        near = sorted(sharing, key=lambda k: self._rank(k, known))[:_NUM_NEAREST]
        close = difflib.get_close_matches(spelling(text), self.spellings, _NUM_NEAREST, 0.6)
        more = [self.spellings.index(name) for name in close]
        return tuple(dict.fromkeys([*near, *(k for k in more if k not in chosen)]))[:_NUM_NEAREST]


@lru_cache(maxsize=4)
def _words(names: tuple[str, ...]) -> _Words:
    return _Words(names)


def _stems(text: str) -> frozenset[str]:
    words = spelling(text).split() if text else []
    return frozenset(_stem(word) for word in words if not word.isdigit())


def _stem(word: str) -> str:
    """A word without its plural, its ending and its doubled letter: "spotted", "spots" -> "spot".

    A stemmer of English text (Snowball) leaves "crested" and "crest" alike, but not "rusty" and
    "rust" or "bluish" and "blue", and would be one more package.
    """
    word = word.lower()
    if word.endswith(("ies", "ys")) and len(word) > 3:
        word = f"{word[:-3]}y" if word.endswith("ies") else word[:-1]
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        word = word[:-1]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
                word = word[:-1]
            break
    return word.removesuffix("e") if len(word) > 3 else word
