"""Scores of zero-shot learning: functions, and a torchmetrics shell around their sums."""

from msdn_lit.metrics.zsl import ZSLMetric, ZSLScores

__all__ = ["ZSLMetric", "ZSLScores"]
