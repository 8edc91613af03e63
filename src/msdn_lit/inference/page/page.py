"""Predictions as one HTML page: heat maps, explanations, edits and new classes, in the browser.

Letters: C classes, K attributes, H x W regions.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:  # they are slow to import; the app shows its page before
    import numpy as np
    from numpy.typing import NDArray

    from msdn_lit.inference import Candidates, Prediction
    from msdn_lit.inference.reference import Reference

MAX_IMAGES = 50  # of a page; an image with 312 attributes and 14 x 14 regions takes 0.2 MB
UPLOAD_LIMIT = 30_000_000  # bytes of an image
TEXT_LIMIT = 200_000  # bytes of a class file
_FOLDER = Path(__file__).parent
_SCRIPTS = (  # in the order in which they run; the last starts the page
    "class_scores",
    "state",
    "elements",
    "maps",
    "view",
    "answer",
    "reasons",
    "edits",
    "link",
    "page",
)
_STYLES = ("page", "parts", "reasons")
_POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
)
_MAP_NOTE = "Each heat map is scaled from its own minimum to its own maximum, in 256 steps. "
_SCORE_NOTE = (
    "A class's score is the sum of its attributes' contributions and its margin. Classes are "
    "scaled to length one, so only the proportions of their values matter."
)


def page(predictions: Sequence[Prediction], title: str, failures: Mapping[str, str]) -> str:
    """Makes a page that needs no other file, from predictions among the same candidates.

    Args:
        predictions: Predictions; the page shows the first 50.
        title: Page title.
        failures: Reasons why images could not be read, by file.
    """
    shown = predictions[:MAX_IMAGES]
    content: dict[str, Any] = {"model": None, "images": [image_data(one) for one in shown]}
    if shown:
        first = shown[0]
        content["model"] = model_data(
            first.candidates, first.attribute_names, first.margins_C, first.fusion, first.reference
        )
    has_maps = any(one.attention for one in shown)
    note = _MAP_NOTE + _SCORE_NOTE if has_maps else _SCORE_NOTE
    if len(predictions) > MAX_IMAGES:
        note += f" The first {MAX_IMAGES} of {len(predictions)} images."
    return _render(title, content, failures, note)


def app_page(title: str) -> str:
    """Makes the page of the app, which requests /model and /predict."""
    return _render(title, {"model": None, "limit": UPLOAD_LIMIT}, {}, _MAP_NOTE + _SCORE_NOTE)


def content_security_policy() -> str:
    """Returns the Content-Security-Policy of a page, which allows its own script and no other."""
    digest = hashlib.sha256(_script().encode()).digest()
    return _POLICY.format(digest=_base64(digest))


def model_data(
    candidates: Candidates,
    attribute_names: Sequence[str],
    margins_C: NDArray[np.float32],
    fusion: Mapping[str, float],
    reference: Reference,
) -> dict[str, Any]:
    """Returns the data of the model and its classes for the page.

    Returns:
        What the model is, or null if its scores are not known; fusion weights by sub-net; names of
        attributes and of their groups (null for names without groups); [name, domain, margin] of
        each class; class attributes as base64; quantiles of the leads of right answers, or null.
    """
    from msdn_lit.data.words.attributes import attribute_parts

    about, leads = reference.about, reference.leads
    is_scored = about is not None and about.scores and about.images is not None
    classes = zip(candidates.names, candidates.domains, margins_C.tolist(), strict=True)
    return {
        "about": asdict(about) if about is not None and is_scored else None,
        "weights": dict(fusion),
        "attributes": list(attribute_names),
        "groups": attribute_parts(attribute_names),
        "leads": None if leads is None else leads.tolist(),
        "classes": [list(one) for one in classes],
        "rows": _base64(candidates.attributes_CK.astype("<f4").tobytes()),
    }


def image_data(prediction: Prediction) -> dict[str, Any]:
    """Returns the data of a prediction for the page; "grid" is null for a model without attention.

    Returns:
        File name, image, which part of the picture that is, attribute scores (psi), attention maps
        by sub-net as base64, the numbers of rows and columns of regions, and the share of test
        images that are less like the training images, or null.
    """
    from PIL import Image

    jpeg = io.BytesIO()
    Image.fromarray(prediction.pixels).save(jpeg, "JPEG", quality=85)
    maps = prediction.attention
    attention = {name: _base64(_as_bytes(maps_KHW).tobytes()) for name, maps_KHW in maps.items()}
    return {
        "name": Path(prediction.image).name,
        "image": f"data:image/jpeg;base64,{_base64(jpeg.getvalue())}",
        "crop": list(prediction.crop),
        "likeness": prediction.likeness,
        "psi": _base64(prediction.attribute_scores_K.astype("<f4").tobytes()),
        "attention": attention,
        "grid": list(next(iter(maps.values())).shape[1:]) if maps else None,
    }


def _as_bytes(maps_KHW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Each map, scaled from its own minimum to its own maximum."""
    low, high = maps_KHW.min(axis=(1, 2), keepdims=True), maps_KHW.max(axis=(1, 2), keepdims=True)
    scaled: NDArray[np.float32] = 255 * (maps_KHW - low) / (high - low).clip(min=1e-12)
    return scaled.round().astype("uint8")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _render(title: str, content: Mapping[str, Any], failures: Mapping[str, str], note: str) -> str:
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")  # no tag ends the script
    template = jinja2.Environment(autoescape=True).from_string(_read("page.html"))
    return template.render(
        title=title,
        style="".join(_read(f"{name}.css") for name in _STYLES),
        data=data,
        script=_script(),
        policy=content_security_policy(),
        failures=failures,
        note=note,
    )


def _script() -> str:
    return "".join(_read(f"{name}.js") for name in _SCRIPTS)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
