"""The result of a prediction: as numbers, as text, and in a notebook.

Letters: C classes, K attributes, H x W regions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.words.attributes import readable_attribute
from msdn_lit.inference.candidates import Candidates
from msdn_lit.inference.counterfactual import Counterfactual, counterfactuals
from msdn_lit.inference.reference import Reference

if TYPE_CHECKING:
    from pandas import DataFrame  # pandas is not a dependency

Array = NDArray[np.float32]

_NUM_SHOWN = 10  # attributes and counterfactuals in `to_dict`
_NUM_REASONS = 4  # contributions in `print`
_UNLIKE = 0.01  # likeness below which an image counts as like no training image


class Contribution(NamedTuple):
    """What an attribute adds to the score of a class.

    Attributes:
        name: Name of the attribute.
        contribution: Class value times attribute score.
        value: Value of the class, whose K values have length one.
        score: Attribute score of the image.
    """

    name: str
    contribution: float
    value: float
    score: float


@dataclass(frozen=True)
class ClassScore:
    """Score of one class.

    Attributes:
        name: Name of the class.
        domain: "seen", "unseen" or "new".
        score: Sum of the contributions and the margin.
        margin: Number that the calibration adds, positive for classes without training images.
        contributions_K: Class value times attribute score, for each attribute, (K,).
    """

    name: str
    domain: str
    score: float
    margin: float
    contributions_K: Array = field(repr=False)


@dataclass(frozen=True, repr=False)
class Prediction:
    """Prediction for one image. `print` explains it in a few lines, a notebook with pictures.

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

    def __repr__(self) -> str:
        best = self.best
        return f"<Prediction {self.title}: {best.name} ({best.domain}), score {best.score:.2f}>"

    def __str__(self) -> str:
        width = max(len(one.name) for one in self.classes)
        lines = [self.title]
        lines += [
            f"  {one.name:{width}}  {one.score:8.2f}  {one.domain}" for one in self.classes[:3]
        ]
        lines += [f"{sentence}." for sentence in self.remarks()]
        reasons = self.top_attributes(_NUM_REASONS)
        names = [readable_attribute(one.name) for one in reasons]
        width = max(map(len, names), default=0)
        if reasons:
            lines.append(f"Largest contributions to {self.best.name}, value x attribute score:")
        lines += [
            f"  {name:{width}}  {one.contribution:+8.2f} = {one.value:.2f} x {one.score:.2f}"
            for name, one in zip(names, reasons, strict=True)
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from msdn_lit.inference.page.notebook import prediction_html

        return prediction_html(self)

    @property
    def title(self) -> str:
        """File name of the image without its folder, or "image"."""
        return Path(self.image).name or "image"

    @property
    def best(self) -> ClassScore:
        """The predicted class."""
        return self.classes[0]

    @cached_property
    def lead(self) -> float | None:
        """Score of the predicted class minus the second score; None if there is one candidate."""
        scores_C = np.sort(self._scores_C)
        return float(scores_C[-1] - scores_C[-2]) if len(scores_C) > 1 else None

    @property
    def is_unlike_training(self) -> bool:
        """Whether the image is like none of the training images, as far as that is known."""
        return self.likeness is not None and self.likeness < _UNLIKE

    @property
    def certainty(self) -> float | None:
        """Share of the rightly predicted test images with a smaller lead; None if not known."""
        return None if self.lead is None else self.reference.certainty(self.lead)

    @cached_property
    def counterfactuals(self) -> list[Counterfactual]:
        """Changes for which another class wins, the smallest change first."""
        return counterfactuals(
            self.attribute_scores_K,
            self.candidates.attributes_CK,
            self.margins_C,
            self.candidates.names,
            self.attribute_names,
        )

    def top_attributes(
        self, number: int = _NUM_SHOWN, class_name: str | None = None
    ) -> list[Contribution]:
        """Returns the largest contributions to the score of a class, positive ones first.

        Attributes that the class does not have contribute nothing and are left out.

        Args:
            number: Largest number of contributions.
            class_name: One of the candidates, in any spelling; default: the predicted class.

        Raises:
            ConfigError: There is no such candidate.
        """
        name = self.best.name if class_name is None else class_name
        values_K = self.candidates.named([name]).attributes_CK[0]
        contributions_K = values_K * self.attribute_scores_K
        order = np.argsort(-contributions_K, kind="stable")
        return [
            Contribution(
                self.attribute_names[k],
                float(contributions_K[k]),
                float(values_K[k]),
                float(self.attribute_scores_K[k]),
            )
            for k in order.tolist()
            if values_K[k]
        ][:number]

    @property
    def percent_of_right(self) -> str:
        """The certainty in whole percent, rounded down; "" if it is not known."""
        return "" if self.certainty is None else f"{int(100 * self.certainty + 1e-9)}%"

    def remarks(self) -> list[str]:
        """Returns sentences on how far the prediction can be trusted, without their full stop."""
        texts = []
        if self.is_unlike_training:
            texts.append("The image is like none of the training images: do not rely on the answer")
        if self.lead is not None:
            known = self.percent_of_right
            more = f", larger than for {known} of the right answers" if known else ""
            texts.append(f"Lead over the second class: {self.lead:.2f}{more}")
        if self.counterfactuals:
            texts.append(f"It would be {self.counterfactuals[0]}")
        return texts

    def show(self) -> None:
        """Shows the prediction: in the notebook, or as a page in the browser."""
        from msdn_lit.inference.page.notebook import show

        show(self, [self])

    def to_frame(self) -> "DataFrame":
        """Returns a row of a pandas table for each of `classes`.

        Raises:
            ConfigError: pandas is not installed.
        """
        from msdn_lit.inference.predictions import Predictions

        return Predictions([self]).to_frame()

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON.

        Returns:
            The classes with their largest contributions, the lead, certainty and likeness, the
            attribute scores, and the nearest counterfactuals.
        """
        scores = zip(self.attribute_names, self.attribute_scores_K, strict=True)
        return {
            "image": self.image,
            "classes": [self._class_record(score) for score in self.classes],
            "lead": self.lead,
            "certainty": self.certainty,
            "likeness": self.likeness,
            "attributes": {name: float(score) for name, score in scores},
            "counterfactuals": [one._asdict() for one in self.counterfactuals[:_NUM_SHOWN]],
        }

    @property
    def _scores_C(self) -> Array:
        scores_C: Array = self.candidates.attributes_CK @ self.attribute_scores_K + self.margins_C
        return scores_C

    def _class_record(self, score: ClassScore) -> dict[str, Any]:
        order = np.argsort(-np.abs(score.contributions_K), kind="stable")[:_NUM_SHOWN].tolist()
        shown = {
            self.attribute_names[k]: float(score.contributions_K[k])
            for k in order
            if score.contributions_K[k]
        }
        return {
            "class": score.name,
            "domain": score.domain,
            "score": score.score,
            "margin": score.margin,
            "contributions": shown,
            "other contributions": score.score - score.margin - sum(shown.values()),
        }
