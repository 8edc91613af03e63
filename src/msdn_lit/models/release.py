"""Weights of the authors' released code, under its own names."""

from collections.abc import Mapping

import torch
from torch import Tensor

from msdn_lit.errors import CheckpointError, some

_WEIGHTS = ("V", "W_1", "W_2", "W_1_1", "W_2_1")
_UNUSED = {"W_3", "W_3_1"}  # no logit depends on them, so they have no gradient
_CONSTANTS = {"att", "weight_ce", "bias", "mask_bias", "prob_prune"}


def from_release(weights: Mapping[str, Tensor], class_attributes_CK: Tensor) -> dict[str, Tensor]:
    """Converts the release's weights to the names and shapes of `MSDN` in its released form.

    Args:
        weights: V (K, E); W_1 and W_2 (E, D) of attribute -> visual; W_1_1 (D, E) and W_2_1 (E, D)
            of visual -> attribute; optionally the other tensors that the released code saves.
        class_attributes_CK: Class vectors of the net with unit rows, (C, K), equal to the file's.

    Returns:
        State dict of `MSDN`.

    Raises:
        CheckpointError: A weight is missing, foreign or of another shape, or the file has other
            classes or attributes.
    """
    missing = sorted({*_WEIGHTS} - weights.keys())
    foreign = sorted(weights.keys() - {*_WEIGHTS} - _UNUSED - _CONSTANTS)
    if missing or foreign:
        found = f"missing: {some(missing) or 'none'}; foreign: {some(foreign) or 'none'}"
        raise CheckpointError(
            "These are not the weights of the released code",
            expected=", ".join(_WEIGHTS),
            found=found,
        )
    att_CK = weights.get("att", class_attributes_CK).to(class_attributes_CK)
    has_same_shape = att_CK.shape == class_attributes_CK.shape
    if not (has_same_shape and torch.allclose(att_CK, class_attributes_CK, atol=1e-5)):
        raise CheckpointError(
            "These weights are of other classes or attributes",
            expected=tuple(class_attributes_CK.shape),
            found=tuple(att_CK.shape),
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
