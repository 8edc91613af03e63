"""Nets: tensors in, tensors out. The backbone is imported where it is used, since timm is slow to import."""

from msdn_lit.models.msdn import (
    MSDN,
    AttributeToVisual,
    SubNet,
    SubNetOutput,
    VisualToAttribute,
    VisualToAttributePaper,
)

__all__ = ["MSDN", "AttributeToVisual", "SubNet", "SubNetOutput", "VisualToAttribute", "VisualToAttributePaper"]
