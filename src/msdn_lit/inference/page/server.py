"""The app: serves the page at once, and predictions when the model is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from msdn_lit.errors import ConfigError, UserError
from msdn_lit.inference.page.connections import Limits
from msdn_lit.inference.page.guard import Guard, error_response
from msdn_lit.inference.page.page import app_page, image_data, model_data

if TYPE_CHECKING:
    from msdn_lit.inference import Predictor

    Compute = Callable[[Predictor, bytearray, str], dict[str, Any]]


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

    async def show_model(self, request: Request) -> Response:
        """/model: classes and attributes, once the model is loaded."""
        try:
            loaded = await asyncio.wrap_future(self.model)
        except UserError as error:
            return error_response(503, str(error))
        margins_C = loaded.margins(loaded.classes)
        content = model_data(
            loaded.classes, loaded.attribute_names, margins_C, loaded.fusion, loaded.reference
        )
        return JSONResponse(content | {"samples": [path.name for path in self.samples.values()]})

    async def sample(self, request: Request) -> Response:
        """/samples/0: a sample image."""
        path = self.samples.get(request.path_params["index"])
        if path is None or not path.is_file():
            return error_response(404, "There is no such sample.")
        return FileResponse(path)

    async def predict(self, request: Request) -> Response:
        """/predict: the prediction for an uploaded image."""
        name = unquote(request.headers.get("X-Name", "image"))
        return await self._post(request, _predict, self.limits.upload, name)

    async def describe(self, request: Request) -> Response:
        """/describe: the attributes that a text names."""
        return await self._post(request, _describe, self.limits.text)

    async def read_classes(self, request: Request) -> Response:
        """/class-file: the classes of a class file."""
        return await self._post(request, _read_classes, self.limits.text)

    async def _post(
        self, request: Request, compute: Compute, limit: int, name: str = ""
    ) -> Response:
        received = bytearray()
        try:
            refused = await self._receive(request, received, limit)
            return refused or await self._answer(request, received, compute, name)
        except ClientDisconnect:
            return Response()  # to nobody
        finally:
            self.bytes_in_memory -= len(received)

    async def _receive(self, request: Request, received: bytearray, limit: int) -> Response | None:
        """Receives an upload, or returns the answer that refuses it."""
        async for part in request.stream():
            received += part
            self.bytes_in_memory += len(part)
            if len(received) > limit:
                return error_response(413, f"The upload is larger than {limit / 1e6:g} MB.")
            if self.bytes_in_memory > self.limits.all_uploads:
                return error_response(503, "The app is busy with other images. Try again later.")
        return None

    async def _answer(
        self, request: Request, received: bytearray, compute: Compute, name: str
    ) -> Response:
        try:
            model = await asyncio.wrap_future(self.model)
            async with self.turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return JSONResponse(await run_in_threadpool(compute, model, received, name))
        except UserError as error:
            return error_response(422, f"{name}: {error}" if name else str(error))


def _predict(model: Predictor, received: bytearray, name: str) -> dict[str, Any]:
    prediction = model.predict(bytes(received))
    return image_data(prediction) | {"name": name}


def _describe(model: Predictor, received: bytearray, name: str) -> dict[str, Any]:
    """Values by position of the attribute, and what each phrase names, offers and leaves over."""
    from msdn_lit.inference.candidates import phrase_values
    from msdn_lit.inference.phrases import read_phrases

    phrases = read_phrases(_text(received), model.attribute_names)
    return {
        "values": phrase_values(phrases),
        "phrases": [phrase._asdict() for phrase in phrases],
    }


def _read_classes(model: Predictor, received: bytearray, name: str) -> dict[str, Any]:
    """Name and values above zero by position of the attribute, for each class."""
    from msdn_lit.inference.candidates import class_values
    from msdn_lit.inference.class_file import parse_class_file

    descriptions = parse_class_file(_text(received), "The file")
    classes = class_values(descriptions, model.attribute_names, model.classes)
    return {
        "classes": [
            {"name": name, "values": {int(k): float(row_K[k]) for k in row_K.nonzero()[0]}}
            for name, row_K in classes.items()
        ]
    }


def _text(received: bytearray) -> str:
    try:
        return received.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("The text is not UTF-8") from error


def create_app(handlers: Handlers, names: Iterable[str], frames: Sequence[str] = ()) -> Starlette:
    """Makes the app.

    Args:
        handlers: Request handlers.
        names: Host names and addresses that the app answers to.
        frames: Sites whose pages may show the page in a frame.
    """
    routes = [
        Route("/", handlers.show),
        Route("/model", handlers.show_model),
        Route("/samples/{index}", handlers.sample),
        Route("/predict", handlers.predict, methods=["POST"]),
        Route("/describe", handlers.describe, methods=["POST"]),
        Route("/class-file", handlers.read_classes, methods=["POST"]),
    ]
    guard = Middleware(Guard, names=names, in_frames=bool(frames))
    return Starlette(routes=routes, middleware=[guard])
