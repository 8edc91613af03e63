"""Losses: pure functions of logits and labels, and the module that weights them."""

from msdn_lit.losses.msdn import LossTerms, MSDNLoss

__all__ = ["LossTerms", "MSDNLoss"]
