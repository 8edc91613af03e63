"""The page as a small program that answers: the page at once, the rest when the model is loaded."""

from __future__ import annotations

import io
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
from msdn_lit.inference.page.page import UPLOAD_LIMIT, app_page, model_data, picture_data

if TYPE_CHECKING:
    from msdn_lit.inference import Predictor


class Answers:
    """What is asked for and what is answered; a fault is {"error": a sentence for people}.

    Args:
        model: What will have been loaded.
        samples: Pictures to choose from.
        title: Of the page.
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
        except UserError as fault:
            return _fault(503, str(fault))
        content = model_data(loaded.classes, loaded.attribute_names, loaded.margins(loaded.classes))
        return JSONResponse(content | {"samples": [path.name for path in self.samples]})

    def sample(self, request: Request) -> Response:
        """/samples/0: a picture."""
        index: int = request.path_params["index"]
        if index >= len(self.samples):
            return _fault(404, "There is no such sample.")
        return FileResponse(self.samples[index])

    async def predict(self, request: Request) -> Response:
        """/predict: what is in the picture whose file is sent; not for pages of other sites."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers["Host"]:
            return _fault(403, "A page of another site asked.")
        received = bytearray()
        async for part in request.stream():
            received += part
            if len(received) > UPLOAD_LIMIT:
                return _fault(413, f"The picture is larger than {UPLOAD_LIMIT // 1_000_000} MB.")
        name = unquote(request.headers.get("X-Name", "picture"))
        return await run_in_threadpool(self._look, bytes(received), name)

    def _look(self, received: bytes, name: str) -> Response:
        from msdn_lit.data.features.images import open_image

        try:
            found = self.model.result().predict(open_image(io.BytesIO(received), upright=True))
        except UserError as fault:
            return _fault(422, f"{name}: {fault}")
        return JSONResponse(picture_data(found) | {"name": name})


def application(answers: Answers, host: str) -> Starlette:
    """Answers to its own name alone, so that no page of another site can read what is answered.

    Args:
        answers: To what is asked.
        host: The name under which it is served; "0.0.0.0" and "::" answer to any.
    """
    routes = [
        Route("/", answers.show),
        Route("/model", answers.describe),
        Route("/samples/{index:int}", answers.sample),
        Route("/predict", answers.predict, methods=["POST"]),
    ]
    hosts = ["*"] if host in ("0.0.0.0", "::") else [bracket_ipv6(host), "localhost", "127.0.0.1"]
    return Starlette(
        routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
    )


def bracket_ipv6(host: str) -> str:
    """A host as it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _fault(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
