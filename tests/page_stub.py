"""An app of the page without a model: the browser's requests are answered here, from NumPy."""

import base64
import io
import json
import re

import numpy as np
from PIL import Image

from msdn_lit.inference.page import page as prediction_page

ADDRESS = "https://app.test/"  # a secure address, where a page may write to the clipboard
PARTS, COLOURS = ("bill shape", "wing color", "belly color", "crown color"), 15
ATTRIBUTES = [f"has_{part.replace(' ', '_')}::colour_{c}" for part in PARTS for c in range(COLOURS)]
CLASSES = [f"{c:03d}.Bird_{c}" for c in range(1, 31)]
GRID = (4, 5)
ABOUT = {
    "model": "msdn",
    "benchmark": "CUB",
    "features": "mobilenetv2_224",
    "protocol": "honest",
    "step": 4234,
    "scores": {"T1": 61.23, "U": 52.3, "S": 58.9, "H": 55.4},
    "images": 4731,
    "seen": 20,
    "unseen": 10,
}


def encoded(values):
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def picture(width=300, height=200, form="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, form)
    return file.getvalue()


class StubApp:
    """Answers what the page requests.

    Attributes:
        psi_K: Attribute scores of every image.
        rows_CK: Class attributes with unit rows.
        answers: Answers by path of a POST request: (status, JSON).
        bodies: Bodies of the POST requests by path.
        held: Requests to predict that wait until `release`.
    """

    def __init__(self):
        generator = np.random.default_rng(3)
        shape = (len(CLASSES), len(ATTRIBUTES))
        self.rows_CK = generator.random(shape).astype("<f4")
        self.rows_CK /= np.linalg.norm(self.rows_CK, axis=1, keepdims=True)
        self.psi_K = generator.normal(0.5, 1, len(ATTRIBUTES)).astype("<f4")
        self.maps = generator.integers(0, 256, (2, len(ATTRIBUTES), *GRID), dtype=np.uint8)
        self.leads = np.sort(generator.exponential(1, 101))
        self.margins_C = np.where(np.arange(len(CLASSES)) < ABOUT["seen"], -0.5, 0.5)
        self.model = {
            "attributes": ATTRIBUTES,
            "classes": [
                [name, "seen" if c < ABOUT["seen"] else "unseen", float(self.margins_C[c])]
                for c, name in enumerate(CLASSES)
            ],
            "rows": encoded(self.rows_CK),
            "samples": ["first.png", "second.png"],
            "about": ABOUT,
            "weights": {"attribute_to_visual": 0.0, "visual_to_attribute": 1.0},
            "groups": [part for part in PARTS for _ in range(COLOURS)],
            "leads": self.leads.tolist(),
        }
        self.image = {
            "name": "first.png",
            "image": f"data:image/png;base64,{base64.b64encode(picture(64, 64)).decode()}",
            "crop": [1 / 6, 0, 5 / 6, 1],  # the middle of `picture`
            "psi": encoded(self.psi_K),
            "attention": {
                name: encoded(maps)
                for name, maps in zip(self.model["weights"], self.maps, strict=True)
            },
            "grid": list(GRID),
            "likeness": 0.4,
        }
        self.answers, self.bodies = {}, {}
        self.is_holding, self.held = False, []

    @property
    def scores_C(self):
        return self.rows_CK.astype(float) @ self.psi_K + self.margins_C

    def serve(self, tab):
        """Answers a tab's requests; a request for anything else fails."""
        tab.route("**/*", self._answer)

    def release(self):
        """Answers the requests that were held."""
        self.is_holding = False
        for route in self.held:
            route.fulfill(json=self.image)

    def static_page(self, folder):
        """Writes the page of `msdn predict` with the same content."""
        text = prediction_page.app_page("title")
        model = {k: v for k, v in self.model.items() if k != "samples"}
        content = json.dumps({"model": model, "images": [self.image]})
        pattern = r'(<script type="application/json" id="data">).*?(</script>)'
        path = folder / "predictions.html"
        path.write_text(re.sub(pattern, rf"\g<1>{content}\2", text), encoding="utf-8")
        return path.as_uri()

    def _answer(self, route):
        path = route.request.url.removeprefix(ADDRESS).partition("#")[0]
        if route.request.method == "POST" and path != "predict":
            self.bodies[path] = route.request.post_data
            status, content = self.answers[path]
            route.fulfill(status=status, json=content)
        elif path == "predict":
            self._predict(route)
        elif path == "":
            route.fulfill(body=prediction_page.app_page("title"), content_type="text/html")
        elif path == "model":
            route.fulfill(json=self.model)
        elif path.startswith("samples/"):
            route.fulfill(body=picture(), content_type="image/png")
        else:
            route.abort()

    def _predict(self, route):
        if self.is_holding:
            self.held.append(route)
        else:
            route.fulfill(json=self.image)
