"""What every attribute-based net shares: its outputs, and its attribute and class vectors.

Letters: B batch, R regions, D visual channels, K attributes, E word-vector size, C classes.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, Self

from torch import Tensor, nn
from torch.nn.functional import normalize

from msdn_lit.dtypes import at_least_float32, class_product

_SHORTEST = 1e-12  # shorter vectors are divided by this, as torch's normalize does


class SubNetOutput(NamedTuple):
    """Output of a sub-net for a batch.

    Attributes:
        logits_BC: Class logits without calibration margin, scores @ class_attributes^T, (B, C).
        attribute_scores_BK: Attribute scores, (B, K).
        attention_BKR: Attention between attributes and regions, (B, K, R); None for nets without
            attention.
        values_BKR: Values (B, K, R) whose sum over the regions, weighted by attention, gives the
            scores: scores = (attention * values).sum(R). None elsewhere.
    """

    logits_BC: Tensor
    attribute_scores_BK: Tensor
    attention_BKR: Tensor | None = None
    values_BKR: Tensor | None = None


def has_attention(outputs: Sequence[SubNetOutput]) -> bool:
    """Whether any output of a net has attention."""
    return any(output.attention_BKR is not None for output in outputs)


def unit_regions(regions_BRD: Tensor) -> Tensor:
    """Returns regions of unit length in float32 at least, (B, R, D); a zero region stays zero.

    Equal to `normalize(at_least_float32(regions_BRD), dim=2)`. A float32 copy of stored regions is
    divided in place, since a second copy of a batch takes longer than its division.

    Args:
        regions_BRD: Region features of any precision, (B, R, D). They are not changed.
    """
    exact_BRD = at_least_float32(regions_BRD)
    if exact_BRD.dtype == regions_BRD.dtype or exact_BRD.requires_grad:
        return normalize(exact_BRD, dim=2)
    return exact_BRD.div_(exact_BRD.norm(dim=2, keepdim=True).clamp_min(_SHORTEST))


class Dataset(Protocol):
    """What a net needs of a dataset; `msdn_lit.open_dataset` returns one."""

    @property
    def attribute_vectors(self) -> Tensor:
        """Word vectors of the attributes, (K, E)."""

    @property
    def class_attributes(self) -> Tensor:
        """Class semantic vectors, (C, K)."""

    @property
    def visual_dim(self) -> int:
        """D, the number of channels of a region."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the regions."""


class ClassNet(nn.Module):
    """Base class of nets that turn attribute scores into class logits.

    Args:
        class_attributes_CK: Class semantic vectors, (C, K). Rows are normalised.
    """

    class_attributes_CK: Tensor

    def __init__(self, class_attributes_CK: Tensor) -> None:
        super().__init__()
        class_attributes_CK = normalize(class_attributes_CK, dim=1)
        self.register_buffer("class_attributes_CK", class_attributes_CK, persistent=False)

    def output(
        self,
        scores_BK: Tensor,
        attention_BKR: Tensor | None = None,
        values_BKR: Tensor | None = None,
    ) -> SubNetOutput:
        """Returns an output with the logits of its scores."""
        logits_BC = class_product(scores_BK, self.class_attributes_CK)
        return SubNetOutput(logits_BC, scores_BK, attention_BKR, values_BKR)

    @classmethod
    def for_dataset(cls, data: Dataset, **settings: Any) -> Self:  # noqa: ANN401 - those of __init__
        """Makes a net for the sizes and semantics of a dataset.

        Args:
            data: Dataset, e.g. from `msdn_lit.open_dataset`.
            **settings: Keyword arguments of the class.
        """
        if "grid" in inspect.signature(cls).parameters:
            settings = {"grid": data.grid} | settings
        make: Callable[..., Self] = cls  # the constructors of nets have more arguments
        return make(data.attribute_vectors, data.class_attributes, data.visual_dim, **settings)


class AttributeNet(ClassNet):
    """Base class of nets whose sub-nets share trainable attribute vectors.

    Args:
        attribute_vectors_KE: Word vectors of the attributes, (K, E). Initial values: unit rows.
        class_attributes_CK: Class semantic vectors, (C, K). Rows are normalised.
        renormalize: Normalise the attribute vectors in every forward pass (the releases on AWA2).

    Attributes:
        subnets: Sub-nets by name, in the order of the outputs; subclasses make them.
    """

    subnets: nn.ModuleDict

    def __init__(
        self, attribute_vectors_KE: Tensor, class_attributes_CK: Tensor, *, renormalize: bool
    ) -> None:
        super().__init__(class_attributes_CK)
        self.attribute_vectors_KE = nn.Parameter(normalize(attribute_vectors_KE, dim=1))
        self.renormalize = renormalize

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs: those of the sub-nets."""
        return tuple(self.subnets)

    def vectors(self) -> Tensor:
        """Returns the attribute vectors of a forward pass, (K, E)."""
        vectors_KE = self.attribute_vectors_KE
        return normalize(vectors_KE, dim=1) if self.renormalize else vectors_KE


def output_names(net: nn.Module) -> tuple[str, ...]:
    """Returns the names of a net's outputs: its `output_names`, or "net" for its only output."""
    return tuple(getattr(net, "output_names", ("net",)))
