"""What the losses share: the candidate classes, and what they read of an output."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from msdn_lit.dtypes import at_least_float32

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
        calibration: Margin that is added to unseen and subtracted from seen logits (release: 1).
    """

    seen: Tensor
    unseen: Tensor
    class_attributes_CK: Tensor

    def __init__(self, seen: ClassIds, unseen: ClassIds, *, calibration: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("seen", torch.as_tensor(seen), persistent=False)
        self.register_buffer("unseen", torch.as_tensor(unseen), persistent=False)
        self.calibration = calibration

    def keep_class_attributes(self, class_attributes_CK: Tensor) -> None:
        """Keeps class semantic vectors, (C, K), with unit rows as `class_attributes_CK`."""
        unit_CK = normalize(class_attributes_CK, dim=1)
        self.register_buffer("class_attributes_CK", unit_CK, persistent=False)

    @property
    def domains(self) -> tuple[Tensor, Tensor]:
        """Ids of the seen and of the unseen classes."""
        return self.seen, self.unseen

    def with_margin(self, logits_BC: Tensor) -> Tensor:
        """Returns logits with the calibration margin, in float32 at least."""
        logits_BC = at_least_float32(logits_BC)
        margin_C = torch.zeros_like(logits_BC[0])
        margin_C[self.seen] = -self.calibration
        margin_C[self.unseen] = self.calibration
        return logits_BC + margin_C
