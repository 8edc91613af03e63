"""A net on images: a backbone whose regions go into any net, trained together.

Letters: B batch, R regions, D visual channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from msdn_lit.errors import ConfigError
from msdn_lit.models.base import output_names

if TYPE_CHECKING:  # it imports timm, which is slow
    from msdn_lit.models.backbones.backbone import RegionBackbone

TRAINED = ("none", "last_stage", "all")  # parts of a backbone that can be trained
_CHUNK = 64  # images that go through the backbone at once where no gradient is needed


class EndToEnd(nn.Module):
    """A net on images (B, H, W, 3): standardise, compute regions, and the net on the regions.

    The outputs are those of the net. The backbone stays in evaluation mode under `.train()`: the
    statistics of its batch normalisation and its dropout are those of extraction, so that without
    training it computes the regions of a feature store, before they are rounded to fp16.

    Args:
        backbone: Backbone. Its weights become trainable as `train` says.
        net: Net on regions (B, R, D).
        mean: Mean per channel, for pixel values in [0, 1].
        std: Standard deviation per channel, for pixel values in [0, 1].
        train: Part of the backbone that is trained: "none", "last_stage" or "all".
        checkpointing: Compute activations again in the backward pass, to save memory.

    Attributes:
        trained: Part of the backbone that is trained.

    Raises:
        ConfigError: `train` is wrong, timm states no stages of this backbone, or it has no gradient
            checkpointing.
    """

    mean_3: Tensor
    std_3: Tensor
    can_be_stacked = False  # several seeds would need several backbones

    def __init__(
        self,
        backbone: RegionBackbone,
        net: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        train: str = "all",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if train not in TRAINED:
            expected = f"one of {', '.join(TRAINED)}"
            raise ConfigError("features.train is wrong", expected=expected, found=train)
        self.backbone = backbone
        self.net = net
        self.trained = train
        self.register_buffer("mean_3", torch.tensor(mean), persistent=False)
        self.register_buffer("std_3", torch.tensor(std), persistent=False)
        backbone.requires_grad_(train == "all")
        for weight in last_stage(backbone) if train == "last_stage" else ():
            weight.requires_grad_(True)
        if checkpointing:
            _set_checkpointing(backbone)
        self.train(self.training)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs: those of the net."""
        return output_names(self.net)

    def train(self, mode: bool = True) -> EndToEnd:
        """Sets the net to training or evaluation mode; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pixels_BHW3: Tensor) -> Any:  # noqa: ANN401 - outputs of any net
        """Computes the outputs of the net for cropped images.

        Args:
            pixels_BHW3: Bytes, or floats from 0 to 255, (B, size, size, 3).
        """
        return self.net(self.regions(pixels_BHW3))

    def regions(self, pixels_BHW3: Tensor) -> Tensor:
        """Computes the regions of cropped images, (B, R, D)."""
        if torch.is_grad_enabled():
            return self._compute(pixels_BHW3)
        return torch.cat(
            [self._compute(part_BHW3) for part_BHW3 in torch.split(pixels_BHW3, _CHUNK)]
        )

    def parameter_groups(self, backbone_lr: float | None) -> list[dict[str, Any]]:
        """Returns the parameters for an optimizer: those of the net, and the backbone's trained.

        Args:
            backbone_lr: Learning rate of the backbone; None for that of the net.
        """
        backbone: dict[str, Any] = {
            "params": [w for w in self.backbone.parameters() if w.requires_grad]
        }
        if backbone_lr is not None:
            backbone["lr"] = backbone_lr
        return [{"params": list(self.net.parameters())}, backbone]

    def _compute(self, pixels_BHW3: Tensor) -> Tensor:
        return regions_of_pixels(self.backbone, pixels_BHW3, self.mean_3, self.std_3)


def regions_of_pixels(
    backbone: RegionBackbone, pixels_BHW3: Tensor, mean_3: Tensor, std_3: Tensor
) -> Tensor:
    """Computes the regions of cropped images, (B, R, D); it can be traced.

    Args:
        backbone: Backbone.
        pixels_BHW3: Bytes, or floats from 0 to 255, (B, size, size, 3).
        mean_3: Mean per channel, for pixel values in [0, 1].
        std_3: Standard deviation per channel, for pixel values in [0, 1].
    """
    images_BHW3 = (pixels_BHW3.float() / 255 - mean_3) / std_3
    maps_BDHW = backbone.forward_map(images_BHW3.permute(0, 3, 1, 2))
    return maps_BDHW.flatten(2).transpose(1, 2)


def last_stage(backbone: RegionBackbone) -> Iterator[nn.Parameter]:
    """Yields the weights behind the last but one of the feature maps that timm names.

    These are layer4 of a ResNet, the stages of the coarsest resolution and the head of an
    EfficientNet, the last block and the norm of a ViT.

    Raises:
        ConfigError: timm names no feature maps of this model.
    """
    known = getattr(backbone.model, "feature_info", None)
    infos = cast(Sequence[dict[str, Any]], getattr(known, "info", known))
    index = len(infos or ()) - 1 if backbone.stage is None else backbone.stage
    if index < 1 and backbone.stage is None:
        problem = "features.train=last_stage: timm names no stages of this backbone"
        raise ConfigError(problem, action="Use features.train=all.")
    names = _names(infos[index - 1]["module"]) if index else set()
    is_behind = not names
    for name, module in backbone.model.named_modules():
        is_inside = any(name == each or name.startswith(f"{each}.") for each in names)
        if is_behind and not is_inside:
            yield from module.parameters(recurse=False)
        is_behind = is_behind or is_inside


def _names(module: str) -> set[str]:
    """Returns the names that a module of timm has; a list of stages replaces dots."""
    return {module, module.replace(".", "_")}


def _set_checkpointing(backbone: RegionBackbone) -> None:
    switch = getattr(backbone.model, "set_grad_checkpointing", None)
    try:
        if switch is None:
            raise AssertionError("the model has no such method")
        switch(True)
    except (AssertionError, AttributeError) as error:  # timm's ways to say that it cannot
        problem = f"features.checkpointing: timm cannot do it for this backbone ({error})"
        raise ConfigError(problem, action="Use features.checkpointing=false.") from error
