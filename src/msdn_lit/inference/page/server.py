"""The app: serves the page at once, and predictions when the model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from msdn_lit.errors import UserError
from msdn_lit.inference.page.page import UPLOAD_LIMIT, app_page, image_data, model_data

if TYPE_CHECKING:
    from msdn_lit.inference import Predictor


class Handlers:
    """Request handlers. An error is answered as {"error": message for people}.

    Args:
        model: Future of the model.
        samples: Sample images to choose from.
        title: Page title.
    """

    def __init__(self, model: Future[Predictor], samples: Sequence[Path], title: str) -> None:
        self.model = model
        self.samples = samples
        self.page = app_page(title)

    def show(self, request: Request) -> Response:
        """/: the page."""
        return HTMLResponse(self.page)

    def describe(self, request: Request) -> Response:
        """/model: classes and attributes, once the model is loaded."""
        try:
            loaded = self.model.result()
        except UserError as error:
            return _error(503, str(error))
        content = model_data(loaded.classes, loaded.attribute_names, loaded.margins(loaded.classes))
        return JSONResponse(content | {"samples": [path.name for path in self.samples]})

    def sample(self, request: Request) -> Response:
        """/samples/0: a sample image."""
        index: int = request.path_params["index"]
        if index >= len(self.samples):
            return _error(404, "There is no such sample.")
        return FileResponse(self.samples[index])

    async def predict(self, request: Request) -> Response:
        """/predict: the prediction for an uploaded image; pages of other sites are refused."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers["Host"]:
            return _error(403, "Requests from pages of other sites are refused.")
        received = bytearray()
        async for part in request.stream():
            received += part
            if len(received) > UPLOAD_LIMIT:
                return _error(413, f"The image is larger than {UPLOAD_LIMIT // 1_000_000} MB.")
        name = unquote(request.headers.get("X-Name", "image"))
        return await run_in_threadpool(self._predict, bytes(received), name)

    def _predict(self, received: bytes, name: str) -> Response:
        try:
            prediction = self.model.result().predict(received)
        except UserError as error:
            return _error(422, f"{name}: {error}")
        return JSONResponse(image_data(prediction) | {"name": name})


def create_app(handlers: Handlers, host: str) -> Starlette:
    """Makes the app, which only answers to its own host name.

    So no page of another site can read its answers.

    Args:
        handlers: Request handlers.
        host: Host name or address of the server; "0.0.0.0" and "::" answer to any host name.
    """
    routes = [
        Route("/", handlers.show),
        Route("/model", handlers.describe),
        Route("/samples/{index:int}", handlers.sample),
        Route("/predict", handlers.predict, methods=["POST"]),
    ]
    hosts = ["*"] if host in ("0.0.0.0", "::") else [bracket_ipv6(host), "localhost", "127.0.0.1"]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    return Starlette(routes=routes, middleware=[trusted])


def bracket_ipv6(host: str) -> str:
    """Returns a host as in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)
