"""Scores of zero-shot learning: pure functions, and a torchmetrics class around their sums."""

from typing import TYPE_CHECKING

from msdn_lit.lazy import lazy_exports

if TYPE_CHECKING:
    from msdn_lit.metrics.zsl import ZSLMetric, ZSLScores

__all__ = ["ZSLMetric", "ZSLScores"]
__getattr__ = lazy_exports(__name__, dict.fromkeys(__all__, "msdn_lit.metrics.zsl"))
