"""The server of the app against hostile and careless clients, over sockets of this machine."""

import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from PIL import Image

from msdn_lit.commands.use import app
from msdn_lit.data.features import images
from msdn_lit.errors import ConfigError, DataError

server = pytest.importorskip("msdn_lit.inference.page.server", reason="needs the extra app")
from msdn_lit.inference.page import guard  # noqa: E402
from msdn_lit.inference.page.connections import Limits, make_server  # noqa: E402
from tests.helpers import png  # noqa: E402

LIMITS = Limits(upload=50_000, all_uploads=100_000, seconds=0.6, connections=10)
HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}
UNFINISHED = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"


class SlowModel:
    """Predicts nothing, and counts how many predictions happen at the same time."""

    def __init__(self):
        self.active = self.most = self.total = 0
        self.lock = threading.Lock()

    def predict(self, content):
        image = images.open_image(io.BytesIO(content), upright=True)
        with self.lock:
            self.active += 1
            self.total += 1
            self.most = max(self.most, self.active)
        time.sleep(0.05)
        with self.lock:
            self.active -= 1
        raise DataError(f"a picture of {image.width} pixels")


@pytest.fixture
def running():
    """The app with small limits: address, handlers, model, uvicorn's server."""
    model, done = SlowModel(), Future()
    done.set_result(model)
    handlers = server.Handlers(done, [], "title", LIMITS)
    made = make_server(server.create_app(handlers, {"localhost"}), LIMITS)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=made.run, args=([listening],))
    thread.start()
    address = listening.getsockname()
    yield SimpleNamespace(address=address, handlers=handlers, model=model, server=made)
    made.should_exit = True
    thread.join()


def opened(running, content=b""):
    connection = socket.create_connection(running.address, timeout=10)
    connection.sendall(content)
    return connection


def answer_of(connection):
    """Status, headers and body of the answer, once the connection is closed or idle."""
    received = b""
    with connection:
        while True:
            head, found, body = received.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
            if found and len(body) >= int(headers.get("content-length", 1e9)):
                return int(lines[0].split()[1]), headers, body
            part = connection.recv(65536)
            assert part, f"closed after {received!r}"
            received += part


def ask(running, *headers, path="/", body=None):
    """Sends a request; without a Host among the headers, to localhost."""
    hosts = [] if any(header.startswith("Host:") for header in headers) else ["Host: localhost"]
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    method = "GET" if body is None else "POST"
    lines = [f"{method} {path} HTTP/1.1", *hosts, *headers, *length, "", ""]
    return answer_of(opened(running, "\r\n".join(lines).encode("latin-1") + (body or b"")))


def is_closed(connection, seconds=5):
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def nothing_is_left(running, seconds=5):
    state, end = running.server.server_state, time.monotonic() + seconds
    while state.connections or state.tasks:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return running.handlers.bytes_in_memory == 0


@pytest.mark.fault("network")
class TestSlowClients:
    def test_an_upload_that_never_ends(self, running):
        status, headers, body = answer_of(opened(running, UNFINISHED))
        assert status == 408
        assert json.loads(body) == {"error": "The request did not arrive within 0.6 s."}
        assert HEADERS.keys() <= headers.keys()
        assert nothing_is_left(running)

    @pytest.mark.parametrize("begun", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: localh"])
    def test_headers_that_never_end(self, running, begun):
        with opened(running, begun) as connection:
            assert is_closed(connection)
        assert nothing_is_left(running)

    @pytest.mark.parametrize("begun", [UNFINISHED, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
    def test_a_byte_now_and_then(self, running, begun):
        """Progress does not extend the time."""
        with opened(running, begun) as connection:
            end = time.monotonic() + 3
            while running.server.server_state.connections or time.monotonic() < end - 2.9:
                assert time.monotonic() < end
                try:
                    connection.sendall(b"x")
                except ConnectionError:
                    break
                time.sleep(0.05)
        assert nothing_is_left(running)

    def test_a_refused_upload_that_is_sent_on(self, running):
        begun = UNFINISHED.replace(b"localhost", b"localhost\r\nOrigin: null")
        with opened(running, begun.replace(b"1000", b"1000000")) as connection:
            connection.sendall(b"x" * 1000)
            assert is_closed(connection)
        assert nothing_is_left(running)

    def test_a_client_that_reads_nothing(self, running):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connection:
            connection.connect(running.address)
            connection.settimeout(0.2)
            with pytest.raises((TimeoutError, ConnectionError)):
                for _ in range(10_000):
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
            assert nothing_is_left(running)

    def test_a_connection_that_waits_between_requests(self, running):
        with opened(running) as connection:
            for _ in range(4):  # longer than the limit altogether
                connection.sendall(b"GET /samples/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                time.sleep(0.3)
                assert connection.recv(65536).startswith(b"HTTP/1.1 404")


@pytest.mark.fault("network")
class TestManyClients:
    @pytest.mark.parametrize("begun", [b"", UNFINISHED])
    def test_more_connections_than_the_limit(self, running, begun):
        waiting = [opened(running, begun) for _ in range(40)]
        assert ask(running)[0] == 200
        assert len(running.server.server_state.connections) <= LIMITS.connections
        assert [is_closed(connection) for connection in waiting] == [True] * 40
        assert nothing_is_left(running)
        for connection in waiting:
            connection.close()

    def test_uploads_wait_for_their_turn(self, running, monkeypatch):
        decode, active = images.open_image, []

        def counting(*arguments, **options):
            active.append(running.model.active + 1)
            return decode(*arguments, **options)

        monkeypatch.setattr(images, "open_image", counting)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: ask(running, path="/predict", body=png()), range(24)))
        assert [status for status, *_ in found] == [422] * 24
        assert (running.model.total, running.model.most, set(active)) == (24, 1, {1})

    def test_uploads_that_are_too_large_together(self, running):
        begun = UNFINISHED.replace(b"1000", b"50000").replace(b"abc", b"x" * 40_000)
        waiting = [opened(running, begun) for _ in range(2)]
        while running.handlers.bytes_in_memory < 80_000:
            time.sleep(0.01)
        status, _, body = ask(running, path="/predict", body=b"x" * 30_000)
        assert (status, json.loads(body)["error"]) == (
            503,
            "The app is busy with other images. Try again later.",
        )
        for connection in waiting:
            connection.close()
        assert nothing_is_left(running)
        assert ask(running, path="/predict", body=png())[0] == 422

    def test_one_that_is_too_large(self, running):
        assert ask(running, path="/predict", body=b"x" * 50_001)[0] == 413
        chunked = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        with opened(running, chunked + b"c351\r\n" + b"x" * 50_001 + b"\r\n") as connection:
            assert answer_of(connection)[0] == 413
        assert nothing_is_left(running)

    def test_a_picture_of_too_many_pixels_is_not_decoded(self, running):
        content = io.BytesIO()
        Image.new("1", (1, 1)).save(content, "PNG")
        bomb = bytearray(content.getvalue())
        bomb[16:24] = (30_000).to_bytes(4, "big") * 2
        bomb[29:33] = __import__("zlib").crc32(bomb[12:29]).to_bytes(4, "big")
        status, _, body = ask(running, path="/predict", body=bytes(bomb))
        assert status == 422
        assert "pixels" in json.loads(body)["error"]
        assert running.model.total == 0


@pytest.mark.fault("network")
class TestClientsThatLeave:
    @pytest.mark.parametrize("reset", [True, False])
    @pytest.mark.parametrize(
        "begun",
        [
            b"GET /",
            UNFINISHED,
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
            % (len(png()), png()),
        ],
    )
    def test_leave_no_trace(self, running, begun, reset, capfd, caplog):
        for _ in range(3):
            connection = opened(running, begun)
            if reset:
                linger = (1).to_bytes(4, sys.byteorder) + bytes(4)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            time.sleep(0.02)
            connection.close()
        assert ask(running)[0] == 200
        assert nothing_is_left(running)
        assert (capfd.readouterr().err, caplog.messages) == ("", [])

    def test_are_not_predicted(self, running):
        first = opened(
            running,
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
            % (len(png()), png()),
        )
        while not running.model.active:
            time.sleep(0.001)
        for _ in range(5):
            opened(running, UNFINISHED.replace(b"1000", b"3")).close()
        assert answer_of(first)[0] == 422
        assert nothing_is_left(running)
        assert running.model.total == 1


REFUSED = [
    (400, "Host: evil.example"),
    (400, "Host: localhost.evil.example"),
    (400, "Host: evil.example:8000@localhost"),
    (400, "Host: "),
    (400, "Host: ["),
    (400, "Host: [::1"),
    (400, "Host: localhost:80:80"),
    (400, "Host: \xff"),
    (403, "Origin: http://["),
    (403, "Origin: null"),
    (403, "Origin: "),
    (403, "Origin: http://localhost:9"),
    (403, "Origin: http://localhost.evil.example"),
    (403, "Origin: \xff\x80"),
    (403, "Sec-Fetch-Site: cross-site"),
    (403, "Sec-Fetch-Site: same-site"),
    (403, "Sec-Fetch-Site: \xe9"),
    (400, "Content-Length: -1"),
    (400, "Content-Length: 1e3"),
    (400, "Content-Length: 5\r\nContent-Length: 6"),
    (501, "Transfer-Encoding: nonsense"),
    (400, "no colon"),
    (400, "Host: localhost\r\nHost: localhost"),
    (400, "Host: a~b.evil.example"),
    (400, " folded"),
]


@pytest.mark.fault("network")
@pytest.mark.parametrize(("status", "header"), REFUSED)
def test_headers_that_are_refused(running, status, header):
    found, headers, _ = ask(running, header)
    assert found in (status, 400)
    for name, value in HEADERS.items():
        assert value in headers[name]


@pytest.mark.fault("network")
@pytest.mark.parametrize(
    ("status", "path", "headers"),
    [
        (404, "http://[", ()),
        (404, "/samples/" + "1" * 5000, ()),
        (404, "/samples/%ff", ()),
        (404, "/samples/..%2f..%2fetc%2fpasswd", ()),
        (404, "//evil.example/%2f..", ()),
        (405, "/predict", ()),
        (200, "/", ("Range: bytes=x-",)),
        (200, "/", ("X-Name: %ff%", "Accept: \xff", "Cookie: =;", "Upgrade: websocket")),
        (200, "/", ("Connection: Upgrade", "Upgrade: websocket")),
        (422, "/predict", ("X-Name: %ff%e9%", "Content-Type: \xff")),
    ],
)
def test_malformed_requests(running, status, path, headers, capfd):
    body = b"no image" if status == 422 else None
    found, answered, _ = ask(running, *headers, path=path, body=body)
    assert found == status
    assert HEADERS.keys() <= answered.keys()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: LOCALHOST:8000", "Origin: http://LOCALHOST:8000", "Sec-Fetch-Site: same-origin"),
        ("Sec-Fetch-Site: none",),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
    ],
)
def test_its_own_page_and_links_to_it(running, headers):
    assert ask(running, *headers)[0] == 200


@pytest.mark.fault("network")
@pytest.mark.parametrize(
    ("path", "target"), [("/", "iframe"), ("/model", "document"), ("/predict", "document")]
)
def test_other_navigations(running, path, target):
    headers = "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", f"Sec-Fetch-Dest: {target}"
    assert ask(running, *headers, path=path)[0] == 403


@pytest.mark.fault("network")
@pytest.mark.parametrize(
    ("frames", "path", "status"),
    [
        ([], "/", 403),
        (["https://huggingface.co"], "/", 200),
        (["https://huggingface.co"], "/model", 403),
    ],
)
def test_in_a_frame_of_another_site(frames, path, status):
    """--allow-frame: the browser compares the other site with the header."""
    from starlette.testclient import TestClient

    handlers = server.Handlers(Future(), [], "x")
    client = TestClient(server.create_app(handlers, ["localhost"], frames), "http://localhost")
    headers = {"Site": "cross-site", "Mode": "navigate", "Dest": "iframe"}
    answer = client.get(path, headers={f"Sec-Fetch-{k}": v for k, v in headers.items()})
    assert answer.status_code == status
    policy = dict(guard.security_headers(frames))["Content-Security-Policy"]
    assert policy.endswith(f"frame-ancestors {frames[0] if frames else repr('none')}")


@pytest.mark.fault("network")
@pytest.mark.parametrize("site", ["*", "huggingface.co", "https://a/b", "https://a;", "'self'", ""])
def test_sites_that_are_none(site):
    with pytest.raises(ConfigError, match="--allow-frame is wrong: expected https:// and a host"):
        app._frames(SimpleNamespace(allow_frame=[site]))


@pytest.fixture
def interfaces(monkeypatch):
    found = [
        SimpleNamespace(family=socket.AF_INET, address="192.0.2.7"),
        SimpleNamespace(family=socket.AF_INET6, address="fe80::1%eth0"),
    ]
    monkeypatch.setattr(guard.psutil, "net_if_addrs", lambda: {"eth0": found})
    monkeypatch.setattr(guard.socket, "gethostname", lambda: "Tower.example")


@pytest.mark.fault("network")
@pytest.mark.parametrize(
    ("host", "address", "asked", "status"),
    [
        ("127.0.0.1", "127.0.0.1", "localhost:8000", 200),
        ("127.0.0.1", "127.0.0.1", "tower.example", 400),
        ("127.0.0.1", "127.0.0.1", "192.0.2.7", 400),
        ("::1", "::1", "[::1]:8000", 200),
        ("::1", "::1", "[::2]:8000", 400),
        ("0.0.0.0", "0.0.0.0", "192.0.2.7:8000", 200),
        ("0.0.0.0", "0.0.0.0", "tower.EXAMPLE:8000", 200),
        ("0.0.0.0", "0.0.0.0", "tower", 200),
        ("0.0.0.0", "0.0.0.0", "evil.example", 400),
        ("::", "::", "[fe80::1]:8000", 200),
        ("::", "::", "evil.example", 400),
        ("myself", "192.0.2.7", "myself:8000", 200),
        ("myself", "192.0.2.7", "lab.example:8000", 200),  # --allow-host
    ],
)
@pytest.mark.usefixtures("interfaces")
def test_names_that_it_answers_to(host, address, asked, status):
    from starlette.testclient import TestClient

    options = SimpleNamespace(allow_host=["Lab.example"], host=host)
    names = app._names(options, address)
    made = server.create_app(server.Handlers(Future(), [], "x"), names)
    client = TestClient(made, base_url="http://localhost")
    assert client.get("/", headers={"Host": asked}).status_code == status


@pytest.mark.fault("network")
@pytest.mark.parametrize("name", ["*", "", "http://lab", "lab:8000", "a b", "[::1]"])
def test_host_names_that_are_none(name):
    options = SimpleNamespace(allow_host=[name], host="localhost")
    with pytest.raises(ConfigError, match="--allow-host is wrong: expected a name or an address"):
        app._names(options, "127.0.0.1")


STUCK = """
import sys, time
from msdn_lit.commands.use import app
app.load_model = lambda options: time.sleep(60)
sys.argv = ["msdn-app", "run", "--port", "0", "--host", sys.argv[1]]
app.main()
"""


@pytest.mark.fault("processes")
@pytest.mark.parametrize(("host", "number"), [("127.0.0.1", signal.SIGINT), ("", signal.SIGTERM)])
def test_a_signal_ends_it_at_once(host, number):
    """While the model loads, an upload is stuck, and another client waits for the model."""
    command = [sys.executable, "-c", STUCK, host]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        port = int(child.stdout.readline().split()[0].rpartition(":")[2])
        connect = SimpleNamespace(address=("127.0.0.1", port))
        assert ask(connect)[0] == 200
        stuck = [
            opened(connect, UNFINISHED),
            opened(connect, b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ]
        time.sleep(0.2)
        begun = time.monotonic()
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
        assert time.monotonic() - begun < 2
        for connection in stuck:
            connection.close()
    warning = "msdn app: Everyone who can reach this machine can use the page.\n"
    assert (out, err) == ("", warning * (host == ""))
    assert child.returncode == (0 if number == signal.SIGINT else 143)


@pytest.mark.fault("network")
@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70 + ".example", "192.0.2.1"])
def test_a_host_that_is_not_here(host, monkeypatch):
    if "no.such" in host:
        monkeypatch.setattr(
            socket,
            "create_server",
            lambda *_, **__: (_ for _ in ()).throw(socket.gaierror(-2, "x")),
        )
    with pytest.raises(ConfigError, match=r"cannot be served.*--host"):
        app._listening(host, 0)
