"""Short names for groups of runs: what differs from the usual settings."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from msdn_lit.analysis.settings import COLUMNS, RunSettings

BASE = "base"  # name of the variant that has all the usual settings
_NONE = object()  # there is no usual value


def short_names(variants: Sequence[RunSettings], base: RunSettings | None = None) -> list[str]:
    """Names each variant by its differences from others of its context.

    Examples: "cub_gzsl, loss.lambda_cal=0.1", "model=msdn". What is usual is left out: the settings
    of the base, or without a base every value that more than half of the variants have. The variant
    with all usual settings is called "base"; `usual_settings` says what they are. Experiments come
    first if all variants have one and they differ; they stand for all settings of the experiment.
    If a variant lacks a setting (older code), its name says so (null) only if nothing else
    distinguishes two variants.

    Args:
        variants: One variant of each group.
        base: The variant with the usual settings, if one is given.
    """
    rivals = _rivals(variants, base)
    brief = [(v.context, of.name(v, nulls=False)) for v, of in zip(variants, rivals, strict=True)]
    full = [of.name(v, nulls=True) for v, of in zip(variants, rivals, strict=True)]
    meanings: dict[tuple[tuple[str, str], str], set[str]] = {}
    for key, name in zip(brief, full, strict=True):
        meanings.setdefault(key, set()).add(name)
    names = [
        name if len(meanings[key]) > 1 else key[1] for key, name in zip(brief, full, strict=True)
    ]
    return [
        name or (BASE if any(of.usual()) else f"model={variant.choice('model') or 'the only one'}")
        for variant, of, name in zip(variants, rivals, names, strict=True)
    ]


def usual_settings(variants: Sequence[RunSettings], base: RunSettings | None = None) -> list[str]:
    """Returns the settings that the names of `short_names` leave out.

    Returns:
        A text for each context, or each experiment if names begin with experiments, e.g.
        "base: loss.lambda_cal=0.1, optimizer.lr=0.001". Contexts without such settings have none.
    """
    parts = {of: list(dict.fromkeys(of.usual())) for of in _rivals(variants, base)}
    return [f"{of.recipe or BASE}: {', '.join(found)}" for of, found in parts.items() if found]


def _rivals(variants: Sequence[RunSettings], base: RunSettings | None) -> "list[_Rivals]":
    """For each variant: those of its context, and of its experiment if names begin with it."""
    recipes: dict[tuple[str, str], set[str]] = {}
    for variant in variants:
        recipes.setdefault(variant.context, set()).add(variant.run.recipe)
    members: dict[tuple[str, str, str], list[RunSettings]] = {}
    keys = []
    for variant in variants:
        found = recipes[variant.context]
        has_prefix = len(found) > 1 and "" not in found
        keys.append((*variant.context, variant.run.recipe if has_prefix else ""))
        members.setdefault(keys[-1], []).append(variant)
    rivals = {key: _Rivals(key[-1], found, base) for key, found in members.items()}
    return [rivals[key] for key in keys]


class _Rivals:
    """Variants that are named together.

    Args:
        recipe: Experiment that all names begin with; "" for none.
        variants: The variants.
        base: The variant with the usual settings; it counts if it is one of the variants.
    """

    def __init__(
        self, recipe: str, variants: Sequence[RunSettings], base: RunSettings | None
    ) -> None:
        self.recipe = recipe
        self.variants = variants
        self.base = next((variant for variant in variants if variant is base), None)
        self._choices: dict[str, Any] = {}
        self._values: dict[tuple[str, str | None], Any] = {}

    def name(self, variant: RunSettings, *, nulls: bool) -> str:
        """The unusual choices and values of a variant."""
        parts = [self.recipe] if self.recipe else []
        for name in self._differing:
            parts += self._unusual(variant, name, nulls=nulls)
        return ", ".join(dict.fromkeys(parts))

    def usual(self) -> Iterator[str]:
        """Yields the usual choices and values of the settings in which variants differ."""
        for name in self._differing:
            group = name.partition(".")[0]
            choice = self._usual_choice(group)
            if group in COLUMNS or choice is _NONE:
                continue
            if len({variant.choice(group) for variant in self.variants}) > 1:
                yield f"{group}={choice}"
            values = [variant.settings.get(name) for variant in self._with_choice(group, choice)]
            value = self._usual_value(name, choice)
            if value is not _NONE and value is not None and any(other != value for other in values):
                yield _as_override(name, value)

    @cached_property
    def _differing(self) -> list[str]:
        """The settings in which variants differ, those of the model first."""
        names = {name for variant in self.variants for name in variant.settings}
        first = self.variants[0].settings
        differing = (
            name
            for name in names
            if any(variant.settings.get(name) != first.get(name) for variant in self.variants)
        )
        return sorted(differing, key=lambda name: (not name.startswith("model."), name))

    def _unusual(self, variant: RunSettings, name: str, *, nulls: bool) -> Iterator[str]:
        group, own = name.partition(".")[0], variant.settings.get(name)
        choice = variant.choice(group)
        different = [rival for rival in self.variants if rival.settings.get(name) != own]
        is_other_choice = [rival.choice(group) != choice for rival in different]
        if any(is_other_choice) and group not in COLUMNS and choice != self._usual_choice(group):
            yield f"{group}={choice}"
        is_told = not all(is_other_choice) and (nulls or name in variant.settings)
        if is_told and own != self._usual_value(name, choice):
            yield _as_override(name, own)

    def _usual_choice(self, group: str) -> Any:  # noqa: ANN401 - a name, None or _NONE
        if group not in self._choices:
            found = [variant.choice(group) for variant in self.variants]
            self._choices[group] = self.base.choice(group) if self.base else _majority(found)
        return self._choices[group]

    def _usual_value(self, name: str, choice: str | None) -> Any:  # noqa: ANN401 - any setting
        """The usual value among the variants with a choice of the setting's group."""
        if (name, choice) not in self._values:
            mates = self._with_choice(name.partition(".")[0], choice)
            found = [mate.settings.get(name) for mate in mates]
            has_base = any(mate is self.base for mate in mates)
            usual = self.base.settings.get(name) if self.base and has_base else _majority(found)
            self._values[name, choice] = usual
        return self._values[name, choice]

    def _with_choice(self, group: str, choice: str | None) -> list[RunSettings]:
        return [variant for variant in self.variants if variant.choice(group) == choice]


def _majority(values: Sequence[Any]) -> Any:  # noqa: ANN401 - any setting
    """The value that more than half of some values are; _NONE if there is none."""
    texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
    text, count = Counter(texts).most_common(1)[0]
    return values[texts.index(text)] if 2 * count > len(values) else _NONE


def _as_override(name: str, value: object) -> str:
    return f"{name.removesuffix('._target_')}={_short(value)}"


def _short(value: object) -> str:
    """A value as in an override: a function by its last name, a hash by its first digits."""
    if not isinstance(value, str):
        return json.dumps(value, default=str)
    if len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return value[:8]
    return value.rpartition(".")[2] if value.startswith(("msdn_lit.", "torch.")) else value
