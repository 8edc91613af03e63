"""Shared fixtures: the real configs, and a miniature benchmark on disk."""

import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = (
    "1"  # read when huggingface_hub is imported: a test that asks for a download fails at once
)

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import msdn_lit
from msdn_lit.build.predictor import predictor as build_predictor
from msdn_lit.data.benchmarks import published
from msdn_lit.files import config_dir
from msdn_lit.models import BilinearCompatibility
from tests import miniature
from tests.composition import keep_compositions
from tests.helpers import add_callback
from tests.trial_folders import sweep_options

pytest_plugins = ["tests.browser", "tests.faults"]
ROOT = Path(__file__).resolve().parents[1]
keep_compositions()
torch.set_num_threads(1)  # two threads on shared cores make tiny tests 20 times slower


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch, tmp_path):
    """No test sees the user's data folders, writes into the checkout, or reaches W&B."""
    for name in ("MSDN_DATA_DIR", "MSDN_FEATURE_DIR", "MSDN_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB__SERVICE_WAIT", "120")  # seconds, on a busy machine
    HydraConfig.instance().cfg = None  # a command leaves its own behind
    monkeypatch.setattr(
        "msdn_lit.commands._hydra.retain_freed_memory", lambda: False
    )  # for good, in a process of many tests
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(published.BENCHMARKS, "MINI", miniature.MINI)
    yield
    of_commands = (logging.StreamHandler, logging.FileHandler)  # and not pytest's subclasses
    for handler in [found for found in logging.root.handlers if type(found) in of_commands]:
        logging.root.removeHandler(handler)
        if isinstance(handler, logging.FileHandler):
            with suppress(OSError):  # of a disk that a test has filled
                handler.close()  # the other's stream is pytest's


@pytest.fixture
def data_dir(tmp_path):
    """A data folder with the miniature benchmark, without images and features."""
    folder = tmp_path / "data"
    miniature.write_split(folder)
    miniature.write_word_vectors(folder)
    return folder


@pytest.fixture
def store_dir(data_dir, tmp_path):
    """The miniature benchmark's feature store."""
    folder = tmp_path / "features" / "MINI_mini"
    miniature.write_features(data_dir, folder)
    return folder


@pytest.fixture(scope="session")
def load_config():
    """Composes a real config of conf/ with overrides."""

    def load(*overrides, name="train", with_hydra=False):
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose(name, overrides=list(overrides), return_hydra_config=with_hydra)

    return load


@pytest.fixture
def mini_overrides(store_dir, data_dir, tmp_path):
    """What points the real training config at the miniature benchmark."""
    return [
        *miniature.FEATURES,
        "data.benchmark=MINI",
        "recipe_of=null",
        "data.semantics.word_vectors=w2v/MINI_attribute.pkl",
        "sampler.batch_size=10",
        f"data.store_dir={store_dir}",
        f"paths.data_dir={data_dir}",
        f"paths.run_dir={tmp_path / 'run'}",
        "trainer=cpu",
        "trainer.max_steps=12",
        "trainer.val_check_interval=5",
        "trainer.log_every_n_steps=1",
        "~callbacks.progress",
        "+trainer.enable_progress_bar=false",
    ]


@pytest.fixture
def mini_config(load_config, mini_overrides):
    """The real training config, pointed at the miniature benchmark."""
    return lambda *overrides: load_config(*mini_overrides, *overrides)


@pytest.fixture
def tiny_run(mini_config, tmp_path):
    """A run folder of a tiny backbone and a net whose weights are all random."""
    backbone = {"model_name": "test_resnet", "pretrained": "false", "weights_file": "null"}
    tiny = [f"features.backbone.{name}={value}" for name, value in backbone.items()]
    cfg = mini_config(
        *tiny,
        "features.name=tiny",
        "features.transform.image_size=64",
        "prediction.calibration=0.7",
    )
    predictor = build_predictor(cfg)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = {
            f"net.{name}": torch.randn_like(w) for name, w in predictor.net.state_dict().items()
        }
    OmegaConf.resolve(cfg.paths)  # as the commands do
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": weights, "global_step": 3}, folder / "checkpoints" / "last.ckpt")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    return folder


@pytest.fixture
def pooled_model(tiny_run):
    """A predictor whose net averages the regions, so that it has no attention."""
    model = msdn_lit.load(tiny_run)
    size = model.transform.image_size
    visual_dim = model.backbone.feature_map(torch.zeros(1, 3, size, size)).shape[1]
    class_attributes_CK = torch.from_numpy(model.classes.attributes_CK)
    vectors_KE = torch.zeros(len(model.attribute_names), 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = BilinearCompatibility(vectors_KE, class_attributes_CK, visual_dim, unit_length=False)
    return replace(model, net=net.eval(), fusion={"image": 1.0})


@pytest.fixture
def pictures():
    """Five pictures of noise, as the tiny backbone sees them."""
    return list(np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8))


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command in this process: (exit code, standard output, standard error)."""

    def call(module, *arguments):
        monkeypatch.setattr(sys, "argv", [f"msdn-{module.__name__.rpartition('.')[2]}", *arguments])
        try:
            module.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def start(mini_overrides, tmp_path):
    """Starts a sweep of the miniature benchmark in its own process group; kills it at the end."""
    started = []

    def begin(name, *more, seconds=0.0, **environment):
        unwanted = ("paths.run_dir", "~callbacks.progress", "+trainer.enable_progress_bar")
        overrides = [o for o in mini_overrides if not o.startswith(unwanted)]
        target = "_target_: tests.mini_train.Witness, folder: '${paths.run_dir}'"
        witness = f"+callbacks.witness={{{target}, seconds: {seconds}}}"
        places = [f"paths.log_dir={tmp_path / 'logs'}", f"sweep_name={name}", witness]
        command = [sys.executable, "-m", "tests.mini_train", "-m", *overrides, *places, *more]
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        started.append(child)
        return child

    yield begin
    for child in started:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()


@pytest.fixture
def sweeps(tmp_path):
    return tmp_path / "logs" / "sweeps"


@pytest.fixture
def sweep(command, mini_overrides, tmp_path):
    """Runs msdn train -m with sweep_name=trial: (exit code, standard output, standard error)."""
    from msdn_lit.commands.train import train  # slow to import

    options = sweep_options(mini_overrides, tmp_path / "logs", "trial")
    return lambda *more: command(train, *options, *more)


@pytest.fixture
def folder(tmp_path):
    """The folder of the sweep that the fixture `sweep` runs."""
    return tmp_path / "logs" / "sweeps" / "trial"


@pytest.fixture
def with_callback(monkeypatch):
    """Adds a callback to the trainers that are built from now on."""
    return lambda callback: add_callback(monkeypatch, callback)


@pytest.fixture
def into(tmp_path):
    """A folder with a file of the user's own, to unpack into."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mine.txt").write_bytes(b"mine")
    return folder
