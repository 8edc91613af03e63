"""Losses: pure functions of logits and labels, and the modules that weight them."""

from msdn_lit.losses.base import DomainLoss
from msdn_lit.losses.counterfactual import CounterfactualLoss
from msdn_lit.losses.dedn import DEDNLoss
from msdn_lit.losses.functional import (
    agreement,
    attribute_regression,
    cross_entropy_paper,
    cross_entropy_release,
    cross_entropy_with_margins,
    distillation_paper,
    distillation_release,
    mutual_distillation,
    self_calibration_paper,
    self_calibration_release,
)
from msdn_lit.losses.msdn import LossTerms, MSDNLoss
from msdn_lit.losses.ranking import RankingLoss, ale, devise, sje
from msdn_lit.losses.transzero import TransZeroLoss

__all__ = [
    "CounterfactualLoss",
    "DEDNLoss",
    "DomainLoss",
    "LossTerms",
    "MSDNLoss",
    "RankingLoss",
    "TransZeroLoss",
    "agreement",
    "ale",
    "attribute_regression",
    "cross_entropy_paper",
    "cross_entropy_release",
    "cross_entropy_with_margins",
    "devise",
    "distillation_paper",
    "distillation_release",
    "mutual_distillation",
    "self_calibration_paper",
    "self_calibration_release",
    "sje",
]
