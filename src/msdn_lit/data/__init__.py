"""Datasets on disk: splits, word vectors, images, region features."""

from typing import TYPE_CHECKING

from msdn_lit.lazy import lazy_exports

if TYPE_CHECKING:
    from msdn_lit.data.datamodule import ZSLDataModule as ZSLDataModule
    from msdn_lit.data.dataset import ZSLDataset as ZSLDataset
    from msdn_lit.data.features.images import ImageTransform as ImageTransform
    from msdn_lit.data.features.pixels import Augmentation as Augmentation
    from msdn_lit.data.features.semisynthetic import AttributeRegions as AttributeRegions
    from msdn_lit.data.features.store import FeatureStore as FeatureStore
    from msdn_lit.data.samplers import ClassBalancedBatches as ClassBalancedBatches
    from msdn_lit.data.samplers import ShuffledEpochs as ShuffledEpochs
    from msdn_lit.data.samplers import UniformBatches as UniformBatches
    from msdn_lit.data.semantics import SemanticsConfig as SemanticsConfig
    from msdn_lit.data.splits.holdout import split_images as split_images

_DATA = "msdn_lit.data"
__getattr__ = lazy_exports(
    __name__,
    {
        "ZSLDataModule": f"{_DATA}.datamodule",
        "ZSLDataset": f"{_DATA}.dataset",
        "ImageTransform": f"{_DATA}.features.images",
        "Augmentation": f"{_DATA}.features.pixels",
        "AttributeRegions": f"{_DATA}.features.semisynthetic",
        "FeatureStore": f"{_DATA}.features.store",
        "ClassBalancedBatches": f"{_DATA}.samplers",
        "ShuffledEpochs": f"{_DATA}.samplers",
        "UniformBatches": f"{_DATA}.samplers",
        "SemanticsConfig": f"{_DATA}.semantics",
        "split_images": f"{_DATA}.splits.holdout",
    },
)
