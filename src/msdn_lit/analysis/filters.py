"""Which runs a report shows, and in which order: `--filter`, `--last` and `--sort`."""

import difflib
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from statistics import mean
from typing import Any

from msdn_lit.analysis.groups import Group
from msdn_lit.analysis.settings import flatten
from msdn_lit.errors import ConfigError, some
from msdn_lit.runs.layout import LAST, RESULT, SCORES
from msdn_lit.runs.reader import Run

BEST_FIRST = (*SCORES.values(), "AUSUC", "n")
SORT_KEYS = (*BEST_FIRST, "name", "time", "date")
_FACTS = ("benchmark", "features", "protocol", "stage", "seed", "device", "code")
_EVALUATED = {name: score for score, name in SCORES.items()}


def filter_runs(runs: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """Returns the runs that have all of some settings.

    Args:
        runs: Finished runs.
        conditions: "key=value" each. The key is one of the config, or its last part if that is
            unambiguous: "optimizer.lr" or "lr"; also a config group ("model") or "benchmark".

    Raises:
        ConfigError: A condition has no value, no run has the key, or no run has the value.
    """
    found = list(runs)
    for condition in conditions:
        key, sign, text = condition.partition("=")
        if not (key and sign):
            expected = "KEY=VALUE, e.g. optimizer.lr=0.001"
            raise ConfigError("--filter is wrong", expected=expected, found=repr(condition))
        values = [_setting(run, key, runs) for run in found]
        fitting = [run for run, value in zip(found, values, strict=True) if _is(text, value)]
        if found and not fitting:
            present = dict.fromkeys(_text(value) for value in values)
            typed = shlex.quote(f"{key}={next(iter(present))}")
            action = f"Type --filter {typed}"
            raise ConfigError(f"No run has {condition}", found=some(present), action=action)
        found = fitting
    return found


def latest(runs: Sequence[Run], number: int) -> list[Run]:
    """Returns the runs that ended last, in the order that they have."""
    ended = {id(run) for run in sorted(runs, key=_date)[-number:]}
    return [run for run in runs if id(run) in ended]


def sort_groups(groups: Sequence[Group], key: str) -> list[Group]:
    """Sorts the groups of each benchmark, backbone and protocol; groups without a value come last.

    Args:
        groups: Groups of runs.
        key: A score (the highest first, at the last step), "n", "name", "time" (of training, the
            shortest first), "date" (the latest first), or a setting.

    Raises:
        ConfigError: There is no such key.
    """
    value_of = _sort_value(key, groups)
    return sorted(groups, key=lambda group: (*group.section, *value_of(group), group.name))


def score_of(group: Group, name: str) -> float | None:
    """Returns the mean of a score at the last step; None if no run has it."""
    if name == "AUSUC":
        areas = group.areas(LAST)
        return mean(areas) if areas else None
    evaluation = LAST if LAST in group.evaluations else group.evaluations[0]
    summary = group.summary(evaluation, _EVALUATED[name])
    return summary.mean if summary else None


def minutes_of(group: Group) -> float:
    """Returns the mean time of the group's runs in minutes."""
    return float(mean(run.result["wall_time_s"] for run in group.runs)) / 60


def date_of(group: Group) -> float:
    """Returns the time at which the group's latest run ended, in seconds since 1970."""
    return max(map(_date, group.runs))


def _sort_value(key: str, groups: Sequence[Group]) -> Callable[[Group], tuple[Any, ...]]:
    """A function that returns for a group what comes first when it is smaller."""
    names = {name.lower(): name for name in SORT_KEYS}
    name = names.get(key.lower(), key)
    if name == "name":
        return lambda group: ()
    if name == "n":
        return lambda group: (-len(group.runs),)
    if name == "time":
        return lambda group: (minutes_of(group),)
    if name == "date":
        return lambda group: (-date_of(group),)
    if name in BEST_FIRST:
        return lambda group: tuple(-(score_of(group, each) or 0.0) for each in (name, "T1"))
    runs = [run for group in groups for run in group.runs]
    try:
        resolved = _resolved_key(name, runs)
    except ConfigError as error:
        hint = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.4)
        action = f"Did you mean --sort {names[hint[0]]}?" if hint else "Type --sort H."
        expected = f"{', '.join(SORT_KEYS)} or a setting such as optimizer.lr"
        raise ConfigError(
            "--sort is wrong", expected=expected, found=repr(key), action=action
        ) from error
    return lambda group: _ordered(values_of(group.runs[0]).get(resolved))


def _ordered(value: object) -> tuple[Any, ...]:
    """A key that sorts numbers before texts, and nothing last."""
    if value is None:
        return 2, 0.0, ""
    number = _number(value)
    return (1, 0.0, _text(value)) if number is None else (0, number, "")


def values_of(run: Run) -> Mapping[str, Any]:
    """Returns everything by which runs can be filtered: settings, choices of groups, facts."""
    settings = dict(flatten(run.config))
    choices = {group: choice for group, choice in run.result["choices"].items() if choice}
    facts = {name: run.result.get(name) for name in _FACTS}
    recipe = {"experiment": run.recipe.split(" + ")} if run.recipe else {}
    return {**settings, **choices, **recipe, **facts}


def _setting(run: Run, key: str, runs: Sequence[Run]) -> object:
    """The value of a key, with one reference to another setting followed."""
    values = values_of(run)
    value = values.get(_resolved_key(key, runs))
    if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
        return values.get(value[2:-1], value)
    return value


def _resolved_key(key: str, runs: Sequence[Run]) -> str:
    """The full name of a key.

    Raises:
        ConfigError: No run has the key, or its last part stands for several.
    """
    known = {name for run in runs for name in values_of(run)}
    if key in known or not known:
        return key
    ending = sorted(name for name in known if name.endswith(f".{key}"))
    if len(ending) == 1:
        return ending[0]
    close = ending or difflib.get_close_matches(key, sorted(known), n=1)
    action = f"Type --filter {close[0]}=VALUE" if close else "See config.yaml of a run."
    problem = f"{key} stands for several settings" if ending else f"There is no config key {key!r}"
    raise ConfigError(problem, found=some(ending) or None, action=action)


def _is(text: str, value: object) -> bool:
    """Whether a value is what a text of the command line says: 1e-3 is 0.001, a list has it."""
    if isinstance(value, list):
        return text == _text(value) or any(_is(text, item) for item in value)
    number = _number(value)
    if number is not None:
        return _parsed(text) == number
    if value is None or isinstance(value, bool):
        return text.lower() in (_text(value), str(value).lower())
    return text in (value, PurePath(str(value)).name, str(value).rpartition(".")[2])


def _number(value: object) -> float | None:
    """A number; a text of YAML 1.1 that is one, like 1e-3, too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    parsed = _parsed(str(value))
    return None if math.isnan(parsed) else parsed


def _parsed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _text(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _date(run: Run) -> float:
    return (run.folder / RESULT).stat().st_mtime
