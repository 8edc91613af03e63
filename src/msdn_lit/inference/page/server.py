"""The app: serves the page at once, and predictions when the model is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from msdn_lit.errors import UserError
from msdn_lit.inference.page.connections import Limits
from msdn_lit.inference.page.guard import Guard, error_response
from msdn_lit.inference.page.page import app_page, image_data, model_data

if TYPE_CHECKING:
    from msdn_lit.inference import Predictor


class Handlers:
    """Request handlers. An error is answered as {"error": message for people}.

    Args:
        model: Future of the model.
        samples: Sample images to choose from.
        title: Page title.
        limits: Limits of uploads.
    """

    def __init__(
        self,
        model: Future[Predictor],
        samples: Sequence[Path],
        title: str,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self.model = model
        self.samples = {str(index): path for index, path in enumerate(samples)}
        self.page = app_page(title)
        self.limits = limits
        self.bytes_in_memory = 0  # of uploads
        self.turn = asyncio.Lock()  # one image is decoded and predicted at a time

    async def show(self, request: Request) -> Response:
        """/: the page."""
        return HTMLResponse(self.page)

    async def describe(self, request: Request) -> Response:
        """/model: classes and attributes, once the model is loaded."""
        try:
            loaded = await asyncio.wrap_future(self.model)
        except UserError as error:
            return error_response(503, str(error))
        content = model_data(loaded.classes, loaded.attribute_names, loaded.margins(loaded.classes))
        return JSONResponse(content | {"samples": [path.name for path in self.samples.values()]})

    async def sample(self, request: Request) -> Response:
        """/samples/0: a sample image."""
        path = self.samples.get(request.path_params["index"])
        if path is None or not path.is_file():
            return error_response(404, "There is no such sample.")
        return FileResponse(path)

    async def predict(self, request: Request) -> Response:
        """/predict: the prediction for an uploaded image."""
        received = bytearray()
        try:
            return await self._receive(request, received) or await self._answer(request, received)
        except ClientDisconnect:
            return Response()  # to nobody
        finally:
            self.bytes_in_memory -= len(received)

    async def _receive(self, request: Request, received: bytearray) -> Response | None:
        """Receives an upload, or returns the answer that refuses it."""
        async for part in request.stream():
            received += part
            self.bytes_in_memory += len(part)
            if len(received) > self.limits.upload:
                megabytes = self.limits.upload // 1_000_000
                return error_response(413, f"The image is larger than {megabytes} MB.")
            if self.bytes_in_memory > self.limits.all_uploads:
                return error_response(503, "The app is busy with other images. Try again later.")
        return None

    async def _answer(self, request: Request, received: bytearray) -> Response:
        name = unquote(request.headers.get("X-Name", "image"))
        try:
            model = await asyncio.wrap_future(self.model)
            async with self.turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await run_in_threadpool(_predict, model, received, name)
        except UserError as error:
            return error_response(422, f"{name}: {error}")


def _predict(model: Predictor, received: bytearray, name: str) -> Response:
    prediction = model.predict(bytes(received))
    return JSONResponse(image_data(prediction) | {"name": name})


def create_app(handlers: Handlers, names: Iterable[str], frames: Sequence[str] = ()) -> Starlette:
    """Makes the app.

    Args:
        handlers: Request handlers.
        names: Host names and addresses that the app answers to.
        frames: Sites whose pages may show the page in a frame.
    """
    routes = [
        Route("/", handlers.show),
        Route("/model", handlers.describe),
        Route("/samples/{index}", handlers.sample),
        Route("/predict", handlers.predict, methods=["POST"]),
    ]
    guard = Middleware(Guard, names=names, in_frames=bool(frames))
    return Starlette(routes=routes, middleware=[guard])
