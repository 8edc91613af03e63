"""Losses: pure functions of logits and labels, and the modules that weight them."""

from msdn_lit.losses.functional import (
    cross_entropy_paper,
    cross_entropy_release,
    distillation_paper,
    distillation_release,
    self_calibration_paper,
    self_calibration_release,
)
from msdn_lit.losses.msdn import LossTerms, MSDNLoss
from msdn_lit.losses.ranking import RankingLoss, ale, devise, sje

__all__ = [
    "LossTerms",
    "MSDNLoss",
    "RankingLoss",
    "ale",
    "cross_entropy_paper",
    "cross_entropy_release",
    "devise",
    "distillation_paper",
    "distillation_release",
    "self_calibration_paper",
    "self_calibration_release",
    "sje",
]
