"""An HTTP server on the loopback interface that misbehaves on request."""

import hashlib
import random
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SHA256 = "sha256:" + hashlib.sha256(DATA).hexdigest()


@dataclass
class Resource:
    """A file on the server; each request of its body consumes one item of the lists."""

    data: bytes
    etag: str | None = '"1"'
    modified: str | None = None
    content_type: str = "application/octet-stream"
    encoding: str | None = None
    knows_head: bool = True
    knows_range: bool = True
    knows_if_range: bool = True
    tells_length: bool = True
    statuses: list[int] = field(default_factory=list)  # answered in place of the body
    cuts: list[int] = field(default_factory=list)  # bytes sent before the connection breaks
    stalls: list[int] = field(default_factory=list)  # bytes sent before the connection stalls
    shift: int = 0  # error of its Content-Range
    lengths: list[int] = field(default_factory=list)  # claimed Content-Length
    rate: float | None = None  # bytes per second


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.resources, self.redirects, self.log = {}, {}, []
        self.closing = threading.Event()

    def url(self, name=""):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request, client_address):
        pass  # a client that is killed breaks the pipe


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.lstrip("/").partition("?")[0]
        self.server.log.append((self.command, name, dict(self.headers)))
        resource = self.server.resources.get(name)
        if name in self.server.redirects:
            self._headers(302, {"Location": self.server.redirects[name], "Content-Length": "0"})
        elif resource is None:
            self._refuse(404)
        elif self.command == "HEAD" and not resource.knows_head:
            self._refuse(405)
        elif resource.statuses:
            self._refuse(resource.statuses.pop(0))
        else:
            self._answer(resource)

    def _answer(self, resource):
        size, headers = len(resource.data), {"Content-Type": resource.content_type}
        headers |= {"ETag": resource.etag} if resource.etag else {}
        headers |= {"Last-Modified": resource.modified} if resource.modified else {}
        headers |= {"Content-Encoding": resource.encoding} if resource.encoding else {}
        start, end = self._wanted(resource)
        if start is None:
            status, start, end = 200, 0, size
        elif start >= size:
            return self._headers(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
        else:
            status = 206
            headers["Content-Range"] = f"bytes {start + resource.shift}-{end - 1}/{size}"
        if resource.tells_length:
            claimed = (
                resource.lengths.pop(0)
                if resource.lengths and self.command == "GET"
                else end - start
            )
            headers["Content-Length"] = str(claimed)
        else:
            headers["Transfer-Encoding"] = "chunked"
        self._headers(status, headers)
        if self.command == "GET":
            self._body(resource, resource.data[start:end])
        return None

    def _wanted(self, resource):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        is_other = resource.knows_if_range and condition not in (
            None,
            resource.etag,
            resource.modified,
        )
        if not asked or not resource.knows_range or is_other:
            return None, None
        size = len(resource.data)
        return int(asked[1]), min(int(asked[2]) + 1, size) if asked[2] else size

    def _body(self, resource, body):
        cut = resource.cuts.pop(0) if resource.cuts else None
        stall = resource.stalls.pop(0) if resource.stalls else None
        body = body[: cut if cut is not None else stall]
        piece = 2**16 if resource.rate is None else 2**13
        for start in range(0, len(body), piece):
            part = body[start : start + piece]
            self.wfile.write(part if resource.tells_length else b"%x\r\n%s\r\n" % (len(part), part))
            if resource.rate is not None:
                time.sleep(len(part) / resource.rate)
        if cut is None and stall is None and not resource.tells_length:
            self.wfile.write(b"0\r\n\r\n")
        if stall is not None:
            self.server.closing.wait(5)
        self.close_connection |= cut is not None or stall is not None

    def _headers(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status):
        body = b"" if self.command == "HEAD" else b"<html>no</html>"
        self._headers(status, {"Content-Type": "text/html", "Content-Length": str(len(body))})
        self.wfile.write(body)


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def partial(target):
    return target.with_name(target.name + ".partial")


def offer(server, name="file.bin", data=DATA, **behaviour):
    server.resources[name] = Resource(data, **behaviour)
    return server.url(name)


def ranges(server):
    return [headers.get("Range") for _, _, headers in server.log]
