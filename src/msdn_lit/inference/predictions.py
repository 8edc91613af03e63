"""Predictions for several images, together."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msdn_lit.errors import ConfigError
from msdn_lit.inference.results import Prediction

if TYPE_CHECKING:
    from pandas import DataFrame  # pandas is not a dependency


class Predictions(list[Prediction]):
    """Predictions for several images: a list, with a table as text, in a notebook and in pandas."""

    def __init__(self, predictions: Iterable[Prediction] = ()) -> None:
        super().__init__(predictions)

    def __repr__(self) -> str:
        return "[" + ",\n ".join(map(repr, self)) + "]"

    def __str__(self) -> str:
        width = max((len(one.title) for one in self), default=0)
        return "\n".join(f"{one.title:{width}}  {_summary(one)}" for one in self)

    def _repr_html_(self) -> str:
        from msdn_lit.inference.page.notebook import predictions_html

        return predictions_html(self)

    def show(self) -> None:
        """Shows the predictions: in the notebook, or as a page in the browser."""
        from msdn_lit.inference.page.notebook import show

        show(self, self)

    def to_frame(self) -> "DataFrame":
        """Returns a row of a pandas table for each image and each of its `classes`.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ModuleNotFoundError as error:
            action = "pip install pandas, or use to_dict()."
            raise ConfigError("pandas is not installed", action=action) from error
        columns = ["image", "rank", "class", "domain", "score", "margin"]
        return DataFrame([dict(zip(columns, row, strict=True)) for row in self.rows()])

    def rows(self) -> list[tuple[str, int, str, str, float, float]]:
        """Returns image, rank, class, domain, score and margin of each class of each image."""
        return [
            (found.image, rank, one.name, one.domain, one.score, one.margin)
            for found in self
            for rank, one in enumerate(found.classes, 1)
        ]


def _summary(found: Prediction) -> str:
    lead = "" if found.lead is None else f"  lead {found.lead:.2f}"
    known = found.percent_of_right
    known = f" (> {known} of right answers)" if known else ""
    hint = "  like no training image" if found.is_unlike_training else ""
    return f"{found.best.name} ({found.best.domain})  {found.best.score:.2f}{lead}{known}{hint}"
