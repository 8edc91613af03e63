"""Devices by name: of a loaded model, of predictions, and of an extraction on all GPUs."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import msdn_lit
from msdn_lit.commands.data import extract
from msdn_lit.commands.use import app, predict
from msdn_lit.errors import ConfigError
from tests.helpers import IMAGES

AUTO = "cuda" if torch.cuda.is_available() else "cpu"


def moved(model):
    """The devices of a model's tensors."""
    modules = (model.net, model.backbone)
    return {tensor.device for module in modules for tensor in module.state_dict().values()}


def test_a_model_is_on_the_device_that_was_named(tiny_run):
    model = msdn_lit.load(tiny_run, device="auto")  # the CPU, without a GPU
    assert moved(model) == {
        torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    }
    assert moved(model.to("meta")) == {torch.device("meta")}
    with pytest.raises((RuntimeError, NotImplementedError)):
        model.predict(list(IMAGES))  # it is computed there


@pytest.mark.fault("settings")
@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_refused_in_one_line(tiny_run, command, tmp_path, name):
    with pytest.raises(ConfigError, match=f"device={name} is no device of this machine"):
        msdn_lit.load(tiny_run, device=name)
    code, _, err = command(predict, str(tiny_run), str(tmp_path), f"--device={name}")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("module", [predict, app])
def test_commands_have_the_device_of_their_option(module, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr("msdn_lit.build.load.load", lambda *_, **options: given.append(options))
    images = ["image.png"] if module is predict else []
    for words in ([], ["--device", "cuda:1"]):
        options = module._parse([str(tmp_path), *images, *words])
        module.load_model(options)
    assert [options["device"] for options in given] == ["cpu", "cuda:1"]


class TestExtraction:
    @pytest.fixture
    def started(self, monkeypatch):
        """Collects the processes that are started, as (words, GPU); each ends with code 0."""
        found = []

        def start(words, env, stdout):
            found.append((words, env["CUDA_VISIBLE_DEVICES"]))
            code = 9 if env["CUDA_VISIBLE_DEVICES"] == "dies" else 0
            return SimpleNamespace(wait=lambda: code, terminate=lambda: None, returncode=code)

        monkeypatch.setattr(subprocess, "Popen", start)
        monkeypatch.setattr(sys, "argv", ["msdn extract", "data=cub", "features.device=all"])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        return found

    def config(self, load_config):
        return load_config("data=cub", "features.device=all", name="extract")

    def test_one_process_for_each_gpu(self, load_config, monkeypatch, started):
        monkeypatch.setattr("msdn_lit.sweeps.worker.visible_devices", lambda: ("4", "MIG-a", "7"))
        cfg = self.config(load_config)
        with extract._on_all_gpus(cfg):
            assert cfg.features.device == "cuda"
            assert extract.os.environ["CUDA_VISIBLE_DEVICES"] == "4"
        words = ["-m", "msdn_lit", "extract", "data=cub", "features.device=cuda"]
        assert started == [([sys.executable, *words], gpu) for gpu in ("MIG-a", "7")]

    def test_without_a_gpu_it_is_one_process(self, load_config, monkeypatch, started):
        monkeypatch.setattr("msdn_lit.sweeps.worker.visible_devices", lambda: ())
        cfg = self.config(load_config)
        with extract._on_all_gpus(cfg):
            assert cfg.features.device == "auto"
        assert not started

    def test_a_process_that_dies_is_told(self, load_config, monkeypatch, started, caplog):
        monkeypatch.setattr("msdn_lit.sweeps.worker.visible_devices", lambda: ("0", "1", "dies"))
        with extract._on_all_gpus(self.config(load_config)):
            pass
        assert "1 of 2 further processes died" in caplog.text

    def test_a_sweep_is_refused(self, load_config, monkeypatch, started):
        monkeypatch.setattr(extract, "is_multirun", lambda: True)
        with (
            pytest.raises(ConfigError, match="Omit -m"),
            extract._on_all_gpus(self.config(load_config)),
        ):
            pass
