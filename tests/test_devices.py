"""Devices by name: of a loaded model, of predictions, and of an extraction on all GPUs."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import msdn_lit
from msdn_lit.commands.data import _sharing
from msdn_lit.commands.data._sharing import sharing
from msdn_lit.commands.use import app, predict
from msdn_lit.errors import ConfigError, DataError
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
    """Which processes are started; `test_extraction.py` lets them work."""

    @pytest.fixture
    def started(self, monkeypatch):
        """Collects the processes that are started, as (words, variables); each ends with code 0."""
        found = []

        def start(words, env, stderr, **_):
            gpu, number = env["CUDA_VISIBLE_DEVICES"], env.get("OMP_NUM_THREADS")
            found.append((words, gpu if number is None else number))
            code = {"dies": 9, "refuses": 2}.get(gpu, 0)
            if code:
                stderr.write(b"a warning\nmsdn extract: bird.jpg does not decode\n")
            ended = {"wait": lambda: code, "poll": lambda: code, "terminate": lambda: None}
            return SimpleNamespace(**ended, returncode=code)

        monkeypatch.setattr(subprocess, "Popen", start)
        monkeypatch.setattr(sys, "argv", ["msdn extract", "data=cub", "features.device=all"])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        threads = torch.get_num_threads()
        yield found
        torch.set_num_threads(threads)

    def config(self, load_config, *words):
        return load_config("data=cub", *(words or ["features.device=all"]), name="extract")

    def gpus(self, monkeypatch, *names):
        monkeypatch.setattr("msdn_lit.sweeps.worker.visible_devices", lambda: names)

    def cores(self, monkeypatch, number):
        torch.set_num_threads(number)
        monkeypatch.setattr("msdn_lit.data.features.pixels.num_cores", lambda: 2 * number)

    def test_one_process_for_each_gpu(self, load_config, monkeypatch, started):
        self.gpus(monkeypatch, "4", "MIG-a", "7")
        cfg = self.config(load_config)
        with sharing(cfg, 10):
            assert cfg.features.device == "cuda"
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"
        words = ["-m", "msdn_lit", "extract", "data=cub", "features.device=cuda"]
        assert started == [([sys.executable, *words], gpu) for gpu in ("MIG-a", "7")]

    def test_without_a_gpu_it_is_one_process(self, load_config, monkeypatch, started):
        self.gpus(monkeypatch)
        cfg = self.config(load_config)
        with sharing(cfg, 10):
            assert cfg.features.device == "auto"
        assert not started

    def test_a_process_that_dies_is_told(self, load_config, monkeypatch, started, caplog):
        self.gpus(monkeypatch, "0", "1", "dies")
        with sharing(self.config(load_config), 10) as check:
            check()
        assert "1 of 2 further processes died" in caplog.text
        assert caplog.text.rstrip().endswith("bird.jpg does not decode")

    def test_a_process_with_a_user_error_ends_all(self, load_config, monkeypatch, started):
        self.gpus(monkeypatch, "0", "1", "refuses")
        with (
            pytest.raises(DataError, match=r"^bird.jpg does not decode.$"),
            sharing(self.config(load_config), 10) as check,
        ):
            check()

    @pytest.mark.parametrize("word", ["features.device=all", "features.processes=2"])
    def test_a_sweep_is_refused(self, load_config, monkeypatch, started, word):
        monkeypatch.setattr(_sharing, "is_multirun", lambda: True)
        cfg = self.config(load_config, word, *([] if "all" in word else ["features.device=cpu"]))
        with pytest.raises(ConfigError, match="Omit -m"), sharing(cfg, 10):
            pass

    # (threads of PyTorch, images, processes asked for) -> (processes, threads of each)
    @pytest.mark.parametrize(
        ("threads", "images", "asked", "number", "of_each"),
        [
            (4, 11_788, "auto", 4, 1),
            (16, 5_500, "auto", 5, 3),
            (4, 999, "auto", 1, 4),
            (4, 2, "auto", 1, 4),
            (1, 11_788, "auto", 1, 1),
            (4, 11_788, 1, 1, 4),
            (4, 10, 2, 2, 2),
            (2, 10, 3, 3, 1),
        ],
    )
    def test_the_cores_of_a_cpu_are_divided(
        self, load_config, monkeypatch, started, threads, images, asked, number, of_each
    ):
        self.cores(monkeypatch, threads)
        typed = ["features.device=cpu", f"features.processes={asked}"]
        monkeypatch.setattr(sys, "argv", ["msdn extract", "data=cub", *typed])
        cfg = self.config(load_config, *typed)
        with sharing(cfg, images):
            assert torch.get_num_threads() == of_each
        words = ["-m", "msdn_lit", "extract", "data=cub", "features.device=cpu"]
        decoders = max(1, 2 * threads // number)
        words += ["features.processes=1", f"features.num_workers={decoders}"]
        assert started == [([sys.executable, *words], str(of_each))] * (number - 1)

    def test_a_sweep_extracts_in_one_process(self, load_config, monkeypatch, started):
        self.cores(monkeypatch, 4)
        monkeypatch.setattr(_sharing, "is_multirun", lambda: True)
        with sharing(self.config(load_config, "features.device=cpu"), 11_788):
            assert torch.get_num_threads() == 4
        assert not started

    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "true", "many", "null"])
    def test_a_wrong_number_of_processes_is_one_line(self, load_config, started, value):
        cfg = self.config(load_config, "features.device=cpu", f"features.processes={value}")
        with (
            pytest.raises(ConfigError, match=r"features\.processes is not valid: expected auto"),
            sharing(cfg, 11_788),
        ):
            pass

    def test_a_process_whose_starter_died_stops(self, load_config, monkeypatch, started):
        monkeypatch.setenv("MSDN_STARTED_BY", "1")
        before = signal.getsignal(signal.SIGINT)
        try:
            with pytest.raises(SystemExit), sharing(self.config(load_config, "seed=0"), 1) as check:
                check()
        finally:
            signal.signal(signal.SIGINT, before)
