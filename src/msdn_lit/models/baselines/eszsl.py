"""ESZSL (Romera-Paredes and Torr, "An embarrassingly simple approach to zero-shot learning", 2015).

A bilinear compatibility model with a closed-form solution. W minimises, over the seen classes,

    ||X W Z^T - Y||^2 + gamma ||W Z^T||^2 + lambda ||X W||^2 + gamma lambda ||W||^2

where X (N, D) holds the pooled images, Z (C, K) the class vectors, and Y (N, C) is one in the
column of an image's class and zero elsewhere (as in the authors' code).
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from msdn_lit.dtypes import to_float64
from msdn_lit.errors import ConfigError
from msdn_lit.models.baselines.pooled import BilinearCompatibility, pool_regions


class Moments(NamedTuple):
    """Sums over images that determine the solution, in float64; sums of batches can be added.

    Attributes:
        gram_DD: X^T X, (D, D).
        sums_DC: X^T Y, sum of each class's images, (D, C).
    """

    gram_DD: Tensor
    sums_DC: Tensor


def moments(pooled_ND: Tensor, labels_N: Tensor, num_classes: int) -> Moments:
    """Computes the moments of pooled images (N, D) and their class ids (N,)."""
    x_ND = to_float64(pooled_ND)
    return Moments(x_ND.T @ x_ND, x_ND.T @ to_float64(one_hot(labels_N, num_classes)))


def solve_eszsl(
    images: Moments, class_attributes_CK: Tensor, seen: Tensor, *, gamma: float, lambda_: float
) -> Tensor:
    """Computes W = (X^T X + gamma I)^-1 X^T Y Z (Z^T Z + lambda I)^-1.

    Args:
        images: Moments of images of seen classes.
        class_attributes_CK: Class vectors of all classes, (C, K).
        seen: Ids of the seen classes.
        gamma: Ridge weight of the features, above zero.
        lambda_: Ridge weight of the attributes, above zero.

    Returns:
        Weights W in float64, (D, K).
    """
    z_CK = to_float64(class_attributes_CK[seen])
    left_DK = torch.linalg.solve(
        _with_ridge(images.gram_DD, gamma), images.sums_DC[:, seen.to(z_CK.device)] @ z_CK
    )
    weights_DK: Tensor = torch.linalg.solve(
        _with_ridge(z_CK.T @ z_CK, lambda_), left_DK, left=False
    )
    return weights_DK


class ESZSL(BilinearCompatibility):
    """Bilinear compatibility with the closed-form weights.

    Args:
        attribute_vectors_KE: Word vectors, (K, E). Unused; every net has this argument.
        class_attributes_CK: Class semantic vectors z^c, (C, K). Rows are normalised.
        visual_dim: Number of visual channels D.
        unit_length: Scale pooled images to length one.
        gamma: Ridge weight of the features, above zero.
        lambda_: Ridge weight of the attributes, above zero.

    Raises:
        ConfigError: A ridge weight is not above zero.
    """

    def __init__(
        self,
        attribute_vectors_KE: Tensor,
        class_attributes_CK: Tensor,
        visual_dim: int,
        *,
        unit_length: bool,
        gamma: float,
        lambda_: float,
    ) -> None:
        super().__init__(
            attribute_vectors_KE, class_attributes_CK, visual_dim, unit_length=unit_length
        )
        if not (gamma > 0 and lambda_ > 0):
            raise ConfigError(
                "model.gamma and model.lambda_ must be above zero", found=f"{gamma} and {lambda_}"
            )
        self.gamma = gamma
        self.lambda_ = lambda_

    @torch.no_grad()
    def fit_closed_form(self, batches: Iterable[tuple[Tensor, ...]], seen: Tensor) -> None:
        """Sets the weights to the solution; memory does not grow with the number of images.

        Args:
            batches: Regions (B, R, D) and class ids (B,), with each training image once.
            seen: Ids of the seen classes.
        """
        (C, _), (D, _) = self.class_attributes_CK.shape, self.weights_DK.shape
        total = moments(self.weights_DK.new_zeros(0, D), seen.new_zeros(0), C)
        for regions_BRD, labels_B, *_ in batches:
            pooled_BD = pool_regions(
                regions_BRD.to(self.weights_DK.device), unit_length=self.unit_length
            )
            batch = moments(pooled_BD, labels_B.to(pooled_BD.device), C)
            total = Moments(total.gram_DD + batch.gram_DD, total.sums_DC + batch.sums_DC)
        weights_DK = solve_eszsl(
            total, self.class_attributes_CK, seen, gamma=self.gamma, lambda_=self.lambda_
        )
        self.weights_DK.copy_(weights_DK)


def _with_ridge(matrix: Tensor, weight: float) -> Tensor:
    return matrix + weight * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
