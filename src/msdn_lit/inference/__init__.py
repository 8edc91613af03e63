"""Prediction with a trained model: your own images, your own classes, and explanations."""

from typing import TYPE_CHECKING

from msdn_lit.lazy import lazy_exports

if TYPE_CHECKING:
    from msdn_lit.inference.candidates import Candidates
    from msdn_lit.inference.predictions import Predictions
    from msdn_lit.inference.predictor import Predictor
    from msdn_lit.inference.results import ClassScore, Contribution, Prediction

__all__ = [
    "Candidates",
    "ClassScore",
    "Contribution",
    "Prediction",
    "Predictions",
    "Predictor",
]
__getattr__ = lazy_exports(  # the app shows its page before torch is imported
    __name__,
    {
        "Candidates": "msdn_lit.inference.candidates",
        "Predictor": "msdn_lit.inference.predictor",
        "ClassScore": "msdn_lit.inference.results",
        "Contribution": "msdn_lit.inference.results",
        "Predictions": "msdn_lit.inference.predictions",
        "Prediction": "msdn_lit.inference.results",
    },
)
