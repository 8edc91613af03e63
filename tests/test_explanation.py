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
from msdn_lit.data.words.attributes import attribute_parts, readable_attribute
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.inference.page import page as prediction_page

server = pytest.importorskip("msdn_lit.inference.page.server", reason="needs the extra app")
from starlette.testclient import TestClient  # noqa: E402

from tests.helpers import IMAGES, png  # noqa: E402
from tests.page_stub import StubApp  # noqa: E402


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
        namespace = "http://www.w3.org/2000/svg"  # a name, which no browser requests
        page = re.sub(r"<script type=.*?</script>", "", page, flags=re.DOTALL)
        assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|\$\{source\})""", page)
        assert "://" not in page.replace(namespace, "")

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

    def test_what_the_page_knows_of_the_model(self, client, model):
        described = client.get("/model").json()
        assert described["weights"] == model.fusion
        assert (described["about"], described["leads"]) == (None, None)
        assert described["groups"] == attribute_parts(model.attribute_names)
        answer = client.post("/predict", content=png()).json()
        found = model.predict(IMAGES[0])
        assert answer["crop"] == list(found.crop)
        assert answer["likeness"] == found.likeness

    def test_the_stub_of_the_page_answers_with_the_same_fields(self, client):
        stub = StubApp()
        assert client.get("/model").json().keys() == stub.model.keys()
        assert client.post("/predict", content=png()).json().keys() == stub.image.keys()

    def test_a_description(self, client, model):
        names = [readable_attribute(name) for name in model.attribute_names]
        text = f"{names[2]} 40, no {names[0]}\nwebbed feet".encode()
        answer = client.post("/describe", content=text).json()
        assert answer["values"] == {"2": 40, "0": 0}
        first, second, third = answer["phrases"]
        assert (first["text"], first["attributes"]) == (f"{names[2]} 40", [2])
        assert (second["text"], second["attributes"]) == (f"no {names[0]}", [0])
        assert (third["text"], third["attributes"]) == ("webbed feet", [])
        assert third["unknown"] == ["webbed", "feet"]
        assert client.post("/describe", content=b"").json() == {"values": {}, "phrases": []}

    def test_a_class_file(self, client, model):
        first, second, *_ = model.attribute_names
        known = model.classes.names[0]
        text = f"Ö:\n  {first!r}: 40\n  {second!r}: true\nin words: {first}\nb: {{like: {known}}}"
        answer = client.post("/class-file", content=text.encode()).json()["classes"]
        assert [one["name"] for one in answer] == ["Ö", "in words", "b"]
        assert [one["values"] for one in answer[:2]] == [{"0": 40, "1": 100}, {"0": 100}]
        row_K = model.classes.attributes_CK[0]
        for k, value in answer[2]["values"].items():
            assert value == pytest.approx(100 * row_K[int(k)] / row_K.max())
        assert len(answer[2]["values"]) == (row_K > 0).sum()

    @pytest.mark.fault("network")
    @pytest.mark.parametrize(
        ("path", "content", "status", "reason"),
        [
            ("/class-file", b"{", 422, "The file cannot be read as a class file"),
            ("/class-file", b"- 1", 422, "The file is not a class file: expected class: {attri"),
            ("/class-file", b"a: {x y: 1}", 422, "There is no attribute 'x y'."),
            ("/class-file", b"a: &a {b: 1}\nc: *a", 422, "The file cannot be read as a class"),
            ("/class-file", b"[" * 5000, 422, "The file cannot be read as a class file"),
            ("/class-file", b"\xff", 422, "The text is not UTF-8."),
            ("/describe", b"\xff", 422, "The text is not UTF-8."),
            ("/describe", b"red," * 65, 422, "The description is too long: expected at most 64"),
            ("/describe", b"red 101", 422, "'red 101' is out of range: expected 0 to 100"),
            ("/describe", b" " * 200_001, 413, "The upload is larger than 0.2 MB."),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_texts_that_are_refused(self, client, path, content, status, reason):
        answer = client.post(path, content=content)
        assert answer.status_code == status
        assert answer.json()["error"].startswith(reason)
        assert client.get(path).status_code == 405

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
            {"error": "The upload is larger than 1 MB."},
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
