"""The page of predictions and the app: their content, answers and refusals."""

import argparse
import base64
import hashlib
import json
import re
import socket
import subprocess
import sys
from concurrent.futures import Future

import numpy as np
import pytest

import msdn_lit
from msdn_lit.commands.use import app
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.inference.page import page as prediction_page

server = pytest.importorskip("msdn_lit.inference.page.server", reason="needs the extra app")
from starlette.testclient import TestClient  # noqa: E402

from tests.helpers import IMAGES, png  # noqa: E402


@pytest.fixture
def model(tiny_run):
    return msdn_lit.load(tiny_run)


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def embedded(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, flags=re.DOTALL).group(1))


class TestPage:
    def test_holds_the_predictions(self, model):
        found = model.predict(list(IMAGES))
        data = embedded(prediction_page.page(found, "title", {}))
        rows = floats(data["model"]["rows"]).reshape(model.classes.attributes_CK.shape)
        np.testing.assert_array_equal(rows, model.classes.attributes_CK)
        for prediction, image in zip(found, data["images"], strict=True):
            np.testing.assert_array_equal(floats(image["psi"]), prediction.attribute_scores_K)
            for name, maps_KHW in prediction.attention.items():
                shown = np.frombuffer(base64.b64decode(image["attention"][name]), np.uint8).reshape(
                    maps_KHW.shape
                )
                low, high = maps_KHW.min(axis=(1, 2)), maps_KHW.max(axis=(1, 2))
                step = ((high - low) / 255)[:, None, None]
                assert (
                    np.abs(low[:, None, None] + shown * step - maps_KHW) <= 0.51 * step + 1e-7
                ).all()

    def test_of_a_model_without_attention(self, pooled_model):
        page = prediction_page.page([pooled_model.predict(IMAGES[0])], "title", {})
        (image,) = embedded(page)["images"]
        assert (image["attention"], image["grid"]) == ({}, None)
        assert "heat map" not in page.partition("<footer>")[2].partition("</footer>")[0]

    def test_names_are_only_names(self, model):
        found = model.predict(IMAGES[0], classes={"</script><b>x": {"like": "class 0"}})
        page = prediction_page.page([found], "<i>title", {"a": "<u>reason"})
        assert "</script><b>x" not in page
        assert embedded(page)["model"]["classes"][0][0] == "</script><b>x"
        assert "<i>title" not in page
        assert "&lt;u&gt;reason" in page

    def test_runs_its_own_script_and_no_other(self, model):
        page = prediction_page.page([model.predict(IMAGES[0])], "title", {})
        script = re.search(r"<script>(.*?)</script>", page, flags=re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in page

    def test_stands_alone(self, model):
        page = prediction_page.page([model.predict(IMAGES[0])], "title", {})
        assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
        assert "://" not in re.sub(r"<script type=.*?</script>", "", page, flags=re.DOTALL)

    def test_says_what_it_leaves_out(self, model, monkeypatch):
        monkeypatch.setattr(prediction_page, "MAX_IMAGES", 2)
        page = prediction_page.page(model.predict(list(IMAGES)), "title", {})
        assert len(embedded(page)["images"]) == 2
        assert "The first 2 of 3 images." in page
        assert embedded(prediction_page.page([], "title", {}))["images"] == []


@pytest.fixture
def client(model, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    done = Future()
    done.set_result(model)
    handlers = server.Handlers(done, [tmp_path / "a.png"], "title")
    return TestClient(server.create_app(handlers, {"127.0.0.1"}), base_url="http://127.0.0.1:8000")


class TestServer:
    def test_answers(self, client, model):
        assert "<h1>title</h1>" in client.get("/").text
        described = client.get("/model").json()
        assert [name for name, *_ in described["classes"]] == list(model.classes.names)
        assert [margin for *_, margin in described["classes"]] == pytest.approx(
            model.margins(model.classes).tolist()
        )
        assert described["samples"] == ["a.png"]
        sent = client.get("/samples/0").content
        answer = client.post("/predict", content=sent, headers={"X-Name": "V%C3%B6gel.png"}).json()
        assert answer["name"] == "Vögel.png"
        np.testing.assert_allclose(
            floats(answer["psi"]), model.predict(IMAGES[0]).attribute_scores_K
        )

    @pytest.mark.parametrize("content", [b"", b"no image", png()[:200]])
    def test_what_is_not_an_image(self, client, content):
        answer = client.post("/predict", content=content, headers={"X-Name": "x.png"})
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("x.png: The image does not decode")
        assert "BytesIO" not in answer.json()["error"]

    def test_what_is_too_large(self):
        limits = server.Limits(upload=1_000_000)
        handlers = server.Handlers(Future(), [], "x", limits)
        client = TestClient(server.create_app(handlers, {"127.0.0.1"}), "http://127.0.0.1")
        answer = client.post("/predict", content=b"x" * 1_000_001)
        assert (answer.status_code, answer.json()) == (
            413,
            {"error": "The image is larger than 1 MB."},
        )

    def test_nothing_else(self, client):
        assert client.get("/samples/1").status_code == 404
        assert client.get("/samples/..%2f..%2fetc%2fpasswd").status_code == 404
        assert client.get("/predict").status_code == 405
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400

    @pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9", "null"])
    def test_pages_of_other_sites(self, client, origin):
        assert client.post("/predict", content=png(), headers={"Origin": origin}).status_code == 403
        assert (
            client.post(
                "/predict", content=png(), headers={"Origin": "http://127.0.0.1:8000"}
            ).status_code
            == 200
        )

    def test_a_model_that_cannot_be_loaded(self):
        failed = Future()
        failed.set_exception(DataError("The weights are missing"))
        client = TestClient(
            server.create_app(server.Handlers(failed, [], "x"), {"localhost"}),
            base_url="http://localhost",
        )
        assert client.get("/").status_code == 200
        answer = client.get("/model")
        assert (answer.status_code, answer.json()) == (503, {"error": "The weights are missing."})


def options(run, **others):
    known = {
        "run": run,
        "checkpoint": "last",
        "data_dir": None,
        "samples": None,
        "host": "127.0.0.1",
        "allow_host": [],
        "allow_frame": [],
        "port": 0,
        "trust": False,
    }
    return argparse.Namespace(**known | others)


def test_the_command_ends_where_there_is_no_model(tmp_path):
    with pytest.raises(Exception, match="is no run folder"):
        app.run(options(tmp_path))


@pytest.mark.parametrize("port", ["taken", 70_000])
def test_a_port_that_cannot_be_served(tmp_path, port):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1] if port == "taken" else port
        with pytest.raises(ConfigError, match="--port"):
            app.run(options(tmp_path, port=port))


def test_the_page_needs_no_torch():
    """The app shows it while the model loads."""
    modules = "msdn_lit.commands.use.app, msdn_lit.inference.page.server"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "msdn_lit.inference.page.connections")
    with pytest.raises(ConfigError, match=r"uvicorn is not installed.*msdn-lit\[app\]"):
        app.run(options(tmp_path))
