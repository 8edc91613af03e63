"""Attention between attributes and regions, from one matrix product.

Every map of MSDN is bilinear: a_k^T W v_r for an attribute vector a_k and a region v_r. The maps of
all sub-nets are therefore rows of one product: the stacked queries [V W_1; V W_2; ...] times the
regions. No tensor of the size (B, K, D) is built.
"""

from torch import Tensor


def bilinear_maps(attribute_vectors_KE: Tensor, weights_MED: Tensor, regions_BRD: Tensor) -> Tensor:
    """Computes M bilinear maps of attributes and regions: maps[m, k, b, r] = a_k^T W_m v_br.

    Args:
        attribute_vectors_KE: Attribute vectors a_k, (K, E).
        weights_MED: Matrices W_m, one per map, (M, E, D).
        regions_BRD: Region features v_br, (B, R, D).

    Returns:
        Maps, (M, K, B, R).
    """
    B, R, D = regions_BRD.shape
    vectors_MKE = attribute_vectors_KE.expand(len(weights_MED), -1, -1)
    queries_MKD = vectors_MKE.bmm(weights_MED)  # `@` would copy transposes
    maps_QN = queries_MKD.reshape(-1, D) @ regions_BRD.reshape(-1, D).T
    return maps_QN.reshape(*queries_MKD.shape[:2], B, R)


def over_regions(compatibility_KBR: Tensor) -> Tensor:
    """Returns attention over regions: the softmax over R, so that each attribute sums to one."""
    return compatibility_KBR.softmax(dim=2)


def over_attributes(compatibility_KBR: Tensor) -> Tensor:
    """Returns attention over attributes: the softmax over K, so that each region sums to one."""
    return compatibility_KBR.softmax(dim=0)
