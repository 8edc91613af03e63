"""Results of a prediction.

Letters: C classes, K attributes, H x W regions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.inference.candidates import Candidates
from msdn_lit.inference.counterfactual import Counterfactual, counterfactuals
from msdn_lit.inference.reference import Reference

Array = NDArray[np.float32]

_NUM_SHOWN = 10  # attributes and counterfactuals in `to_dict`


@dataclass(frozen=True)
class ClassScore:
    """Score of one class.

    Attributes:
        name: Name of the class.
        domain: "seen", "unseen" or "new".
        score: Sum of the contributions and the margin.
        margin: Margin of the calibration, positive for classes without training images.
        contributions_K: Class value times attribute score, for each attribute, (K,).
    """

    name: str
    domain: str
    score: float
    margin: float
    contributions_K: Array


@dataclass(frozen=True)
class Prediction:
    """Prediction for one image.

    Attributes:
        image: File name; "" for an image without a file.
        classes: Best classes, the highest score first.
        attribute_names: K names.
        attribute_scores_K: Attribute scores of the sub-nets with the fusion weights, (K,).
        subnet_scores: Attribute scores of each sub-net by name, (K,).
        attention: Attention over the regions by name of the sub-net, (K, H, W); empty for a model
            without attention.
        pixels: Input of the backbone, bytes, (size, size, 3).
        crop: Part of the image that this is, turned upright: left, top, right and bottom as shares
            of its width and height.
        candidates: All classes that were compared.
        margins_C: Margin of each candidate, (C,).
        fusion: Weight of each sub-net by name.
        reference: Scores, leads and images of the model's run, as far as they are known; without
            leads if not all known classes were compared.
        likeness: Share of the run's test images that are less like the training images than this
            one; near 0, the image is like none of them. None if it is not known.
    """

    image: str
    classes: tuple[ClassScore, ...]
    attribute_names: tuple[str, ...]
    attribute_scores_K: Array
    subnet_scores: Mapping[str, Array]
    attention: Mapping[str, Array]
    pixels: NDArray[np.uint8]
    crop: tuple[float, float, float, float]
    candidates: Candidates
    margins_C: Array
    fusion: Mapping[str, float]
    reference: Reference
    likeness: float | None

    @property
    def best(self) -> ClassScore:
        """The predicted class."""
        return self.classes[0]

    @cached_property
    def counterfactuals(self) -> list[Counterfactual]:
        """Changes for which another class wins, the smallest change first."""
        attributes_CK = self.candidates.attributes_CK
        return counterfactuals(self.attribute_scores_K, attributes_CK, self.margins_C)

    def top_attributes(self, number: int = _NUM_SHOWN) -> list[int]:
        """Returns the attributes with the largest contributions to the predicted class."""
        order: list[int] = np.argsort(-self.best.contributions_K, kind="stable")[:number].tolist()
        return order

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON.

        Returns:
            The classes with their largest contributions, the attribute scores, and the nearest
            counterfactuals.
        """
        scores = zip(self.attribute_names, self.attribute_scores_K, strict=True)
        return {
            "image": self.image,
            "classes": [self._class_record(score) for score in self.classes],
            "attributes": {name: float(score) for name, score in scores},
            "counterfactuals": [
                self._counterfactual_record(one) for one in self.counterfactuals[:_NUM_SHOWN]
            ],
        }

    def _class_record(self, score: ClassScore) -> dict[str, Any]:
        order = np.argsort(-np.abs(score.contributions_K), kind="stable")[:_NUM_SHOWN].tolist()
        shown = {self.attribute_names[k]: float(score.contributions_K[k]) for k in order}
        return {
            "class": score.name,
            "domain": score.domain,
            "score": score.score,
            "margin": score.margin,
            "contributions": shown,
            "other contributions": score.score - score.margin - sum(shown.values()),
        }

    def _counterfactual_record(self, one: Counterfactual) -> dict[str, Any]:
        names = {
            "rival": self.candidates.names[one.rival],
            "attribute": self.attribute_names[one.attribute],
        }
        return one._asdict() | names
