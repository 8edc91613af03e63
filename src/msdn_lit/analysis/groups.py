"""Groups of runs that differ in their seed alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from msdn_lit.analysis.settings import RunSettings, Settings, settings_of, short_names
from msdn_lit.analysis.statistics import Summary, summarise
from msdn_lit.errors import ConfigError
from msdn_lit.runs.layout import RESULT
from msdn_lit.runs.reader import Run

PLACE = ("benchmark", "features", "settings")  # header of `Group.place`
Members = tuple[
    list[list[RunSettings]], list[str]
]  # runs of each group by seed; sentences on those left out


@dataclass(frozen=True)
class Group:
    """Runs of the same settings, with different seeds.

    Attributes:
        name: What tells it from other groups of its benchmark and backbone.
        settings: By dotted key.
        runs: One for each seed, ascending.
    """

    name: str
    settings: Settings
    runs: tuple[Run, ...]

    def __str__(self) -> str:
        """All that tables name it by."""
        return f"{', '.join(self.place)}, {self.protocol} protocol"

    @property
    def benchmark(self) -> str:
        """With a warning where the split files are no known ones."""
        warning = "" if self.is_official else " (UNOFFICIAL SPLIT)"
        return f"{self.runs[0].result['benchmark']}{warning}"

    @property
    def is_official(self) -> bool:
        """Whether the split files are known ones."""
        return not str(self.runs[0].result["data"].get("split_variant", "")).startswith("unknown")

    @property
    def features(self) -> str:
        """The backbone."""
        return str(self.runs[0].result["features"])

    @property
    def protocol(self) -> str:
        """How training, choosing and reporting were kept apart."""
        return str(self.runs[0].result["protocol"])

    @property
    def place(self) -> tuple[str, str, str]:
        """Benchmark, backbone and name, with which every row of a table begins."""
        return self.benchmark, self.features, self.name

    @property
    def recipe(self) -> str:
        """Its experiments, "" without one."""
        return self.runs[0].recipe

    @property
    def stage(self) -> str:
        """The splits that were looked at: "test" or "val"."""
        return str(self.runs[0].result["stage"])

    @property
    def evaluations(self) -> list[str]:
        """Names of the reported evaluations that any run has."""
        return list(dict.fromkeys(name for run in self.runs for name in run.scores))

    def having(self, evaluation: str) -> list[Run]:
        """The runs that report an evaluation."""
        return [run for run in self.runs if evaluation in run.scores]

    def summary(self, evaluation: str, score: str) -> Summary | None:
        """A score over the seeds; None where no run has it."""
        runs = self.having(evaluation)
        return summarise([run.scores[evaluation][score] for run in runs]) if runs else None


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Sorts runs into groups, ordered by benchmark, backbone, name and protocol.

    Returns:
        The groups, and a sentence for each run that was left out since a newer one repeats it.
    """
    members, repeated = _members(settings_of(runs))
    return _sorted(_named(members)), repeated


def groups_with_base(
    base: Sequence[Run], others: Sequence[Run]
) -> tuple[Group, list[Group], list[str]]:
    """Makes one group of a base's runs, and sorts others into groups; none joins the base, not even of its settings.

    Returns:
        The base; it and the others, in the order of `group_runs`; a sentence for each run that a newer one repeats.

    Raises:
        ConfigError: The base's runs are not of one group.
    """
    (of_base, repeated), (of_others, also_repeated) = _apart(base, others)
    _check_is_one(of_base, "--against")
    first, *groups = _named([*of_base, *of_others])
    if str(first) in map(str, groups):  # the same settings, of other seeds or code
        first = replace(first, name=f"{first.name} (base)")
    return first, _sorted([first, *groups]), [*repeated, *also_repeated]


def pair_of_groups(first: Sequence[Run], second: Sequence[Run]) -> tuple[Group, Group]:
    """Makes one group of each of two lists of runs; they may have the same settings, of two versions of the code.

    Raises:
        ConfigError: One of the lists is not of one group.
    """
    both = [members for members, _ in _apart(first, second)]
    for members, path in zip(both, ("first", "second"), strict=True):
        _check_is_one(members, path)
    one, other = _named([members[0] for members in both])
    if one.name == other.name:
        return replace(one, name=f"{one.name} (A)"), replace(other, name=f"{other.name} (B)")
    return one, other


def _apart(first: Sequence[Run], second: Sequence[Run]) -> tuple[Members, Members]:
    """The members of two lists of runs, each for itself."""
    variants = settings_of([*first, *second])
    return _members(variants[: len(first)]), _members(variants[len(first) :])


def _check_is_one(members: Sequence[Sequence[RunSettings]], path: str) -> None:
    if len(members) != 1:
        found = [f"{group.runs[0].folder} ({group.name})" for group in _named(members)]
        action = "Name a folder that holds the runs of one group."
        raise ConfigError(
            f"The {path} path holds {len(found)} groups: {'; '.join(found) or 'no run'}",
            action=action,
        )


def _members(variants: Sequence[RunSettings]) -> Members:
    """The runs of each group by seed, and what `group_runs` says of repeated ones."""
    by_key: dict[str, dict[int, RunSettings]] = {}
    repeated = []
    for variant in sorted(
        variants, key=lambda variant: (variant.run.folder / RESULT).stat().st_mtime
    ):
        seeds, run = by_key.setdefault(variant.key, {}), variant.run
        if run.seed in seeds:
            older = seeds[run.seed].run.folder
            repeated.append(
                f"{older} is left out: {run.folder} is newer, of the same seed and settings"
            )
        seeds[run.seed] = variant
    return [
        [variant for _, variant in sorted(seeds.items())] for seeds in by_key.values()
    ], repeated


def _named(members: Sequence[Sequence[RunSettings]]) -> list[Group]:
    names = short_names([variants[0] for variants in members])
    return [
        Group(name, variants[0].settings, tuple(variant.run for variant in variants))
        for name, variants in zip(names, members, strict=True)
    ]


def _sorted(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (*group.place, group.protocol))
