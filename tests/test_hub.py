"""Bundles and Spaces on the Hugging Face Hub, against a stand-in on this machine."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("starlette", reason="the stand-in needs the extra app")

import msdn_lit
from msdn_lit.commands.train import evaluate
from msdn_lit.commands.use import app, export, predict
from msdn_lit.errors import CheckpointError, ConfigError
from msdn_lit.inference.publish.address import HubAddress, hub_address
from tests.helpers import class_scores, png
from tests.hub_stand_in import Repo, serving

# of huggingface_hub 2.4, which hands an open file to its HTTP library
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")
FILES = {"bundle.json", "weights.safetensors", "README.md"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub, and a user ann with a token, whose files are in a cache of the test."""
    from huggingface_hub import close_session, constants

    with serving() as made:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, made.url)
        for name, value in {
            "ENDPOINT": made.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": False,  # as a library that was imported before ours
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_of_ann")
        close_session()  # an earlier one may have the proxies of another test
        yield made
        close_session()


@pytest.fixture(scope="module")
def exported():
    """The files of a bundle that was exported for ann/birds; made by the first test that asks."""
    return {}


@pytest.fixture
def birds(exported, request, hub, tmp_path):
    """The folder of a bundle whose author pushed it as ann/birds."""
    folder = tmp_path / "birds"
    if exported:
        folder.mkdir()
        for name, content in exported.items():
            (folder / name).write_bytes(content)
        repo = hub.repos["models/ann/birds"] = Repo(private=False)
        hub.add(repo, exported)
        return folder
    run, command = map(request.getfixturevalue, ("tiny_run", "command"))
    code, out, err = command(export, f"{run}", f"--output={folder}", "--hub=ann/birds")
    assert (code, err) == (0, "")
    assert f"Uploaded: {hub.url}/ann/birds" in out
    assert "Next: msdn app hf://ann/birds" in out
    assert len(hub.repos["models/ann/birds"].commits) == 2  # the Hub's, and one of ours
    assert files_of(hub) == {name: (folder / name).read_bytes() for name in FILES}
    exported.update(files_of(hub))
    return folder


def files_of(hub, name="models/ann/birds", revision="main"):
    return {k: v for k, v in hub.repos[name].files(revision).items() if k != ".gitattributes"}


class TestPushAndPull:
    def test_the_predictions_are_equal(self, birds, hub, pictures):
        expected = class_scores(msdn_lit.load(birds), pictures)
        assert class_scores(msdn_lit.load("hf://ann/birds"), pictures) == expected

    def test_only_the_bundle_is_asked_for(self, birds, hub):
        hub.repos["models/ann/birds"].commit(files_of(hub) | {"evil.py": b"", "x.pkl": b""})
        hub.log.clear()
        msdn_lit.load("hf://ann/birds")
        asked = {line for line in hub.log if "/resolve/" in line}
        assert {line.rpartition("/")[2] for line in asked} == FILES - {"README.md"}
        rest = {line.split("/")[1] for line in hub.log}
        assert rest == {"api", "ann", "lfs"}
        assert all("/ann/birds" in line or "/lfs/" in line for line in hub.log)  # no reports

    def test_a_revision(self, birds, hub, pictures):
        repo = hub.repos["models/ann/birds"]
        repo.refs["v1"] = first = repo.refs["main"]
        expected = class_scores(msdn_lit.load(birds), pictures)
        content = json.loads(files_of(hub)["bundle.json"])
        content["calibration"] = 30.0
        repo.commit(files_of(hub) | {"bundle.json": json.dumps(content).encode()})
        assert class_scores(msdn_lit.load("hf://ann/birds"), pictures) != expected
        for revision in ("v1", first):
            model = msdn_lit.load(f"hf://ann/birds@{revision}")
            assert class_scores(model, pictures) == expected

    def test_without_a_network_the_cache_is_used(self, birds, hub, pictures, monkeypatch):
        expected = class_scores(msdn_lit.load("hf://ann/birds"), pictures)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert class_scores(msdn_lit.load("hf://ann/birds"), pictures) == expected

    def test_a_bundle_is_pushed_from_its_folder(self, tiny_run, command, hub, tmp_path):
        folder = tmp_path / "birds"
        command(export, f"{tiny_run}", f"--output={folder}")
        assert 'load("birds")' in (folder / "README.md").read_text()
        code, _, err = command(export, f"{folder}", "hub=hf://ann/mine", "--private")
        assert (code, err) == (0, "")
        assert hub.repos["models/ann/mine"].private
        assert b'load("hf://ann/mine")' in files_of(hub, "models/ann/mine")["README.md"]
        assert msdn_lit.load("hf://ann/mine").classes.names

    def test_an_edited_card_is_pushed_as_it_is(self, birds, command, hub):
        (birds / "README.md").write_text("---\nlicense: cc0-1.0\n---\n# Mine\n")
        command(export, f"{birds}", "--hub=ann/birds")
        assert files_of(hub)["README.md"] == (birds / "README.md").read_bytes()
        assert (birds / "README.md").read_text().endswith("# Mine\n")

    def test_with_the_library_for_large_files(self, tiny_run, command, hub, monkeypatch):
        """hf_xet uploads in another way, in which the Hub stores small files itself."""
        pytest.importorskip("hf_xet")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
        hub.large = ()
        code, _, err = command(export, f"{tiny_run}", "--hub=ann/birds")
        assert (code, err) == (0, "")
        assert set(files_of(hub)) == FILES

    def test_a_space(self, tiny_run, command, hub):
        code, out, err = command(export, f"{tiny_run}", "--format=space", "--hub=ann/page")
        assert (code, err) == (0, "")
        assert f"{hub.url}/spaces/ann/page" in out
        pushed = files_of(hub, "spaces/ann/page")
        assert {"Dockerfile", "README.md", "requirements.txt"} < set(pushed)
        assert {f"bundle/run/{name}" for name in FILES} < set(pushed)


class TestCommands:
    def test_predict_and_app(self, birds, command, tmp_path, monkeypatch):
        (tmp_path / "a.png").write_bytes(png())
        code, _, err = command(predict, "hf://ann/birds", "a.png")
        assert (code, err) == (0, "")
        (written,) = (tmp_path / "birds" / "predictions").iterdir()  # NAME/predictions/TIME
        assert (written / "predictions.json").is_file()
        options = app._parse(["hf://ann/birds"])
        assert app.load_model(options).classes.names == msdn_lit.load(birds).classes.names

    def test_a_space_of_a_bundle_on_the_hub(self, birds, command, tmp_path):
        output = tmp_path / "page"
        code, _, err = command(
            export, "hf://ann/birds", "format=space", f"output={output}", "--license=mit"
        )
        assert code == 2  # a bundle has its card already
        code, _, err = command(export, "hf://ann/birds", "format=space", f"output={output}")
        assert (code, err) == (0, "")
        assert msdn_lit.load(output / "bundle" / "birds").classes.names

    def test_other_commands_say_that_it_is_a_bundle(self, command):
        code, _, err = command(evaluate, "hf://ann/birds")
        assert code == 2
        assert "hf://ann/birds is a bundle, and this command needs a run folder" in err


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("hf://ann/birds", HubAddress("ann/birds")),
            ("hf://ann/birds/", HubAddress("ann/birds")),
            ("hf:/ann/birds", HubAddress("ann/birds")),  # as pathlib shortens it
            ("hf://a.n-n/bi_rds@refs/pr/1", HubAddress("a.n-n/bi_rds", "refs/pr/1")),
            ("logs/demo", None),
            ("hf", None),
        ],
    )
    def test_are_read(self, text, found):
        assert hub_address(text) == found

    @pytest.mark.fault("settings")
    @pytest.mark.parametrize(
        "text",
        [
            "hf://birds",
            "hf://ann/birds/x.json",
            "hf://ann/birds@",
            "hf://",
            "hf://ann/..",
            "hf://../birds",
            "hf://ann/a--b",
            "hf://ann/ü",
            "hf://ann/a b",
            "hf://ann/birds.git",
        ],
    )
    def test_that_are_wrong(self, text):
        with pytest.raises(ConfigError, match=r"address is wrong: expected hf://USER/NAME or"):
            hub_address(text)

    @pytest.mark.fault("settings")
    def test_a_web_page_names_the_address(self):
        with pytest.raises(ConfigError, match="Write the address as hf://ann/birds"):
            hub_address("https://huggingface.co/ann/birds/tree/main")


@pytest.mark.fault("network")
class TestFaults:
    @pytest.mark.parametrize(
        ("address", "message"),
        [
            ("hf://ann/none", "no such repository, or your token may not see it"),
            ("hf://ann/birds@v9", "has no revision v9.*after the @"),
            ("hf://ann/empty", "is not a bundle of msdn-lit: it has no bundle.json"),
        ],
    )
    def test_what_cannot_be_pulled(self, birds, hub, address, message):
        hub.repos["models/ann/empty"] = Repo(private=False)
        hub.repos["models/ann/empty"].commit({"model.py": b""})
        with pytest.raises(CheckpointError, match=message):
            msdn_lit.load(address)

    def test_a_private_bundle_of_another(self, birds, hub, monkeypatch):
        hub.repos["models/ann/birds"].private = True
        for token in ("hf_of_bob", "hf_wrong"):
            monkeypatch.setenv("HF_TOKEN", token)
            with pytest.raises(CheckpointError, match=r"your token may not see it.*HF_TOKEN"):
                msdn_lit.load("hf://ann/birds")

    def test_a_damaged_file(self, birds, hub):
        weights = files_of(hub)["weights.safetensors"][:-9]
        hub.add(hub.repos["models/ann/birds"], files_of(hub) | {"weights.safetensors": weights})
        with pytest.raises(CheckpointError, match="is damaged"):
            msdn_lit.load("hf://ann/birds")

    def test_code_in_a_bundle(self, birds, hub, tmp_path):
        content = json.loads(files_of(hub)["bundle.json"])
        content["model"]["deep"] = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
        changed = {"bundle.json": json.dumps(content).encode()}
        hub.repos["models/ann/birds"].commit(files_of(hub) | changed)
        with pytest.raises(CheckpointError, match="names code that is not one of our models"):
            msdn_lit.load("hf://ann/birds", trust=True)
        assert not (tmp_path / "made").exists()

    def test_no_network(self, hub, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        message = r"the Hub cannot be reached: .*Check the network"
        with pytest.raises(CheckpointError, match=message):
            msdn_lit.load("hf://ann/birds")

    def test_offline(self, hub, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE is set.*Unset it"):
            msdn_lit.load("hf://ann/birds")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--hub=birds"], "--hub is wrong: expected USER/NAME, found birds"),
            (["--private"], "--private needs --hub. Add --hub USER/NAME."),
            (["--format=onnx", "--hub=ann/birds"], "Choose --format bundle or --format space."),
            (
                [
                    "--license=My Own",
                ],
                "--license is wrong: expected an identifier such as mit",
            ),
            (["--samples=x"], "--samples needs --format space"),
        ],
    )
    def test_what_cannot_be_asked_for(self, command, hub, arguments, message):
        code, _, err = command(export, "logs/demo", *arguments)
        assert (code, err.count("\n"), hub.log) == (2, 1, [])
        assert message in err

    def test_the_name_of_another(self, birds, command, hub):
        code, _, err = command(export, f"{birds}", "--hub=bob/birds")
        assert (code, err.count("\n")) == (2, 1)
        assert "the Hub refuses it with this token" in err
        assert "Use a token with write permission for bob. Run `hf auth login`, or set" in err

    def test_no_token(self, command, hub, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        code, _, err = command(export, "logs/demo", "--hub=ann/birds")
        assert code == 2
        problem = "There is no token of the Hugging Face Hub"
        assert err == f"msdn export: {problem}. Run `hf auth login`, or set HF_TOKEN.\n"
        assert hub.log == []

    def test_a_public_repository_is_not_taken_for_a_private_one(self, birds, command, hub):
        before = files_of(hub)
        (birds / "README.md").write_text("---\nlicense: mit\n---\n# Secret\n")
        code, _, err = command(export, f"{birds}", "--hub=ann/birds", "--private")
        assert code == 2
        assert "ann/birds exists and is public. Make it private in its settings" in err
        assert files_of(hub) == before

    def test_an_invalid_card(self, birds, command, hub):
        (birds / "README.md").write_text("no front matter")
        code, _, err = command(export, f"{birds}", "--hub=ann/birds")
        assert (code, err.count("\n")) == (2, 1)
        assert "no front matter" in err

    @pytest.mark.parametrize(("status", "message"), [(500, "answers 500"), (429, "answers 429")])
    def test_a_hub_that_fails(self, birds, command, hub, status, message):
        hub.failure = status
        code, _, err = command(export, f"{birds}", "--hub=ann/birds")
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
        assert err.endswith("Try again later.\n")


def test_the_library_is_imported_late():
    """Neither the package nor the help of a command waits for it."""
    code = (
        "import sys, msdn_lit, msdn_lit.commands.use.export, msdn_lit.commands.use.app\n"
        "print('huggingface_hub' in sys.modules, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False False\n"


@pytest.mark.fault("network")
def test_in_a_process_of_its_own(tmp_path):
    """Nothing else has imported the library: a user without a token exports with --hub."""
    words = [sys.executable, "-m", "msdn_lit", "export", "logs/demo", "--hub=ann/birds"]
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    found = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    problem = "There is no token of the Hugging Face Hub"
    expected = f"msdn export: {problem}. Run `hf auth login`, or set HF_TOKEN.\n"
    assert (found.returncode, found.stderr) == (2, expected)
