"""What a prediction says."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.inference.candidates import Candidates
from msdn_lit.inference.counterfactual import Counterfactual, counterfactuals

Array = NDArray[np.float32]
_NUM_SHOWN = 10  # attributes and counterfactuals in a record


@dataclass(frozen=True)
class ClassScore:
    """One class's part of a prediction.

    Attributes:
        name: The class.
        side: "seen", "unseen" or "new".
        score: Of the class: the sum of its contributions and its margin.
        margin: The calibration's part, positive for classes that were not trained on.
        contributions_K: Class value times attribute score, of each attribute, (K,).
    """

    name: str
    side: str
    score: float
    margin: float
    contributions_K: Array


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        image: The file's name; "" of a picture from memory.
        classes: The top classes, the best first.
        attribute_names: K names.
        attribute_scores_K: Scores of the sub-nets in the weights of the fusion, (K,).
        subnet_scores: Attribute scores of each sub-net by name, (K,).
        attention: Attention of each sub-net by name over the rows and columns of regions, (K, H, W).
        picture: What the backbone saw, bytes, (size, size, 3).
        candidates: All classes that were compared.
        margins_C: The calibration's part in each candidate's score.
    """

    image: str
    classes: tuple[ClassScore, ...]
    attribute_names: tuple[str, ...]
    attribute_scores_K: Array
    subnet_scores: Mapping[str, Array]
    attention: Mapping[str, Array]
    picture: NDArray[np.uint8]
    candidates: Candidates
    margins_C: Array

    @property
    def best(self) -> ClassScore:
        """The predicted class."""
        return self.classes[0]

    @cached_property
    def counterfactuals(self) -> list[Counterfactual]:
        """What would have to change for another class to win, the smallest change first."""
        return counterfactuals(
            self.attribute_scores_K, self.candidates.attributes_CK, self.margins_C
        )

    def top_attributes(self, number: int = _NUM_SHOWN) -> list[int]:
        """The attributes that speak most for the predicted class."""
        order: list[int] = np.argsort(-self.best.contributions_K, kind="stable")[:number].tolist()
        return order

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: classes, attribute scores, the top_attributes attributes of each class, nearest counterfactuals."""
        names = self.attribute_names
        return {
            "image": self.image,
            "classes": [self._class_record(found) for found in self.classes],
            "attributes": {
                name: float(score)
                for name, score in zip(names, self.attribute_scores_K, strict=True)
            },
            "counterfactuals": [
                flip._asdict()
                | {"rival": self.candidates.names[flip.rival], "attribute": names[flip.attribute]}
                for flip in self.counterfactuals[:_NUM_SHOWN]
            ],
        }

    def _class_record(self, found: ClassScore) -> dict[str, Any]:
        order = np.argsort(-np.abs(found.contributions_K), kind="stable")[:_NUM_SHOWN].tolist()
        shown = {self.attribute_names[k]: float(found.contributions_K[k]) for k in order}
        record = {
            "class": found.name,
            "side": found.side,
            "score": found.score,
            "margin": found.margin,
        }
        return record | {
            "contributions": shown,
            "other contributions": found.score - found.margin - sum(shown.values()),
        }
