"""The classes that an image may be of: those that a model knows, and those that a user describes."""

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

SEEN, UNSEEN, NEW = "seen", "unseen", "new"
LIKE = "like"  # in a description: the known class from which it starts
FULL = 100.0  # the top_attributes value of a description
_ALIKE = 0.01  # distance of unit rows; their scores then differ by at most one percent of the attribute scores' length


@dataclass(frozen=True)
class Candidates:
    """Classes by name.

    Attributes:
        names: C names.
        attributes_CK: Class semantic vectors with unit rows, (C, K).
        sides: "seen" (trained on), "unseen" (of the benchmark, never trained on) or "new" (a user's) of each.
    """

    names: tuple[str, ...]
    attributes_CK: NDArray[np.float32]
    sides: tuple[str, ...]

    @classmethod
    def of(cls, semantics: Semantics) -> Candidates:
        """The seen and unseen classes of a benchmark; classes that are neither are no candidates."""
        known = np.sort(np.concatenate([semantics.seen, semantics.unseen]))
        names = tuple(semantics.class_names[c] for c in known)
        sides = tuple(np.where(np.isin(known, semantics.seen), SEEN, UNSEEN).tolist())
        return cls(names, semantics.class_attributes_CK[known], sides)

    def __len__(self) -> int:
        return len(self.names)

    def __add__(self, other: Candidates) -> Candidates:
        """Both, in order.

        Raises:
            ConfigError: A name is in both.
        """
        for name in other.names:
            if name in self.names:
                raise ConfigError(
                    f"There is a class {name!r} already", action="Give the new one another name."
                )
        attributes_CK = np.concatenate([self.attributes_CK, other.attributes_CK])
        return Candidates(self.names + other.names, attributes_CK, self.sides + other.sides)

    def named(self, names: Sequence[str]) -> Candidates:
        """Those of the given names, in that order; "Laysan Albatross" finds "002.Laysan_Albatross".

        Raises:
            ConfigError: There is none of that name, or no name is given.
        """
        if not names:
            raise ConfigError("No class is named", expected="at least one")
        chosen = [_find(name, self.names, "class") for name in names]
        return Candidates(
            tuple(self.names[c] for c in chosen),
            self.attributes_CK[chosen],
            tuple(self.sides[c] for c in chosen),
        )

    def in_domain(self, *sides: str) -> Candidates:
        """Those that are seen, unseen or new."""
        return self.named(
            [name for name, side in zip(self.names, self.sides, strict=True) if side in sides]
        )

    def alike(self) -> list[tuple[str, str]]:
        """Pairs that no model can tell apart by their attributes."""
        cosines_CC = self.attributes_CK @ self.attributes_CK.T
        close = np.argwhere(np.triu(cosines_CC > 1 - _ALIKE**2 / 2, k=1))
        return [(self.names[a], self.names[b]) for a, b in close.tolist()]


def describe(
    descriptions: Mapping[str, Any], attribute_names: Sequence[str], known: Candidates
) -> Candidates:
    """Makes candidates of what a user says of new classes.

    Args:
        descriptions: Attribute -> value for each class, 0 (absent) to 100 (always, obvious); what is not named is 0.
            Only a class's proportions matter. `like: NAME` starts from a known class, whose top_attributes value counts 100.
        attribute_names: The benchmark's K; case, underscores and colons in a user's spelling do not matter.
        known: The classes that `like` may name.

    Raises:
        ConfigError: An attribute or class is unknown (the nearest are named), given twice, or a value out of range.
    """
    if not isinstance(descriptions, Mapping) or not descriptions:
        raise ConfigError(
            "No class is described", expected="{class: {attribute: value}}", found=descriptions
        )
    rows = [
        _values(str(name), content, attribute_names, known)
        for name, content in descriptions.items()
    ]
    attributes_CK = unit_class_attributes(np.stack(rows), clamp_negative=False)
    return Candidates(tuple(map(str, descriptions)), attributes_CK, (NEW,) * len(rows))


def _values(
    name: str, content: object, attribute_names: Sequence[str], known: Candidates
) -> NDArray[np.float32]:
    """Values of one class, 0 to 100, (K,)."""
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(
            f"Class {name!r} has no attributes", expected="{attribute: value}", found=content
        )
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
            raise ConfigError(
                f"Class {name!r} gives {attribute_names[k]} twice", found=f"{given[k]}, {attribute}"
            )
        given[k], values_K[k] = str(attribute), _checked(value, f"{attribute} of {name!r}")
    if not values_K.any():
        raise ConfigError(f"Class {name!r} has no attribute above zero", action="Say what it has.")
    return values_K


def _checked(value: object, what: str) -> float:
    if isinstance(value, bool):
        return FULL * value
    if not isinstance(value, int | float) or not 0 <= value <= FULL:
        raise ConfigError(
            f"{what} is out of range", expected="0 to 100, or true or false", found=value
        )
    return float(value)


def _find(wanted: str, names: Sequence[str], kind: str) -> int:
    """Position of a name, however it is spelled; two names that one spelling fits need their own."""
    if wanted in names:
        return list(names).index(wanted)
    found = [index for index, name in enumerate(names) if spelling(name) == spelling(wanted)]
    if len(found) == 1:
        return found[0]
    close = [names[index] for index in found] or list(_nearest(wanted, names))
    action = (
        f"Did you mean {', '.join(readable_attribute(name) for name in close)}?" if close else ""
    )
    raise ConfigError(f"There is no {kind} {wanted!r}", action=action)


def _nearest(wanted: str, names: Sequence[str], number: int = 3) -> Iterator[str]:
    """Names that are spelled alike, or have the most words in common."""
    of_spelling = {spelling(name): name for name in names}
    words = set(spelling(wanted).split())
    close = difflib.get_close_matches(spelling(wanted), of_spelling, n=number, cutoff=0.6)
    sharing = sorted(of_spelling, key=lambda text: -len(words & set(text.split())))
    close += [text for text in sharing[:number] if words & set(text.split()) and text not in close]
    yield from (of_spelling[text] for text in close[:number])
