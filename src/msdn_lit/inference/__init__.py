"""A trained model on pictures and classes of one's own: what it sees, what it says, and why."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msdn_lit.inference.candidates import Candidates
    from msdn_lit.inference.predictor import Predictor
    from msdn_lit.inference.results import ClassScore, Prediction

__all__ = ["Candidates", "ClassScore", "Prediction", "Predictor"]
_MODULES = {
    "Candidates": "candidates",
    "Predictor": "predictor",
    "ClassScore": "results",
    "Prediction": "results",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever it is
    """Imports torch with what needs it, so that msdn-app can show its page before."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
