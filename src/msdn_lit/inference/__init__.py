"""A trained model on pictures and classes of one's own: what it sees, what it says, and why."""

from msdn_lit.inference.candidates import Candidates
from msdn_lit.inference.predictor import Predictor
from msdn_lit.inference.results import ClassScore, Prediction

__all__ = ["Candidates", "ClassScore", "Prediction", "Predictor"]
