"""Lightning callbacks."""

from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.callbacks.leak_guard import LeakGuard
from msdn_lit.callbacks.preemption import Preemption
from msdn_lit.sweeps.pruning import Pruning
from msdn_lit.callbacks.random_state import RandomState
from msdn_lit.callbacks.score_cache_writer import ScoreFiles

__all__ = ["EvaluationHistory", "LeakGuard", "Preemption", "Pruning", "RandomState", "ScoreFiles"]
