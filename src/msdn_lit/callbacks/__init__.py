"""Lightning callbacks."""

from msdn_lit.callbacks.attention_scores import AttentionScores
from msdn_lit.callbacks.checkpoints import Checkpoints, RandomState
from msdn_lit.callbacks.figures import Figures
from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.callbacks.leak_guard import LeakGuard
from msdn_lit.callbacks.logged_figures import LoggedFigures
from msdn_lit.callbacks.preemption import Preemption
from msdn_lit.callbacks.progress import Progress
from msdn_lit.callbacks.score_cache_writer import ScoreCacheWriter
from msdn_lit.callbacks.wandb_tables import WandbTables

__all__ = [
    "AttentionScores",
    "Checkpoints",
    "EvaluationHistory",
    "Figures",
    "LeakGuard",
    "LoggedFigures",
    "Preemption",
    "Progress",
    "RandomState",
    "ScoreCacheWriter",
    "WandbTables",
]
