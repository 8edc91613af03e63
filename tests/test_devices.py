"""Devices by name: of a loaded model, of predictions, and of an extraction on all GPUs."""

import os
import pickle
from types import SimpleNamespace

import pytest
import torch

import msdn_lit
from msdn_lit.commands.data import _sharing
from msdn_lit.commands.data._sharing import ProcessShare, sharing
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
    """Which processes are started; `test_fresh_processes.py` lets them work."""

    @pytest.fixture
    def started(self, monkeypatch):
        """Collects the shares of the processes that are started; each ends at once."""
        found = []

        class Process:
            def __init__(self, target, args):
                share, self.settings, *_ = args
                self.exitcode = -9 if share.gpu == "dies" else 0
                found.append(share)

            start = terminate = join = lambda self: None

        pipe = SimpleNamespace(poll=lambda: False), None
        fake = SimpleNamespace(Process=Process, Pipe=lambda duplex: pipe)
        monkeypatch.setattr(_sharing, "_SPAWN", fake)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        threads = torch.get_num_threads()
        yield found
        torch.set_num_threads(threads)

    def config(self, load_config, *words):
        return load_config("data=cub", *(words or ["features.device=all"]), name="extract")

    def gpus(self, monkeypatch, *names):
        monkeypatch.setattr("msdn_lit.sweeps.worker.visible_devices", lambda: names)

    def test_one_process_for_each_gpu(self, load_config, monkeypatch, started):
        self.gpus(monkeypatch, "4", "MIG-a", "7")
        cfg = self.config(load_config)
        with sharing(cfg, 10, None):
            assert cfg.features.device == "cuda"
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"
        assert started == [ProcessShare(gpu="MIG-a"), ProcessShare(gpu="7")]

    def test_without_a_gpu_it_is_one_process(self, load_config, monkeypatch, started):
        self.gpus(monkeypatch)
        cfg = self.config(load_config)
        with sharing(cfg, 10, None):
            assert cfg.features.device == "auto"
        assert not started

    def test_a_process_that_dies_is_told_once(self, load_config, monkeypatch, started, caplog):
        self.gpus(monkeypatch, "0", "1", "dies")
        with sharing(self.config(load_config), 10, None) as check:
            check()
            assert "process died (exit code -9). The others do its part, 2 of them" in caplog.text
            check()
        assert caplog.text.count("died") == 1

    @pytest.mark.parametrize("word", ["features.device=all", "features.processes=2"])
    def test_a_sweep_is_refused(self, load_config, monkeypatch, started, word):
        monkeypatch.setattr(_sharing, "is_multirun", lambda: True)
        cfg = self.config(load_config, word, *([] if "all" in word else ["features.device=cpu"]))
        with pytest.raises(ConfigError, match="Omit -m"), sharing(cfg, 10, None):
            pass

    # (threads of PyTorch, images, processes asked for) -> (processes, threads of each)
    @pytest.mark.parametrize(
        ("threads", "images", "asked", "number", "of_each"),
        [
            (2, 11_788, "auto", 2, 1),
            (6, 11_788, "auto", 6, 1),
            (16, 11_788, "auto", 8, 2),
            (20, 37_322, "auto", 6, 3),
            (16, 5_500, "auto", 4, 4),
            (4, 1_999, "auto", 1, 4),
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
        torch.set_num_threads(threads)
        monkeypatch.setattr("msdn_lit.build.features.num_cores", lambda: 2 * threads)
        cfg = self.config(load_config, "features.device=cpu", f"features.processes={asked}")
        with sharing(cfg, images, None):
            assert torch.get_num_threads() == of_each
        assert torch.get_num_threads() == threads
        assert started == [ProcessShare(threads=of_each)] * (number - 1)
        if number > 1:
            decoders = min(2 * threads, 16)
            assert cfg.features.num_workers == max(1, decoders // number)

    def test_a_sweep_extracts_in_one_process(self, load_config, monkeypatch, started):
        torch.set_num_threads(4)
        monkeypatch.setattr(_sharing, "is_multirun", lambda: True)
        with sharing(self.config(load_config, "features.device=cpu"), 11_788, None):
            assert torch.get_num_threads() == 4
        assert not started

    def test_features_of_an_earlier_version_lack_the_setting(self, load_config, started):
        torch.set_num_threads(2)
        cfg = self.config(load_config, "features.device=cpu", "~features.processes")
        with sharing(cfg, 11_788, None):
            pass
        assert len(started) == 1

    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "true", "many", "null"])
    def test_a_wrong_number_of_processes_is_one_line(self, load_config, started, value):
        cfg = self.config(load_config, "features.device=cpu", f"features.processes={value}")
        with (
            pytest.raises(ConfigError, match=r"features\.processes is not valid: expected auto"),
            sharing(cfg, 11_788, None),
        ):
            pass

    def test_a_process_whose_starter_died_stops(self, monkeypatch):
        parent = SimpleNamespace(is_alive=lambda: True)
        monkeypatch.setattr(_sharing.multiprocessing, "parent_process", lambda: parent)
        _sharing._end_without_parent()
        parent.is_alive = lambda: False
        with pytest.raises(SystemExit):
            _sharing._end_without_parent()

    def test_an_error_keeps_its_text_on_the_way_to_another_process(self):
        error = DataError("x" * 2000, expected=1, action="Type this.")
        sent = pickle.loads(pickle.dumps(error))
        assert (type(sent), str(sent)) == (DataError, str(error))
