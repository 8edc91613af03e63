"""Groups of runs that differ only in their seed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from zlib import crc32

from msdn_lit.analysis.names import BASE, short_names, usual_settings
from msdn_lit.analysis.settings import RunSettings, Settings, settings_of
from msdn_lit.analysis.statistics import Summary, summarise
from msdn_lit.errors import ConfigError, some
from msdn_lit.runs.layout import RESULT, training_folder
from msdn_lit.runs.reader import Run, RunScan
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.runs.summary import partial, plain_line

CONTEXT = ("benchmark", "features", "settings")  # header of `Group.context`


@dataclass(frozen=True)
class Group:
    """Runs of the same settings with different seeds.

    Attributes:
        name: Name that distinguishes it from other groups of its benchmark and backbone.
        settings: Settings by dotted key.
        runs: Runs, one for each seed, ascending.
    """

    name: str
    settings: Settings
    runs: tuple[Run, ...]

    def __str__(self) -> str:
        """Benchmark, backbone, name and protocol."""
        return f"{', '.join(self.context)}, {self.protocol} protocol"

    @property
    def benchmark(self) -> str:
        """Name of the benchmark, with warnings for unknown split files and partial runs."""
        warning = "" if self.is_official else " (UNOFFICIAL SPLIT)"
        result = self.runs[0].result
        if reason := partial(result):
            warning += f" (PARTIAL: {reason})"
        return f"{result['benchmark']}{warning}"

    @property
    def is_official(self) -> bool:
        """Whether the split files are known ones."""
        return not str(self.runs[0].result["data"].get("split_variant", "")).startswith("unknown")

    @property
    def features(self) -> str:
        """Name of the backbone."""
        return str(self.runs[0].result["features"])

    @property
    def protocol(self) -> str:
        """Name of the protocol of training, selection and reporting."""
        return str(self.runs[0].result["protocol"])

    @property
    def context(self) -> tuple[str, str, str]:
        """Benchmark, backbone and name, the first cells of every row of a table."""
        return self.benchmark, self.features, self.name

    @property
    def section(self) -> tuple[str, str, str]:
        """Benchmark, backbone and protocol; groups with the same ones are shown together."""
        return self.benchmark, self.features, self.protocol

    @property
    def recipe(self) -> str:
        """Experiments of the runs; "" without one."""
        return self.runs[0].recipe

    @property
    def stage(self) -> str:
        """Evaluated splits: "test" or "val"."""
        return str(self.runs[0].result["stage"])

    @property
    def evaluations(self) -> list[str]:
        """Names of the evaluations that any run reports."""
        return list(dict.fromkeys(name for run in self.runs for name in run.scores))

    def having(self, evaluation: str) -> list[Run]:
        """Returns the runs that report an evaluation."""
        return [run for run in self.runs if evaluation in run.scores]

    def areas(self, evaluation: str) -> list[float]:
        """Returns the area under the seen-unseen curve of each run that has a score cache."""
        return [run.curves[evaluation].ausuc for run in self.runs if evaluation in run.curves]

    def caches(self, evaluation: str) -> list[ScoreCache]:
        """Returns the score cache of each run that has one."""
        return [run.cache(evaluation) for run in self.runs if evaluation in run.curves]

    def summary(self, evaluation: str, score: str) -> Summary | None:
        """Returns a score over the seeds; None if no run has it."""
        runs = self.having(evaluation)
        return summarise([run.scores[evaluation][score] for run in runs]) if runs else None


def wall_time(runs: Iterable[Run]) -> float:
    """Returns how long runs took in all, in seconds. Seeds that trained at once count once."""
    times = {training_folder(run.folder): float(run.result["wall_time_s"]) for run in runs}
    return sum(times.values())


def without_partial(found: RunScan) -> tuple[RunScan, list[Run]]:
    """Separates partial runs, of fewer batches or images than their settings say, from the others.

    Returns:
        What was found, without the partial runs; the partial runs.
    """
    whole = [run for run in found.runs if not partial(run.result)]
    return found._replace(runs=whole), [run for run in found.runs if partial(run.result)]


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Sorts runs into groups, ordered by benchmark, backbone, name and protocol.

    Returns:
        The groups, and a sentence for each run that is left out because a newer one repeats it.
    """
    members, repeated = _members(settings_of(runs))
    return _sorted(_named(members)), repeated


def groups_with_base(
    base: Sequence[Run], others: Sequence[Run]
) -> tuple[Group, list[Group], list[str]]:
    """Makes one group of the base's runs, and sorts the other runs into groups.

    No other run joins the base, even with the same settings.

    Returns:
        The base; the base and the other groups, in the order of `group_runs`; a sentence for each
        run that a newer one repeats.

    Raises:
        ConfigError: The base's runs belong to several groups.
    """
    (base_members, repeated), (other_members, more_repeated) = _separately(base, others)
    _check_is_one(base_members, "--against")
    first, *groups = _named([*base_members, *other_members], base_members[0][0])
    same = {str(group) for group in groups} & {str(first)}  # with other seeds or code
    if same and first.name == BASE:
        again = f"{BASE}, other runs"
        groups = [replace(group, name=again) if str(group) in same else group for group in groups]
    elif same:
        first = replace(first, name=f"{first.name} (base)")
    return first, _sorted([first, *groups]), [*repeated, *more_repeated]


def pair_of_groups(first: Sequence[Run], second: Sequence[Run]) -> tuple[Group, Group]:
    """Makes one group of each of two lists of runs.

    The two may have the same settings, e.g. in two versions of the code.

    Raises:
        ConfigError: The runs of a list belong to several groups.
    """
    both = [members for members, _ in _separately(first, second)]
    for members, path in zip(both, ("first", "second"), strict=True):
        _check_is_one(members, path)
    one, other = _named([members[0] for members in both])
    if one.name == other.name:
        return replace(one, name=f"{one.name} (A)"), replace(other, name=f"{other.name} (B)")
    return one, other


def _separately(
    first: Sequence[Run], second: Sequence[Run]
) -> list[tuple[list[list[RunSettings]], list[str]]]:
    """`_members` of each of two lists, with the missing settings filled in from both."""
    variants = settings_of([*first, *second])
    return [_members(variants[: len(first)]), _members(variants[len(first) :])]


def _check_is_one(members: Sequence[Sequence[RunSettings]], path: str) -> None:
    if len(members) != 1:
        found = [f"{group.runs[0].folder} ({group.name})" for group in _named(members)]
        raise ConfigError(
            f"The {path} path holds {len(found)} groups: {some(found) or 'no run'}",
            action="Name a folder that holds the runs of one group.",
        )


def _members(variants: Sequence[RunSettings]) -> tuple[list[list[RunSettings]], list[str]]:
    """The runs of each group by seed, and a sentence for each run that a newer one repeats."""
    by_key: dict[str, dict[int, RunSettings]] = {}
    repeated = []
    for variant in sorted(variants, key=_time_written):
        seeds, run = by_key.setdefault(variant.key, {}), variant.run
        if run.seed in seeds:
            older = seeds[run.seed].run.folder
            reason = f"{run.folder} is newer, of the same seed and settings"
            repeated.append(f"{older} is left out: {reason}")
        seeds[run.seed] = variant
    members = [[variant for _, variant in sorted(seeds.items())] for seeds in by_key.values()]
    return members, repeated


def _time_written(variant: RunSettings) -> float:
    return (variant.run.folder / RESULT).stat().st_mtime


def usual_of(groups: Sequence[Group], base: Group | None = None) -> list[str]:
    """Returns what the names of groups leave out; see `usual_settings`."""
    variants = [RunSettings(group.runs[0], group.settings) for group in groups]
    position = next((index for index, group in enumerate(groups) if group is base), None)
    return usual_settings(variants, None if position is None else variants[position])


def _named(
    members: Sequence[Sequence[RunSettings]], base: RunSettings | None = None
) -> list[Group]:
    variants = [of_group[0] for of_group in members]
    given = [_given_name(of_group) for of_group in members]
    names = [
        _joined(own, name, is_unique=bool(own) and given.count(own) == 1)
        for own, name in zip(given, short_names(variants, base), strict=True)
    ]
    return [
        Group(name, variants[0].settings, tuple(variant.run for variant in variants))
        for name, variants in zip(names, members, strict=True)
    ]


def _given_name(members: Sequence[RunSettings]) -> str:
    """The setting `name` of the runs of a group; "" unless all have one and the same."""
    name, *others = [variant.run.config.get("name") for variant in members]
    if not isinstance(name, str) or any(other != name for other in others):
        return ""
    return plain_line(name)


def _joined(given: str, name: str, *, is_unique: bool) -> str:
    return (
        given if is_unique or (given and name == BASE) else ", ".join(filter(None, (given, name)))
    )


def _sorted(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (*group.context, group.protocol))


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
    key = attrgetter("section")
    for (benchmark, features, protocol), members in groupby(sorted(groups, key=key), key):
        title = f"{benchmark}, {features}, {protocol} protocol"
        yield Context(slug(benchmark, features, protocol), title, list(members))


def slug(*texts: str) -> str:
    """Part of a file name; a checksum of the text follows if characters are replaced or cut."""
    text = "_".join(texts).replace(", ", "_")
    plain = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text)[:60]
    return plain if plain == text else f"{plain}-{crc32(text.encode()):08x}"
