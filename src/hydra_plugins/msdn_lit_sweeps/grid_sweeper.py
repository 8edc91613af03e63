"""Hydra's basic sweeper, faster for finished sweeps, with patterns for subfolders of groups."""

from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob


class GridSweeper(BasicSweeper):
    """Runs all combinations of the values on the command line.

    Hydra's basic sweeper does not suffice for two reasons:

    - It composes the config of every trial to check it before the launch, and the launcher composes
      the configs of new trials again. Composing takes 0.1 s or more for each trial, so a finished
      sweep of 200 trials would take at least 20 s instead of 2 s.
    - Its patterns do not find configs in subfolders of a group: `experiment=glob(ablation/*)` would
      match nothing and run nothing.
    """

    def sweep(self, arguments: list[str]) -> Any:  # noqa: ANN401 - Hydra's
        """Runs all combinations."""
        return super().sweep([self._expand(argument) for argument in arguments])

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Returns the next batch. The launcher learns how many trials there are in all."""
        assert self.overrides is not None
        setattr(self.launcher, "num_trials", sum(map(len, self.overrides)))  # noqa: B010 - for mypy
        return super().get_job_batch()

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Checks nothing; the launcher composes the configs of new trials."""

    def _expand(self, argument: str) -> str:
        """Replaces a pattern by the names of the configs that it matches.

        Raises:
            ConfigError: No config matches.
        """
        from msdn_lit.errors import ConfigError

        (override,) = OverridesParser.create().parse_overrides([argument])
        glob = override.value()
        if not isinstance(glob, Glob):
            return argument
        depths = {pattern.count("/") for pattern in glob.include}  # so that * matches no slash
        names = [name for name in self._names(override.key_or_group) if name.count("/") in depths]
        found = glob.filter(sorted(names))
        if not found:
            expected = f"a pattern for conf/{override.key_or_group}/"
            raise ConfigError(f"{argument} matches nothing", expected=expected)
        return f"{override.get_key_element()}={','.join(found)}"

    def _names(self, group: str) -> Iterator[str]:
        """Returns the configs of a group and of its subfolders, without their ending."""
        yield from self._options(group, ObjectType.CONFIG)
        for folder in self._options(group, ObjectType.GROUP):
            yield from (f"{folder}/{name}" for name in self._names(f"{group}/{folder}"))

    def _options(self, group: str, kind: ObjectType) -> list[str]:
        assert self.hydra_context is not None
        assert self.config is not None
        overrides = list(self.config.hydra.overrides.hydra)  # hydra.searchpath is among them
        loader = self.hydra_context.config_loader
        return loader.get_group_options(group, kind, overrides=overrides)
