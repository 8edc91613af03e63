"""What would have to change in an image for the prediction to change.

A class's score is linear in the image's attribute scores, s_c = sum_k a_ck psi_k + m_c, so every answer is exact.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Counterfactual(NamedTuple):
    """The smallest change of the attribute scores at which another class draws level with the predicted one.

    Attributes:
        rival: Position of the other class.
        lead: By how much the predicted class's score is above the rival's.
        attribute: The one attribute whose score alone has to change the least.
        change: Of that attribute's score.
        length: Of the smallest change of all attribute scores together, Euclidean.
    """

    rival: int
    lead: float
    attribute: int
    change: float
    length: float


def counterfactuals(
    attribute_scores_K: Array, class_attributes_CK: Array, margins_C: Array
) -> list[Counterfactual]:
    """For each class but the predicted one, what makes it win over that one; the smallest single change first.

    The first is the smallest change of a single attribute score that changes the prediction at all. For a later one
    a third class may win before its rival does.

    Args:
        attribute_scores_K: psi, (K,).
        class_attributes_CK: a, (C, K).
        margins_C: m, (C,).
    """
    scores_C = class_attributes_CK.astype(np.float64) @ attribute_scores_K + margins_C
    winner = int(scores_C.argmax())
    found = []
    for c, direction_K in enumerate(
        class_attributes_CK.astype(np.float64) - class_attributes_CK[winner]
    ):
        k = int(np.abs(direction_K).argmax())
        if c == winner or not direction_K[k]:  # of equal attributes nothing in the image can decide
            continue
        lead = float(scores_C[winner] - scores_C[c])
        length = lead / float(np.linalg.norm(direction_K))
        found.append(Counterfactual(c, lead, k, lead / float(direction_K[k]), length))
    return sorted(found, key=lambda flip: abs(flip.change))
