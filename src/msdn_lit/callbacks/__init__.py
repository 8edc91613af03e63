"""Lightning callbacks."""

from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.callbacks.random_state import RandomState

__all__ = ["EvaluationHistory", "RandomState"]
