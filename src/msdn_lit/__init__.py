"""msdn-lit: MSDN for zero-shot learning, an experiment framework whose numbers can be checked."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msdn_lit.build.load import load

__version__ = version("msdn-lit")
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever it is
    """Imports torch and the rest when `load` is asked for, and not with the package."""
    if name == "load":
        from msdn_lit.build.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
