"""Scores of zero-shot learning: pure functions, and a torchmetrics class around their sums."""

from msdn_lit.metrics.zsl import ZSLMetric, ZSLScores

__all__ = ["ZSLMetric", "ZSLScores"]
