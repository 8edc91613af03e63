"""Several processes for one model: the scores of one process, and one run folder.

In a sweep, every process has the settings of its trial.
"""

import os
import subprocess
import sys

import pytest
import torch

from msdn_lit.build import features as build
from msdn_lit.sweeps.trials import trials_in
from tests.helpers import result_of, weights_of
from tests.trial_folders import same_weights
from tests.wandb_files import run_files

TWO = ["trainer=ddp", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a command on the synthetic benchmark in a new process, below `run.folder`."""
    folder = tmp_path_factory.mktemp("ddp")
    environment = {
        **os.environ,
        "MSDN_DATA_DIR": str(folder),
        "MSDN_FEATURE_DIR": str(folder / "features"),
    }
    environment |= {"MSDN_LOG_DIR": str(folder), "OMP_NUM_THREADS": "1"}

    def call(module, *arguments):
        command = [sys.executable, "-m", f"msdn_lit.commands.{module}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call.folder = folder
    call("data.extract", "experiment=demo")
    return call


SHORT = [
    "experiment=demo",
    "callbacks=default",
    "trainer.max_steps=12",
    "trainer.val_check_interval=6",
]


@pytest.mark.slow
def test_two_processes_score_exactly_as_one(run):
    ours = run.folder / "two"
    run("train.train", *SHORT, *TWO, "seed=3", "logger=wandb", f"paths.run_dir={ours}")
    again = ours / "again"
    run("train.evaluate", str(ours), "--output", str(again), "--accelerator", "cpu")
    assert result_of(ours)["scores"]["last"] == result_of(again)["scores"]["last"]
    assert not list(run.folder.glob("train/runs/*"))  # no rank made another run folder
    assert [path.name for path in ours.glob("metrics/*")] == ["version_0"]
    (logged,) = run_files(ours)
    assert logged.exit_code == 0
    last = result_of(ours)["scores"]["last"]
    assert logged.summary["last/harmonic_mean"] == last["harmonic_mean"]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["last_stage", "all"])
def test_two_processes_train_the_backbone_as_one_does(run, load_config, part):
    """Up to rounding, which the kinks of the activations amplify; shares of 4 and 3 images."""
    words = [*SHORT, f"features.train={part}", "trainer.max_steps=5", "sampler.batch_size=7"]
    words += ["optimizer=sgd", "optimizer.lr=0.02"]  # others amplify rounding in the first steps
    folders = [run.folder / part / name for name in ("one", "two")]
    for folder, processes in zip(folders, ([], TWO), strict=True):
        run("train.train", *words, *processes, f"paths.run_dir={folder}")
    alone, shared = map(weights_of, folders)
    start = build.backbone(load_config("experiment=demo")).weights()
    moved = {name: alone[f"net.backbone.model.{name}"] - weight for name, weight in start.items()}
    apart = [
        shared[f"net.backbone.model.{name}"] - alone[f"net.backbone.model.{name}"] for name in start
    ]
    step = torch.cat([each.flatten() for each in moved.values()]).norm()
    assert step > 1e-3
    assert torch.cat([each.flatten() for each in apart]).norm() < 1e-3 * step


@pytest.mark.slow
def test_every_process_has_the_settings_of_its_trial(run):
    run("train.train", "-m", *SHORT, *TWO, "seed=1,2", "optimizer.lr=1e-4,1e-2", "sweep_name=two")
    trials = trials_in(run.folder / "sweeps" / "two")
    assert len(trials) == 4
    for number, trial in enumerate(trials):
        typed = [o for o in trial.overrides if o.startswith(("seed=", "optimizer.lr="))]
        alone = run.folder / f"alone_{number}"
        run("train.train", *SHORT, *TWO, *typed, f"paths.run_dir={alone}")
        assert result_of(trial.folder)["scores"] == result_of(alone)["scores"]
        assert same_weights(trial.folder, alone)


@pytest.mark.slow
def test_an_interrupted_trial_resumes_in_every_process(run):
    arguments = ["train.train", "-m", *SHORT, *TWO, "seed=5", "sweep_name=again"]
    run(*arguments)
    (trial,) = trials_in(run.folder / "sweeps" / "again")
    whole = weights_of(trial.folder)
    (trial.folder / "result.json").unlink()
    assert trial.state == "interrupted"
    run(*arguments)
    assert trial.state == "finished"
    assert all(torch.equal(value, whole[name]) for name, value in weights_of(trial.folder).items())


def test_workers_that_cannot_start_processes_refuse(mini_config, monkeypatch):
    from msdn_lit.build import trainer as build
    from msdn_lit.build.training import training as build_training
    from msdn_lit.errors import ConfigError

    monkeypatch.setattr(build, "_is_in_a_worker", lambda: True)
    with pytest.raises(ConfigError, match="trial_launcher=serial"):
        build_training(mini_config(*TWO))


def test_seeds_in_parallel_refuse_several_processes(mini_config):
    from msdn_lit.build.training import training as build_training
    from msdn_lit.errors import ConfigError

    with pytest.raises(ConfigError, match=r"share one device: expected .*devices=1, found 2"):
        build_training(mini_config("trainer=ddp_sim", "protocol.seeds_in_parallel=2"))
