"""msdn-lit: MSDN for zero-shot learning, an experiment framework whose numbers can be checked."""

from importlib.metadata import version

__version__ = version("msdn-lit")
