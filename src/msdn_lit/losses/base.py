"""What the losses share: the candidate classes, and what they read of an output."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from msdn_lit.dtypes import at_least_float32
from msdn_lit.losses.functional import class_mask

ClassIds = Tensor | Sequence[int]


class Output(Protocol):
    """The part of a net's output that losses use."""

    @property
    def logits_BC(self) -> Tensor:
        """Class logits without calibration margin, (B, C)."""

    @property
    def attribute_scores_BK(self) -> Tensor:
        """Attribute scores, (B, K)."""


class DomainLoss(nn.Module):
    """Base class of losses that know the candidate classes.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes. Classes in neither list are no candidates.
        calibration: Number that is added to unseen and subtracted from seen logits (release: 1).
    """

    seen: Tensor
    unseen: Tensor
    seen_C: Tensor
    unseen_C: Tensor
    margin_C: Tensor
    class_attributes_CK: Tensor

    def __init__(self, seen: ClassIds, unseen: ClassIds, *, calibration: float = 1.0) -> None:
        super().__init__()
        seen, unseen = torch.as_tensor(seen), torch.as_tensor(unseen)
        num_classes = int(torch.cat([seen, unseen]).max()) + 1  # any further class is no candidate
        margin_C = torch.zeros(num_classes).index_fill(0, seen, -calibration)
        buffers = {
            "seen": seen,
            "unseen": unseen,
            "seen_C": class_mask(seen, num_classes),
            "unseen_C": class_mask(unseen, num_classes),
            "margin_C": margin_C.index_fill(0, unseen, calibration),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def keep_class_attributes(self, class_attributes_CK: Tensor) -> None:
        """Keeps class semantic vectors, (C, K), with unit rows as `class_attributes_CK`."""
        unit_CK = normalize(class_attributes_CK, dim=1)
        self.register_buffer("class_attributes_CK", unit_CK, persistent=False)

    @property
    def domains(self) -> tuple[Tensor, Tensor]:
        """Masks of the seen and of the unseen classes, as the terms take them."""
        return self.seen_C, self.unseen_C

    def with_margin(self, logits_BC: Tensor) -> Tensor:
        """Returns logits of the candidates with the calibration margin, in float32 at least."""
        return at_least_float32(logits_BC[..., : len(self.margin_C)]) + self.margin_C


def stacked_logits(outputs: Sequence[Output]) -> Tensor:
    """Returns the logits of O outputs as one tensor, (O, B, C)."""
    return torch.stack([output.logits_BC for output in outputs])


def stacked_scores(outputs: Sequence[Output]) -> Tensor:
    """Returns the attribute scores of O outputs as one tensor, (O, B, K)."""
    return torch.stack([output.attribute_scores_BK for output in outputs])
