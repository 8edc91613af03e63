"""Hydra's own sweeper, which composes each trial once instead of twice, and finds what lies in a group's subfolders."""

from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob


class GridSweeper(BasicSweeper):
    """All combinations of the values on the command line.

    The launcher composes the config of every trial that it does not know yet, so checking them all beforehand would
    only cost time: 0.1 s a trial, and a sweep that is resumed knows its trials.
    """

    def sweep(self, arguments: list[str]) -> Any:  # noqa: ANN401 - Hydra's
        """Runs all combinations; `experiment=glob(ablation/*)` is spelled out first."""
        return super().sweep([self._spelled_out(argument) for argument in arguments])

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leaves it to the launcher."""

    def _spelled_out(self, argument: str) -> str:
        """Names what a pattern with a slash finds: Hydra's own globs know a group's uppermost folder alone.

        Raises:
            ConfigError: It finds nothing.
        """
        from msdn_lit.errors import ConfigError

        (override,) = OverridesParser.create().parse_overrides([argument])
        glob = override.value()
        if not isinstance(glob, Glob):
            return argument
        depths = {pattern.count("/") for pattern in glob.include}
        names = [name for name in self._names(override.key_or_group) if name.count("/") in depths]
        found = glob.filter(sorted(names))
        if not found:
            raise ConfigError(
                f"{argument} finds nothing", expected=f"a pattern for conf/{override.key_or_group}/"
            )
        return f"{override.get_key_element()}={','.join(found)}"

    def _names(self, group: str) -> Iterator[str]:
        """The configs of a group and of the folders in it, without their ending."""
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        yield from loader.get_group_options(group, results_filter=ObjectType.CONFIG)
        for folder in loader.get_group_options(group, results_filter=ObjectType.GROUP):
            yield from (f"{folder}/{name}" for name in self._names(f"{group}/{folder}"))
