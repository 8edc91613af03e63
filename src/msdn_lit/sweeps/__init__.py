"""Sweeps: identities and states of trials, workers, searches."""

from typing import TYPE_CHECKING

from msdn_lit.lazy import lazy_exports

if TYPE_CHECKING:
    from msdn_lit.sweeps.callback import SweepCallback as SweepCallback
    from msdn_lit.sweeps.pruning import Pruning as Pruning

__getattr__ = lazy_exports(
    __name__, {"SweepCallback": "msdn_lit.sweeps.callback", "Pruning": "msdn_lit.sweeps.pruning"}
)
