"""Other methods on the same features, so that they are trained and scored as MSDN is."""

from msdn_lit.models.baselines.dazle import DAZLE
from msdn_lit.models.baselines.eszsl import ESZSL
from msdn_lit.models.baselines.pooled import BilinearCompatibility

__all__ = ["DAZLE", "ESZSL", "BilinearCompatibility"]
