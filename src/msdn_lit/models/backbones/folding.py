"""Batch normalisation of a frozen CNN, folded into its convolutions: fewer passes over memory."""

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.hooks import RemovableHandle

from msdn_lit.lazy import import_without_extras

timm_layers = import_without_extras("timm.layers")

# Largest difference of the outputs, as a share of the largest value; fp32 has about 1e-5.
_TOLERANCE = 1e-3


@torch.no_grad()
def fold_batch_norms(model: nn.Module, run: Callable[[nn.Module], Tensor]) -> nn.Module:
    """Returns a copy of a model whose convolutions do the work of the BatchNorms behind them.

    A BatchNorm with fixed statistics multiplies and shifts each channel. A convolution whose
    weights are multiplied and whose bias is shifted computes the same. A BatchNorm is folded if its
    input is the output of a convolution. If the copy computes something else, e.g. because the
    model also reads that output elsewhere, the model itself is returned.

    Args:
        model: Model in evaluation mode.
        run: Function that computes an output of a model for a fixed image, in fp32.
    """
    if not any(isinstance(each, nn.BatchNorm2d) for each in model.modules()):
        return model
    folded = copy.deepcopy(model)
    for norm, conv in _convolutions_before(model, run).items():
        _fold(folded, conv, norm)
    expected = run(model)
    difference = (run(folded) - expected).abs().max()
    return folded if difference <= _TOLERANCE * expected.abs().max() else model


def _convolutions_before(model: nn.Module, run: Callable[[nn.Module], Tensor]) -> dict[str, str]:
    """Runs a model; returns the name of the convolution before each BatchNorm that has one."""
    output: list[tuple[str, object]] = [("", None)]  # of the last convolution
    found: dict[str, str] = {}

    def watch(name: str, module: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], made: Tensor) -> None:
            if isinstance(module, nn.Conv2d):
                output[0] = name, made
            elif output[0][1] is inputs[0]:
                found[name] = output[0][0]

        return module.register_forward_hook(hook)

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    watched = [(name, each) for name, each in model.named_modules() if isinstance(each, kinds)]
    handles = [watch(name, module) for name, module in watched]
    try:
        run(model)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _fold(model: nn.Module, conv_name: str, norm_name: str) -> None:
    conv = cast(nn.Conv2d, model.get_submodule(conv_name))
    norm = cast(nn.BatchNorm2d, model.get_submodule(norm_name))
    rest: nn.Module = nn.Identity()
    if isinstance(norm, timm_layers.BatchNormAct2d):  # timm's has the activation in it
        rest = nn.Sequential(norm.drop, norm.act)
    model.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
    model.set_submodule(norm_name, rest)
