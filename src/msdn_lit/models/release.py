"""Weights of the authors' released code, by the names that it gives them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from msdn_lit.errors import CheckpointError

_WEIGHTS = ("V", "W_1", "W_2", "W_1_1", "W_2_1")
_UNUSED = {"W_3", "W_3_1"}  # never receive a gradient, and no logit depends on them
_CONSTANTS = {"att", "weight_ce", "bias", "mask_bias", "prob_prune"}


def from_release(weights: Mapping[str, Tensor], class_attributes_CK: Tensor) -> dict[str, Tensor]:
    """Gives the weights of a release file the names and shapes of `MSDN`.

    Args:
        weights: V (K, E), W_1 and W_2 (E, D) of attribute -> visual, W_1_1 (D, E) and W_2_1 (E, D)
            of visual -> attribute, and the constants that the release also saves.
        class_attributes_CK: Class vectors of the net, with unit rows, (C, K). Those of the file
            must be the same.

    Raises:
        CheckpointError: A weight is missing, unknown or of another shape, or the classes differ.
    """
    missing = sorted({*_WEIGHTS} - weights.keys())
    foreign = sorted(weights.keys() - {*_WEIGHTS} - _UNUSED - _CONSTANTS)
    if missing or foreign:
        found = f"missing: {', '.join(missing) or 'none'}; foreign: {', '.join(foreign) or 'none'}"
        raise CheckpointError(
            "These are not the weights of the released code",
            expected=", ".join(_WEIGHTS),
            found=found,
        )
    att_CK = weights.get("att", class_attributes_CK).to(class_attributes_CK)
    if att_CK.shape != class_attributes_CK.shape or not torch.allclose(
        att_CK, class_attributes_CK, atol=1e-5
    ):
        problem = "These weights are of other classes or attributes"
        raise CheckpointError(
            problem, expected=tuple(class_attributes_CK.shape), found=tuple(att_CK.shape)
        )
    K, E, D = class_attributes_CK.shape[1], weights["V"].shape[-1], weights["W_1"].shape[-1]
    for name, expected in zip(_WEIGHTS, [(K, E), (E, D), (E, D), (D, E), (E, D)], strict=True):
        if weights[name].shape != expected:
            problem = f"Weight {name} has another shape"
            raise CheckpointError(problem, expected=expected, found=tuple(weights[name].shape))
    V, W_1, W_2, W_1_1, W_2_1 = (weights[name].float() for name in _WEIGHTS)
    return {
        "attribute_vectors_KE": V,
        "subnets.attribute_to_visual.weights_MED": torch.stack([W_1, W_2]),
        "subnets.visual_to_attribute.weights_MED": torch.stack([W_1_1.T, W_2_1]),
    }
