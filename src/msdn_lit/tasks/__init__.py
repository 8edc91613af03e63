"""Lightning modules."""

from msdn_lit.tasks.stacked import StackedTask
from msdn_lit.tasks.zsl import ZSLTask

__all__ = ["StackedTask", "ZSLTask"]
