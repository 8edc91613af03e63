"""A predictor as one graph of tensors, for other runtimes: from image bytes to class logits.

Letters: B images, C classes, D visual channels, K attributes, R regions, H and W rows and columns
of pixels or of regions.
"""

import torch
from torch import Tensor, nn

from msdn_lit.inference.predictor import Predictor
from msdn_lit.models.backbones.end_to_end import regions_of_pixels


class Graph(nn.Module):
    """Preprocessing, backbone and net. Resizing and cropping (`ImageTransform.crop`) come before.

    Args:
        predictor: Predictor to convert.

    Attributes:
        names: Names of the tensors that `forward` returns.
    """

    mean_3: Tensor
    std_3: Tensor
    classes_CK: Tensor
    margins_C: Tensor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.backbone = predictor.backbone
        self.net = predictor.net
        self.weights = tuple(predictor.fusion.values())
        self.names = ("logits", *_output_names(predictor))
        self.register_buffer("mean_3", torch.tensor(predictor.transform.mean))
        self.register_buffer("std_3", torch.tensor(predictor.transform.std))
        self.register_buffer("classes_CK", torch.from_numpy(predictor.classes.attributes_CK))
        self.register_buffer("margins_C", torch.from_numpy(predictor.margins(predictor.classes)))

    def forward(self, pixels_BHW3: Tensor) -> tuple[Tensor, ...]:
        """Computes the tensors of `names`.

        Args:
            pixels_BHW3: Bytes of cropped images, (B, size, size, 3).

        Returns:
            Fused and calibrated logits (B, C), then for each sub-net its attribute scores (B, K)
            and, if it has attention, its attention (B, K, R).
        """
        outputs = self.net(regions_of_pixels(self.backbone, pixels_BHW3, self.mean_3, self.std_3))
        scores = torch.stack(
            [w * o.attribute_scores_BK for w, o in zip(self.weights, outputs, strict=True)]
        )
        logits_BC = scores.sum(dim=0) @ self.classes_CK.T + self.margins_C
        tensors = [tensor for o in outputs for tensor in (o.attribute_scores_BK, o.attention_BKR)]
        return (logits_BC, *(tensor for tensor in tensors if tensor is not None))


def _output_names(predictor: Predictor) -> list[str]:
    """Names of the outputs' tensors; a blank image shows which outputs have attention."""
    size = predictor.transform.image_size
    outputs, _ = predictor.forward_regions(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    names = []
    for name, output in zip(predictor.fusion, outputs, strict=True):
        names.append(f"scores_{name}")
        if output.attention_BKR is not None:
            names.append(f"attention_{name}")
    return names
