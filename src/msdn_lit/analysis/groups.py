"""Groups of runs that differ in their seed alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from msdn_lit.analysis.runs import RESULT, Run
from msdn_lit.analysis.settings import Settings, Variant, name_of, variants_of
from msdn_lit.analysis.statistics import Summary, summarise
from msdn_lit.errors import ConfigError


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
    def recipe(self) -> str:
        """The experiment's file, "" without one; of several, as on the command line."""
        return str(self.runs[0].result["choices"].get("experiment") or "")

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
    members, repeated = _members(variants_of(runs))
    groups = [_named(variants, members) for variants in members]
    return sorted(groups, key=lambda group: (group.benchmark, group.features, group.name, group.protocol)), repeated


def pair_of_groups(first: Sequence[Run], second: Sequence[Run]) -> tuple[Group, Group]:
    """Makes one group of each of two lists of runs; they may have the same settings, of two versions of the code.

    Raises:
        ConfigError: One of the lists is not of one group.
    """
    variants = variants_of([*first, *second])
    both = [_members(part)[0] for part in (variants[: len(first)], variants[len(first) :])]
    for members, name in zip(both, ("first", "second"), strict=True):
        if len(members) != 1:
            found = [f"{one[0].run.folder} ({_named(one, members).name})" for one in members]
            action = "Name a folder that holds the runs of one group."
            raise ConfigError(
                f"The {name} path holds {len(found)} groups: {'; '.join(found) or 'no run'}", action=action
            )
    rivals = [members[0] for members in both]
    one, other = (_named(variants, rivals) for variants in rivals)
    if one.name == other.name:
        return replace(one, name=f"{one.name} (A)"), replace(other, name=f"{other.name} (B)")
    return one, other


def _members(variants: Sequence[Variant]) -> tuple[list[list[Variant]], list[str]]:
    """The runs of each group by seed, and what `group_runs` says of repeated ones."""
    by_key: dict[str, dict[int, Variant]] = {}
    repeated = []
    for variant in sorted(variants, key=lambda variant: (variant.run.folder / RESULT).stat().st_mtime):
        seeds, run = by_key.setdefault(variant.key, {}), variant.run
        if run.seed in seeds:
            older = seeds[run.seed].run.folder
            repeated.append(f"{older} is left out: {run.folder} is newer, of the same seed and settings")
        seeds[run.seed] = variant
    return [[variant for _, variant in sorted(seeds.items())] for seeds in by_key.values()], repeated


def _named(variants: Sequence[Variant], members: Sequence[Sequence[Variant]]) -> Group:
    first = variants[0]
    name = name_of(first, [other[0] for other in members])
    return Group(name, first.settings, tuple(variant.run for variant in variants))
