"""What is known of the classes: their attributes, the attributes' word vectors, and which are seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.xlsa17 import IntArray


@dataclass(frozen=True)
class Semantics:
    """The side information of one ZSL problem; every size that a net needs comes from here.

    Attributes:
        class_names: C names.
        class_attributes_CK: Class semantic vectors with unit rows, (C, K).
        attribute_vectors_KE: Attribute word vectors as published, (K, E); None when they are learned from scratch.
        seen: Ids of the classes that training may use, ascending.
        unseen: Ids of the classes to recognise without an example, ascending. Classes in neither are not candidates.
    """

    class_names: tuple[str, ...]
    class_attributes_CK: NDArray[np.float32]
    attribute_vectors_KE: NDArray[np.float32] | None
    seen: IntArray
    unseen: IntArray


def unit_class_attributes(class_attributes_CK: NDArray[np.float32], *, clamp_negative: bool) -> NDArray[np.float32]:
    """L2-normalises the class semantic vectors.

    Args:
        class_attributes_CK: As in the split file, (C, K).
        clamp_negative: Set negative entries (AWA2's code for "not rated") to zero first, as the release does on AWA2.

    Returns:
        Rows of length one; a row of zeros stays zero. (C, K).
    """
    values_CK = np.maximum(class_attributes_CK, 0) if clamp_negative else class_attributes_CK
    norms_C1 = np.linalg.norm(values_CK, axis=1, keepdims=True)
    unit_CK: NDArray[np.float32] = np.divide(values_CK, norms_C1, out=np.zeros_like(values_CK), where=norms_C1 > 0)
    return unit_CK


def derange(class_attributes_CK: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Gives every class the attributes of another one: a control that leaves nothing to transfer."""
    order = np.random.default_rng(seed).permutation(len(class_attributes_CK))
    deranged_CK = np.empty_like(class_attributes_CK)
    deranged_CK[order] = class_attributes_CK[np.roll(order, 1)]
    return deranged_CK
