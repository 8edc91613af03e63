"""Predictions in a notebook: a fragment of HTML that needs no other file and no script.

Styles are inline and colours follow those of the notebook, so that it is readable in a light and in
a dark one.

Letters: K attributes, H x W regions, h x w pixels.
"""

import base64
import io
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from msdn_lit.data.words.attributes import readable_attribute
from msdn_lit.inference.page.page import page
from msdn_lit.inference.results import Prediction

_NUM_REASONS = 6  # contributions with a line of their own
_NUM_MAPS = 5  # attention maps
_NUM_IMAGES = 10  # of several predictions
_POSITIVE, _NEGATIVE = "#3f7fbf", "#c8642d"  # 3:1 on white and on black
_TEMPLATE = Path(__file__).with_name("notebook.html")


class _Row(NamedTuple):
    """A line of the sum: what it is, its number, and its bar in percent of the width."""

    label: str
    number: str
    left: float
    width: float
    colour: str


def prediction_html(found: Prediction) -> str:
    """Returns a prediction with its picture, reasons and attention maps."""
    template = jinja2.Environment(autoescape=True).from_string(_TEMPLATE.read_text("utf-8"))
    name = max(found.attention, key=lambda each: found.fusion[each], default="")
    return template.render(
        found=found,
        picture=_source(found.pixels),
        rows=list(_rows(found)),
        subnet=name.replace("_", " "),
        maps=list(_maps(found, found.attention[name])) if name else [],
    )


def predictions_html(several: Sequence[Prediction]) -> str:
    """Returns the first ten predictions."""
    rest = len(several) - _NUM_IMAGES
    more = f"<div>{rest:,} more predictions are not shown.</div>" if rest > 0 else ""
    line = '<hr style="opacity:.3;margin:8px 0">'
    return line.join(map(prediction_html, several[:_NUM_IMAGES])) + more


def show(result: object, several: Sequence[Prediction]) -> None:
    """Displays a result in a notebook; elsewhere, opens the page of its predictions in a browser.

    Args:
        result: A prediction or several.
        several: The predictions as a list.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if hasattr(shell, "kernel"):
        from IPython.display import display

        display(result)
        return
    path = Path(tempfile.mkdtemp(prefix="msdn_")) / "predictions.html"
    path.write_text(page(several, "Predictions", {}), encoding="utf-8")
    if not webbrowser.open(path.as_uri()):
        print(f"Open {path} in a browser.")


def _rows(found: Prediction) -> Iterator[_Row]:
    """Contributions, the rest and the calibration, from left to right, and their sum."""
    best = found.best
    reasons = found.top_attributes(_NUM_REASONS)
    number = len(found.top_attributes(len(found.attribute_names))) - len(reasons)
    parts = [(readable_attribute(one.name), one.contribution) for one in reasons]
    if number:
        others = best.score - best.margin - sum(value for _, value in parts)
        parts.append((f"{number} others", others))
    parts.append(("calibration", best.margin))
    ends = np.cumsum([0.0, *(value for _, value in parts)])
    low, high = float(ends.min()), float(ends.max())
    scale = 100 / max(high - low, 1e-12)
    for (label, value), start in zip(parts, ends.tolist(), strict=False):
        left = scale * (min(start, start + value) - low)
        colour = _POSITIVE if value > 0 else _NEGATIVE
        yield _Row(label, f"{value:+.2f}", round(left, 1), round(scale * abs(value), 1), colour)
    yield _Row("score", f"{best.score:.2f}", 0, 0, "")


def _maps(found: Prediction, maps_KHW: NDArray[np.float32]) -> Iterator[dict[str, Any]]:
    """Pictures of the attention for the largest contributions."""
    for one in found.top_attributes(_NUM_MAPS):
        k = found.attribute_names.index(one.name)
        label = f"{readable_attribute(one.name)} {one.contribution:+.2f}"
        yield {"label": label, "source": _source(_overlay(found.pixels, maps_KHW[k]))}


def _overlay(pixels_hw3: NDArray[np.uint8], weights_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours a grey picture where the attention is; a region is a block."""
    low, high = float(weights_HW.min()), float(weights_HW.max())
    relative_HW = np.uint8(255 * (weights_HW - low) / max(high - low, 1e-12))
    size = pixels_hw3.shape[1], pixels_hw3.shape[0]
    relative_hw = np.asarray(Image.fromarray(relative_HW).resize(size, Image.Resampling.NEAREST))
    colour_hw3 = 255 * matplotlib.colormaps["viridis"](relative_hw / 255)[..., :3]
    alpha_hw1 = 0.75 * relative_hw[..., None] / 255
    grey_hw1 = pixels_hw3.mean(axis=2, keepdims=True)
    overlay: NDArray[np.uint8] = (grey_hw1 + alpha_hw1 * (colour_hw3 - grey_hw1)).astype(np.uint8)
    return overlay


def _source(pixels_hw3: NDArray[np.uint8]) -> str:
    """A picture as the source of an image element."""
    content = io.BytesIO()
    Image.fromarray(pixels_hw3).save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
