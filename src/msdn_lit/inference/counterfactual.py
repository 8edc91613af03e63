"""Counterfactuals: the changes of an image's attribute scores that change the prediction.

A class's score is linear in the attribute scores, s_c = sum_k a_ck psi_k + m_c, so every result is
exact.

Letters: C classes, K attributes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.words.attributes import readable_attribute

Array = NDArray[np.float32]


class Counterfactual(NamedTuple):
    """The smallest change of attribute scores at which another class ties with the predicted one.

    Attributes:
        rival: Name of the other class.
        lead: Score of the predicted class minus score of the rival.
        attribute: Name of the attribute whose score alone needs the smallest change.
        change: Change of that attribute's score.
        length: Euclidean length of the smallest change of all attribute scores together.
    """

    rival: str
    lead: float
    attribute: str
    change: float
    length: float

    def __str__(self) -> str:
        score = f"the score of {readable_attribute(self.attribute)!r}"
        direction = "higher" if self.change > 0 else "lower"
        return f"{self.rival} if {score} were {abs(self.change):.2f} {direction}"


def counterfactuals(
    attribute_scores_K: Array,
    class_attributes_CK: Array,
    margins_C: Array,
    class_names: Sequence[str],
    attribute_names: Sequence[str],
) -> list[Counterfactual]:
    """Computes for each class but the predicted one the changes at which it wins.

    The first result is the smallest change of a single attribute score that changes the prediction.
    At the change of a later result a third class may win before its rival does.

    Args:
        attribute_scores_K: psi, (K,).
        class_attributes_CK: a, (C, K).
        margins_C: m, (C,).
        class_names: C names.
        attribute_names: K names.

    Returns:
        Counterfactuals, the smallest single change first. There is none for a class with the
        attributes of the predicted one.
    """
    attributes_CK = class_attributes_CK.astype(np.float64)
    scores_C = attributes_CK @ attribute_scores_K + margins_C
    winner = int(scores_C.argmax())
    results = []
    for c, direction_K in enumerate(attributes_CK - attributes_CK[winner]):
        k = int(np.abs(direction_K).argmax())
        if c == winner or not direction_K[k]:
            continue
        lead = float(scores_C[winner] - scores_C[c])
        length = lead / float(np.linalg.norm(direction_K))
        change = lead / float(direction_K[k])
        results.append(Counterfactual(class_names[c], lead, attribute_names[k], change, length))
    return sorted(results, key=lambda result: abs(result.change))
