from typing import NamedTuple

import torch
from torch import Tensor, nn

from msdn_lit.losses import DomainLoss, attribute_regression, cross_entropy_paper
from msdn_lit.models import ClassNet


class APN(ClassNet):
    output_names = ("image", "prototypes")

    def __init__(self, attribute_vectors_KE, class_attributes_CK, visual_dim):
        super().__init__(class_attributes_CK)
        K = class_attributes_CK.shape[1]
        self.image_DK = nn.Parameter(torch.randn(visual_dim, K) / visual_dim**0.5)
        self.prototypes_KD = nn.Parameter(torch.randn(K, visual_dim) / visual_dim**0.5)

    def forward(self, regions_BRD):
        regions_BRD = regions_BRD.float()
        maps_BKR = self.prototypes_KD @ regions_BRD.transpose(1, 2)
        image = self.output(regions_BRD.mean(dim=1) @ self.image_DK)
        prototypes = self.output(maps_BKR.amax(dim=2), maps_BKR.softmax(dim=2))
        return image, prototypes


class APNTerms(NamedTuple):
    loss: Tensor
    cross_entropy: Tensor
    regression: Tensor


class APNLoss(DomainLoss):
    def __init__(self, seen, unseen, *, class_attributes, lambda_reg):
        super().__init__(seen, unseen)
        self.keep_class_attributes(class_attributes)
        self.lambda_reg = lambda_reg

    def forward(self, outputs, labels_B):
        image, prototypes = outputs
        ce = cross_entropy_paper(image.logits_BC, labels_B, *self.domains)
        scores_BK = prototypes.attribute_scores_BK
        regression = attribute_regression(scores_BK, labels_B, self.class_attributes_CK)
        return APNTerms(ce + self.lambda_reg * regression, ce, regression)
