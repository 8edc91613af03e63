"""From objects to a trained run."""

from typing import TYPE_CHECKING

from msdn_lit.lazy import lazy_exports

if TYPE_CHECKING:
    from msdn_lit.training.wandb_logger import ResumableWandbLogger as ResumableWandbLogger

__getattr__ = lazy_exports(__name__, {"ResumableWandbLogger": "msdn_lit.training.wandb_logger"})
