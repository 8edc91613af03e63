"""Lightning modules."""

from msdn_lit.tasks.cuda_graph import CUDAGraph
from msdn_lit.tasks.stacked import StackedTask
from msdn_lit.tasks.zsl import ZSLTask

__all__ = ["CUDAGraph", "StackedTask", "ZSLTask"]
