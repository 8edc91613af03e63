"""Predictions as one page to look at: heat maps, reasons, edits and new classes, all of it in the browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:  # they need torch, and a page that waits for its model does not
    from msdn_lit.inference import Candidates, Prediction

MAX_PICTURES = 50  # of a page; one of 312 attributes and 14 x 14 regions takes 0.2 MB
UPLOAD_LIMIT = 30_000_000  # bytes
_NOTE = (
    "Each heat map goes from its own smallest to its own largest value, in 256 steps. A class's score is the sum of "
    "its attributes' contributions and its margin; classes are scaled to length one, so only the proportions of their "
    "values matter."
)


def page(predictions: Sequence[Prediction], title: str, failures: Mapping[str, str]) -> str:
    """A page that needs nothing else, of predictions among the same candidates.

    Args:
        predictions: The first 50 are shown.
        title: Of the page.
        failures: Why pictures could not be read, by file.
    """
    shown = predictions[:MAX_PICTURES]
    left_out = f" The first {MAX_PICTURES} of {len(predictions)} pictures." * (
        len(predictions) > MAX_PICTURES
    )
    content: dict[str, Any] = {"model": None, "images": [picture_data(found) for found in shown]}
    if shown:
        first = shown[0]
        content["model"] = model_data(first.candidates, first.attribute_names, first.margins_C)
    return _render(title, content, failures, _NOTE + left_out)


def app_page(title: str) -> str:
    """The page of a program that answers /model and /predict."""
    return _render(title, {"model": None, "limit": UPLOAD_LIMIT}, {}, _NOTE)


def model_data(
    candidates: Candidates, attribute_names: Sequence[str], margins_C: NDArray[np.float32]
) -> dict[str, Any]:
    """What the page needs of the classes."""
    classes = zip(candidates.names, candidates.sides, margins_C.tolist(), strict=True)
    rows = _base64(candidates.attributes_CK.astype("<f4").tobytes())
    return {
        "attributes": list(attribute_names),
        "classes": [list(one) for one in classes],
        "rows": rows,
    }


def picture_data(found: Prediction) -> dict[str, Any]:
    """What the page needs of a prediction."""
    jpeg = io.BytesIO()
    Image.fromarray(found.picture).save(jpeg, "JPEG", quality=85)
    attention = {
        name: _base64(_as_bytes(maps_KHW).tobytes()) for name, maps_KHW in found.attention.items()
    }
    return {
        "name": Path(found.image).name,
        "picture": f"data:image/jpeg;base64,{_base64(jpeg.getvalue())}",
        "psi": _base64(found.attribute_scores_K.astype("<f4").tobytes()),
        "attention": attention,
        "grid": list(next(iter(found.attention.values())).shape[1:]),
    }


def _as_bytes(maps_KHW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Each map from its own smallest to its own largest value."""
    low, high = maps_KHW.min(axis=(1, 2), keepdims=True), maps_KHW.max(axis=(1, 2), keepdims=True)
    scaled: NDArray[np.float32] = 255 * (maps_KHW - low) / np.maximum(high - low, 1e-12)
    return scaled.round().astype(np.uint8)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _render(title: str, content: Mapping[str, Any], failures: Mapping[str, str], note: str) -> str:
    here = Path(__file__).parent
    template = jinja2.Environment(autoescape=True).from_string(
        (here / "explanation.html").read_text(encoding="utf-8")
    )
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")  # no tag ends the script
    script = "".join(
        (here / name).read_text(encoding="utf-8") for name in ("class_scores.js", "explanation.js")
    )
    digest = _base64(
        hashlib.sha256(script.encode()).digest()
    )  # the browser runs this script and no other
    return template.render(
        title=title, data=data, script=script, digest=digest, failures=failures, note=note
    )
