"""Candidate classes: those that a model knows, and those that a user describes.

Letters: C classes, K attributes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.semantics import Semantics, unit_class_attributes
from msdn_lit.data.words.attributes import readable_attribute, spelling
from msdn_lit.errors import ConfigError
from msdn_lit.inference.phrases import FULL, Phrase, read_phrases

SEEN, UNSEEN, NEW = "seen", "unseen", "new"
LIKE = "like"  # in a description: the known class from which it starts

# Distance of unit rows below which two classes count as indistinguishable: their scores differ by
# at most one percent of the length of the attribute scores.
_INDISTINGUISHABLE = 0.01


@dataclass(frozen=True, repr=False)
class Candidates:
    """Classes with their attributes.

    Attributes:
        names: C names.
        attributes_CK: Class semantic vectors with unit rows, (C, K).
        domains: Domain of each class: "seen" (trained on), "unseen" (of the benchmark, not trained
            on) or "new" (described by a user).
    """

    names: tuple[str, ...]
    attributes_CK: NDArray[np.float32]
    domains: tuple[str, ...]

    @classmethod
    def of(cls, semantics: Semantics) -> Candidates:
        """Returns the seen and unseen classes of a benchmark; other classes are no candidates."""
        known = np.sort(np.concatenate([semantics.seen, semantics.unseen]))
        names = tuple(semantics.class_names[c] for c in known)
        domains = tuple(np.where(np.isin(known, semantics.seen), SEEN, UNSEEN).tolist())
        return cls(names, semantics.class_attributes_CK[known], domains)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<Candidates: {self.summary()}>"

    def summary(self) -> str:
        """Returns the number of classes of each domain, "150 seen and 50 unseen classes"."""
        counts = {name: self.domains.count(name) for name in (SEEN, UNSEEN, NEW)}
        return " and ".join(f"{n} {name}" for name, n in counts.items() if n) + " classes"

    def __add__(self, other: Candidates) -> Candidates:
        """Concatenates two sets of candidates.

        Raises:
            ConfigError: A name is in both.
        """
        for name in other.names:
            if name in self.names:
                action = "Give the new one another name."
                raise ConfigError(f"There is a class {name!r} already", action=action)
        attributes_CK = np.concatenate([self.attributes_CK, other.attributes_CK])
        return Candidates(self.names + other.names, attributes_CK, self.domains + other.domains)

    def named(self, names: Sequence[str]) -> Candidates:
        """Returns the classes of the given names, in that order.

        Spelling is flexible: "Laysan Albatross" finds "002.Laysan_Albatross".

        Raises:
            ConfigError: There is no class of a name, or no name is given.
        """
        if not names:
            raise ConfigError("No class is named", expected="at least one")
        chosen = [_find(name, self.names, "class") for name in names]
        return Candidates(
            tuple(self.names[c] for c in chosen),
            self.attributes_CK[chosen],
            tuple(self.domains[c] for c in chosen),
        )

    def in_domain(self, *domains: str) -> Candidates:
        """Returns the classes of one or several domains."""
        of_class = zip(self.names, self.domains, strict=True)
        return self.named([name for name, domain in of_class if domain in domains])

    def indistinguishable(self) -> list[tuple[str, str]]:
        """Returns pairs of classes with (nearly) equal attributes, which no image can separate.

        Each class occurs at most once as the second of a pair, after the first class like it.
        """
        pairs = []
        for b, row_K in enumerate(self.attributes_CK):
            is_close = self.attributes_CK[:b] @ row_K > 1 - _INDISTINGUISHABLE**2 / 2
            if is_close.any():
                pairs.append((self.names[int(is_close.argmax())], self.names[b]))
        return pairs


def describe(
    descriptions: Mapping[str, Any], attribute_names: Sequence[str], known: Candidates
) -> Candidates:
    """Makes candidates from descriptions.

    Args:
        descriptions: Values by attribute for each class, from 0 (absent) to 100 (always, obvious).
            Attributes without a value are 0. Only the proportions of a class matter. `like: NAME`
            starts from a known class, scaled to a largest value of 100. A class can be a text
            instead, "red belly, red crown", see `phrases.read_phrases`.
        attribute_names: K names of the benchmark. Case, underscores and colons in a user's spelling
            do not matter.
        known: Classes that `like` may name.

    Raises:
        ConfigError: An attribute or class is unknown (the message names the nearest ones) or given
            twice, a phrase names none, or a value is out of range.
    """
    if not isinstance(descriptions, Mapping) or not descriptions:
        expected = "{class: {attribute: value}}"
        raise ConfigError("No class is described", expected=expected, found=descriptions)
    values = class_values(descriptions, attribute_names, known)
    if len(values) < len(descriptions):  # e.g. 1 and "1"
        expected, found = "each class once", ", ".join(map(str, descriptions))
        raise ConfigError("Two classes have one name", expected=expected, found=found)
    values_CK = np.stack(list(values.values()))
    attributes_CK = unit_class_attributes(values_CK, clamp_negative=False)
    return Candidates(tuple(values), attributes_CK, (NEW,) * len(values_CK))


def class_values(
    descriptions: Mapping[str, Any], attribute_names: Sequence[str], known: Candidates
) -> dict[str, NDArray[np.float32]]:
    """Returns the values of described classes by name, 0 to 100, (K,); arguments of `describe`.

    Raises:
        ConfigError: An error of `describe`.
    """
    return {
        str(name): _values(str(name), content, attribute_names, known)
        for name, content in descriptions.items()
    }


def phrase_values(phrases: Sequence[Phrase]) -> dict[int, float]:
    """Returns the values of the attributes that some phrases name; of several, the last counts."""
    return {k: phrase.value for phrase in phrases for k in phrase.attributes}


def _values(
    name: str, content: object, attribute_names: Sequence[str], known: Candidates
) -> NDArray[np.float32]:
    """Values of one class, 0 to 100, (K,)."""
    if isinstance(content, str):
        content = _values_by_name(name, content, attribute_names)
    if not isinstance(content, Mapping) or not content:
        expected = '{attribute: value}, or a text such as "red belly, blue wings"'
        raise ConfigError(f"Class {name!r} has no attributes", expected=expected, found=content)
    values_K = np.zeros(len(attribute_names), dtype=np.float32)
    if LIKE in content:
        row_K = known.named([str(content[LIKE])]).attributes_CK[0]
        values_K = FULL * row_K / row_K.max()
    given: dict[int, str] = {}
    for attribute, value in content.items():
        if attribute == LIKE:
            continue
        k = _find(str(attribute), attribute_names, "attribute")
        if k in given:
            problem = f"Class {name!r} gives {attribute_names[k]} twice"
            raise ConfigError(problem, found=f"{given[k]}, {attribute}")
        given[k] = str(attribute)
        values_K[k] = _checked(value, f"{attribute} of {name!r}")
    if not values_K.any():
        raise ConfigError(f"Class {name!r} has no attribute above zero", action="Give it one.")
    return values_K


def _values_by_name(name: str, text: str, attribute_names: Sequence[str]) -> dict[str, float]:
    """Reads a class that is described in words."""
    phrases = read_phrases(text, attribute_names)
    for phrase in phrases:
        if not phrase.attributes:
            close = [readable_attribute(attribute_names[k]) for k in phrase.nearest[:3]]
            action = f"Did you mean {', '.join(close)}?" if close else ""
            raise ConfigError(f"{phrase.text!r} of {name!r} names no one attribute", action=action)
    return {attribute_names[k]: value for k, value in phrase_values(phrases).items()}


def _checked(value: object, what: str) -> float:
    if isinstance(value, bool):
        return FULL * value
    if not isinstance(value, int | float) or not 0 <= value <= FULL:
        expected = "0 to 100, or true or false"
        raise ConfigError(f"{what} is out of range", expected=expected, found=value)
    return float(value)


def _find(wanted: str, names: Sequence[str], kind: str) -> int:
    """Position of a name in any spelling; a spelling that fits two names finds neither."""
    if wanted in names:
        return list(names).index(wanted)
    found = [index for index, name in enumerate(names) if spelling(name) == spelling(wanted)]
    if len(found) == 1:
        return found[0]
    close = [names[index] for index in found] or list(_nearest(wanted, names))
    suggestions = ", ".join(readable_attribute(name) for name in close)
    action = f"Did you mean {suggestions}?" if close else ""
    raise ConfigError(f"There is no {kind} {wanted!r}", action=action)


def _nearest(wanted: str, names: Sequence[str], number: int = 3) -> Iterator[str]:
    """Names with a similar spelling, or with the most words in common."""
    by_spelling = {spelling(name): name for name in names}
    words = set(spelling(wanted).split())
    close = difflib.get_close_matches(spelling(wanted), by_spelling, n=number, cutoff=0.6)
    sharing = sorted(by_spelling, key=lambda text: -len(words & set(text.split())))
    close += [text for text in sharing[:number] if words & set(text.split()) and text not in close]
    yield from (by_spelling[text] for text in close[:number])
