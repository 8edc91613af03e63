"""Helpers that several test modules share."""

from pathlib import Path

import numpy as np
import torch

from msdn_lit.data.semantics import Semantics
from msdn_lit.runs.checkpoint import find_checkpoint


def semantics(C=7, K=5, E=4):
    """Random semantics of a few classes, of which the last two are unseen."""
    generator = torch.Generator().manual_seed(0)
    attributes_CK = torch.rand(C, K, generator=generator)
    vectors_KE = torch.rand(K, E, generator=generator)
    ids = torch.arange(C).numpy()
    names = tuple("abcdefg")
    return Semantics(names, attributes_CK.numpy(), vectors_KE.numpy(), E, ids[:5], ids[5:])


def weights_of(folder, name="last"):
    """Weights in a checkpoint of a run."""
    return torch.load(find_checkpoint(name, Path(folder)), weights_only=True)["state_dict"]


def numeric_gradient(function, arrays, step=1e-5):
    """Central differences in float64 of a piecewise smooth function of a list of arrays."""
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            value = array[index]
            array[index] = value + step
            above = function(arrays)
            array[index] = value - step
            below = function(arrays)
            array[index] = value
            gradient[index] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients
