"""Nets: functions from region features to attribute scores, class logits and attention."""

from typing import TYPE_CHECKING

from msdn_lit.lazy import lazy_exports
from msdn_lit.models.attention import over_attributes, over_regions
from msdn_lit.models.backbones.end_to_end import EndToEnd
from msdn_lit.models.base import AttributeNet, ClassNet, SubNetOutput
from msdn_lit.models.baselines import DAZLE, ESZSL, BilinearCompatibility
from msdn_lit.models.dedn import DEDN
from msdn_lit.models.msdn import (
    MSDN,
    AttributeToVisual,
    SubNet,
    VisualToAttribute,
    VisualToAttributePaper,
)
from msdn_lit.models.transzero import AttributeToVisualTransformer, TransZero
from msdn_lit.models.transzero_pp import VisualToAttributeTransformer

if TYPE_CHECKING:
    from msdn_lit.models.backbones.backbone import RegionBackbone

__all__ = [
    "DAZLE",
    "DEDN",
    "ESZSL",
    "MSDN",
    "AttributeNet",
    "AttributeToVisual",
    "AttributeToVisualTransformer",
    "BilinearCompatibility",
    "ClassNet",
    "EndToEnd",
    "RegionBackbone",
    "SubNet",
    "SubNetOutput",
    "TransZero",
    "VisualToAttribute",
    "VisualToAttributePaper",
    "VisualToAttributeTransformer",
    "over_attributes",
    "over_regions",
]
# timm is slow to import
__getattr__ = lazy_exports(__name__, {"RegionBackbone": "msdn_lit.models.backbones.backbone"})
