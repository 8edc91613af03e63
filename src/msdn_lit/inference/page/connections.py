"""The HTTP server of the app, with limits for clients that are slow, idle or too many."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from types import FrameType
from typing import NamedTuple

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from msdn_lit.inference.page.guard import security_headers
from msdn_lit.inference.page.page import TEXT_LIMIT, UPLOAD_LIMIT

_RECEIVING = (h11.IDLE, h11.SEND_BODY)  # states of a client whose request is not complete


class Limits(NamedTuple):
    """Limits of the app.

    Attributes:
        upload: Bytes of one image.
        text: Bytes of one description or class file.
        all_uploads: Bytes of all uploads in memory.
        seconds: Time for a request to arrive, and time for which a client may read nothing.
        connections: Number of connections; a new one then replaces the oldest one that waits for
            a request.
    """

    upload: int = UPLOAD_LIMIT
    text: int = TEXT_LIMIT
    all_uploads: int = 10 * UPLOAD_LIMIT
    seconds: float = 30.0
    connections: int = 100


class LimitedConnection(H11Protocol):
    """uvicorn's connection, which by itself waits without limit for a request and for a reader."""

    limits = Limits()
    _request_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for a request."""
        super().connection_made(transport)
        self._update_timer()
        ours = [one for one in self.connections if isinstance(one, LimitedConnection)]
        remaining = [one for one in ours if not one.transport.is_closing()]
        if len(remaining) > self.limits.connections:
            waiting = {one: one._request_timer.when() for one in remaining if one._request_timer}
            min(waiting, key=lambda one: waiting[one]).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Stops waiting if the request is complete."""
        super().data_received(data)
        self._update_timer()

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        super().on_response_complete()
        self._update_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers."""
        super().connection_lost(exc)
        for timer in (self._request_timer, self._reader_timer):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """Limits the time in which a client reads nothing."""
        super().pause_writing()
        self._reader_timer = self.loop.call_later(self.limits.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends the limit."""
        super().resume_writing()
        if self._reader_timer is not None:
            self._reader_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answers a request that is not HTTP."""
        self._refuse(400, msg)

    def shutdown(self) -> None:
        """Does not wait for requests that are not complete."""
        if self._request_timer is not None:
            self.transport.abort()
        else:
            super().shutdown()

    def _update_timer(self) -> None:
        is_receiving = self.conn.their_state in _RECEIVING and not self.transport.is_closing()
        if is_receiving and self._request_timer is None:
            self._request_timer = self.loop.call_later(self.limits.seconds, self._end_waiting)
        elif not is_receiving and self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _end_waiting(self) -> None:
        self._refuse(408, f"The request did not arrive within {self.limits.seconds:g} s.")

    def _refuse(self, status: int, message: str) -> None:
        """Answers unless an answer was begun, and closes the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": message}).encode()
            own = [("Content-Type", "application/json"), ("Connection", "close")]
            headers = [*own, ("Content-Length", str(len(body))), *security_headers()]
            reason = STATUS_PHRASES[status]
            response = h11.Response(status_code=status, headers=headers, reason=reason)
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, which a signal ends at once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends the process: nothing is left to save, and a prediction cannot be interrupted."""
        os._exit(0 if sig == signal.SIGINT else 128 + sig)


def make_server(app: ASGIApp, limits: Limits, frames: Sequence[str] = ()) -> Server:
    """Makes the server of an app; pages of the sites `frames` may show it in a frame."""
    connection = type("Connection", (LimitedConnection,), {"limits": limits})
    config = uvicorn.Config(
        app,
        http=connection,
        ws="none",
        lifespan="off",
        log_level="error",
        proxy_headers=False,
        server_header=False,
        headers=security_headers(frames),
    )
    return Server(config)
