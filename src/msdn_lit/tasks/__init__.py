"""Lightning modules."""

from msdn_lit.tasks.zsl import ZSLTask

__all__ = ["ZSLTask"]
