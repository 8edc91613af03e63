"""msdn-lit: MSDN for zero-shot learning, as a library and as commands.

The public names below are imported when they are first used.
"""

from typing import TYPE_CHECKING

from msdn_lit.lazy import lazy_exports

if TYPE_CHECKING:
    from msdn_lit.build.load import load
    from msdn_lit.data import FeatureStore, ZSLDataModule
    from msdn_lit.data.open_dataset import open_dataset
    from msdn_lit.losses import MSDNLoss
    from msdn_lit.metrics import ZSLMetric
    from msdn_lit.metrics.functional import fuse
    from msdn_lit.models import MSDN
    from msdn_lit.tasks import ZSLTask

__version__ = "0.2.0.dev0"
__all__ = [
    "MSDN",
    "FeatureStore",
    "MSDNLoss",
    "ZSLDataModule",
    "ZSLMetric",
    "ZSLTask",
    "__version__",
    "fuse",
    "load",
    "open_dataset",
]
__getattr__ = lazy_exports(
    __name__,
    {
        "MSDN": "msdn_lit.models",
        "FeatureStore": "msdn_lit.data",
        "MSDNLoss": "msdn_lit.losses",
        "ZSLDataModule": "msdn_lit.data",
        "ZSLMetric": "msdn_lit.metrics",
        "ZSLTask": "msdn_lit.tasks",
        "fuse": "msdn_lit.metrics.functional",
        "load": "msdn_lit.build.load",
        "open_dataset": "msdn_lit.data.open_dataset",
    },
)
