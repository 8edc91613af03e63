"""Refuses requests to other host names than the app's, and from pages of other sites."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Container, Iterable, Sequence

import psutil
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from msdn_lit.inference.page.page import content_security_policy

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{0,5})?", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9._-]+", re.ASCII | re.IGNORECASE)
_SITE = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,5})?", re.ASCII | re.IGNORECASE)


class Guard:
    """Middleware that refuses requests to other host names and requests of other sites.

    A page of another site can send requests to this machine. It can also point a name of its own
    at this machine (DNS rebinding), and then it could read the answers.

    Args:
        app: Application that answers all other requests.
        names: Host names and addresses that the app answers to.
        in_frames: Whether pages of other sites may show the page in a frame; the browser checks
            which ones by the security headers.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], *, in_frames: bool = False) -> None:
        self.app = app
        self.names = {name.lower() for name in names}
        self.targets = {"document", "iframe"} if in_frames else {"document"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request or passes it on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("Host", "")
        match = _HOST.fullmatch(host)
        name = (match[1] or match[2]).lower() if match else ""
        if not name or name not in self.names:
            action = f"To allow it, start msdn app with --allow-host {name}." if name else ""
            return error_response(400, f"The app does not answer to this host name. {action}")
        origin = headers.get("Origin")
        is_own = origin in (None, f"http://{host}", f"https://{host}")
        if not is_own or not _is_same_site(headers, scope, self.targets):
            return error_response(403, "Requests from pages of other sites are refused.")
        return None


def _is_same_site(headers: Headers, scope: Scope, targets: Container[str]) -> bool:
    """Whether a request is not from another site, or only follows a link to the page."""
    follows_link = (
        scope["path"] == "/"
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") in targets
    )
    return follows_link or headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")


def security_headers(frames: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Returns the headers of every answer.

    Args:
        frames: Sites whose pages may show the page in a frame.
    """
    ancestors = " ".join(frames) or "'none'"
    return [
        ("Content-Security-Policy", f"{content_security_policy()}; frame-ancestors {ancestors}"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
    ]


def error_response(status: int, message: str) -> Response:
    """Makes the answer for an error: {"error": message for people}."""
    return JSONResponse({"error": message.strip()}, status)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    return ipaddress.ip_address(address).is_loopback


def is_host_name(text: str) -> bool:
    """Whether a text is a host name or an address, without a port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return bool(_NAME.fullmatch(text))
    return True


def is_site(text: str) -> bool:
    """Whether a text is a site: https:// or http://, a host name, perhaps a port."""
    return bool(_SITE.fullmatch(text))


def own_names(host: str, address: str) -> set[str]:
    """Returns the names and addresses of the app.

    Args:
        host: Host that was asked for.
        address: Address to which the app is bound.
    """
    names = {host, address, *_LOOPBACK}
    if not is_loopback(address):
        machine = socket.gethostname()
        names |= {machine, machine.partition(".")[0]}
        families = (socket.AF_INET, socket.AF_INET6)
        interfaces = psutil.net_if_addrs().values()
        names |= {
            each.address.partition("%")[0]  # fe80::1%eth0
            for addresses in interfaces
            for each in addresses
            if each.family in families
        }
    return names
