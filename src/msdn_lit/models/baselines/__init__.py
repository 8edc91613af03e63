"""Other methods on the same features, trained and scored in the same way as MSDN."""

from msdn_lit.models.baselines.dazle import DAZLE
from msdn_lit.models.baselines.eszsl import ESZSL
from msdn_lit.models.baselines.pooled import BilinearCompatibility

__all__ = ["DAZLE", "ESZSL", "BilinearCompatibility"]
