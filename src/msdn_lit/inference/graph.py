"""A predictor as one graph of tensors, for other runtimes: from the bytes of a picture to logits and attention."""

import torch
from torch import Tensor, nn

from msdn_lit.inference.predictor import Predictor


class Graph(nn.Module):
    """Preprocessing, backbone and sub-nets; resizing and cropping (`ImageTransform.crop`) come before.

    Args:
        predictor: What to make a graph of.
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
        self.names = (
            "logits",
            *(f"{what}_{name}" for name in predictor.fusion for what in ("scores", "attention")),
        )
        self.register_buffer("mean_3", torch.tensor(predictor.transform.mean))
        self.register_buffer("std_3", torch.tensor(predictor.transform.std))
        self.register_buffer("classes_CK", torch.from_numpy(predictor.classes.attributes_CK))
        self.register_buffer("margins_C", torch.from_numpy(predictor.margins(predictor.classes)))

    def forward(self, pixels_BHW3: Tensor) -> tuple[Tensor, ...]:
        """Computes what `names` lists.

        Args:
            pixels_BHW3: Bytes of cropped pictures, (B, size, size, 3).

        Returns:
            Fused and calibrated logits (B, C), then attribute scores (B, K) and attention (B, K, R) of each sub-net.
        """
        images_BHW3 = (pixels_BHW3.float() / 255 - self.mean_3) / self.std_3
        maps_BDHW = self.backbone.forward_map(images_BHW3.permute(0, 3, 1, 2))
        outputs = self.net(maps_BDHW.flatten(2).transpose(1, 2))
        scores = torch.stack(
            [w * o.attribute_scores_BK for w, o in zip(self.weights, outputs, strict=True)]
        )
        logits_BC = scores.sum(dim=0) @ self.classes_CK.T + self.margins_C
        return (
            logits_BC,
            *(value for o in outputs for value in (o.attribute_scores_BK, o.attention_BKR)),
        )
