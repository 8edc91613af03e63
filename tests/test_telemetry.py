"""Nothing leaves the machine unasked: every command but downloads, and W&B offline."""

import argparse
import ipaddress
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from msdn_lit.commands.train import train
from msdn_lit.commands.use import app, predict
from tests.helpers import png

_watching = []


def _audit(event, arguments):
    if _watching and event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        _watching[-1].append((event, arguments[1]))
    elif _watching and event in ("socket.getaddrinfo", "socket.gethostbyname"):
        _watching[-1].append((event, arguments))


sys.addaudithook(_audit)  # for good; it sees what every Python library does


def is_local(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", None)


@pytest.fixture
def remote():
    """Addresses outside of this machine that the process tried to reach or to look up."""
    attempts = []
    _watching.append(attempts)
    yield lambda: [
        (event, address)
        for event, address in attempts
        if isinstance(address, tuple) and not is_local(address[0])
    ]
    _watching.pop()


@contextmanager
def recording_proxy(monkeypatch):
    """A proxy, and W&B's host, that takes down the first line of each request of any process."""
    lines = []

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    lines.append(connection.recv(1000).split(b"\r\n")[0])
                except TimeoutError:
                    lines.append(b"nothing")

    listening = socket.create_server(("127.0.0.1", 0))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listening.getsockname()[1]}")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost,127.0.0.1")
    thread = threading.Thread(target=serve)
    thread.start()
    yield lines
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.fixture
def proxied(monkeypatch):
    with recording_proxy(monkeypatch) as lines:
        yield lines


@pytest.fixture
def no_settings(monkeypatch):
    """The environment of a user who has set nothing."""
    for name in ("WANDB_ERROR_REPORTING", "WANDB_MODE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.delenv(name, raising=False)


def test_the_watch_sees_attempts(remote):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("192.0.2.1", 9))  # sends nothing
        sender.connect(("127.0.0.1", 9))
    assert remote() == [("socket.connect", ("192.0.2.1", 9))]


@pytest.mark.fault("network")
def test_a_training_sends_nothing(mini_config, remote):
    train.run(mini_config("trainer.max_steps=2"))
    assert remote() == []


@pytest.mark.fault("network")
def test_a_prediction_and_the_app_send_nothing(tiny_run, tmp_path, command, monkeypatch, remote):
    testclient = pytest.importorskip("starlette.testclient", reason="needs the extra app")
    from msdn_lit.inference.page import connections

    (tmp_path / "a.png").write_bytes(png())
    output = str(tmp_path / "out")
    code, _, err = command(predict, str(tiny_run), str(tmp_path / "a.png"), "--output", output)
    assert code == 0, err
    statuses = []

    def ask(server, sockets):
        client = testclient.TestClient(server.config.app, base_url="http://localhost")
        statuses.append(client.post("/predict", content=png()).status_code)

    monkeypatch.setattr(connections.Server, "run", ask)
    known = {"run": tiny_run, "checkpoint": "last", "data_dir": None, "samples": None}
    known["trust"] = False
    app.run(argparse.Namespace(**known, host="0.0.0.0", port=0, allow_host=[], allow_frame=[]))
    assert (statuses, remote()) == ([200], [])


@pytest.mark.fault("network")
@pytest.mark.usefixtures("no_settings")
def test_wandb_offline_sends_nothing(tmp_path, proxied):
    """In a process of its own, because W&B sends its reports at the end of the process."""
    code = "from msdn_lit.training import ResumableWandbLogger as L\n"
    code += "L('run', offline=True, project='x').experiment.log({'a': 1})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert len(list(tmp_path.glob("run/wandb/offline-run-*"))) == 1
    assert proxied == []


@pytest.mark.fault("network")
@pytest.mark.parametrize("offline", ["true", "false"])
def test_wandb_disabled_writes_nothing(mini_config, tmp_path, monkeypatch, offline, remote):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    train.run(mini_config("logger=wandb", f"logger.wandb.offline={offline}", "trainer.max_steps=2"))
    assert (tmp_path / "run" / "result.json").is_file()
    assert not list(tmp_path.rglob("*wandb*"))
    assert remote() == []


def test_reports_that_were_asked_for(monkeypatch):
    from msdn_lit.training.process import disable_telemetry

    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    disable_telemetry()
    assert os.environ["WANDB_ERROR_REPORTING"] == "true"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.slow
@pytest.mark.fault("network")
@pytest.mark.usefixtures("no_settings")
def test_a_cluster_of_ray_asks_nobody(start, sweeps, proxied, tmp_path, monkeypatch):
    """Without the dashboard's process, which would ask the metadata addresses of clouds."""
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setenv("HOME", str(tmp_path))  # of Ray's token
    address = "hydra.launcher.base_launcher.init.address=local"
    child = start("ray", "seed=0", "trial_launcher=ray", address, seconds=0.2)
    out, _ = child.communicate()
    assert child.returncode == 0, out
    assert list(sweeps.glob("ray/*/result.json")), out
    assert [line for line in proxied if b"metadata" in line or b"ray.io" in line] == []
