"""Hydra's own sweeper, which composes each trial once instead of twice."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class GridSweeper(BasicSweeper):
    """All combinations of the values on the command line.

    The launcher composes the config of every trial that it does not know yet, so checking them all beforehand would
    only cost time: 0.1 s a trial, and a sweep that is resumed knows its trials.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leaves it to the launcher."""
