"""Several processes: the scores of one process, one run folder, and under -m the settings of the job in every one."""

import json
import os
import subprocess
import sys

import pytest
import torch

from msdn_lit.sweeps.trials import trials_in
from tests.trial_folders import same_weights, weights
from tests.wandb_files import run_files

TWO = ["trainer=ddp", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a command of ours in processes of its own, on the drawn benchmark; its folder is `run.folder`."""
    folder = tmp_path_factory.mktemp("ddp")
    environment = {
        **os.environ,
        "MSDN_DATA_DIR": str(folder),
        "MSDN_FEATURE_DIR": str(folder / "features"),
    }
    environment |= {"MSDN_LOG_DIR": str(folder), "OMP_NUM_THREADS": "1"}

    def call(module, *arguments):
        command = [sys.executable, "-m", f"msdn_lit.{module}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call.folder = folder
    call("extract", "experiment=demo")
    return call


SHORT = [
    "experiment=demo",
    "callbacks=default",
    "trainer.max_steps=12",
    "trainer.val_check_interval=6",
]


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_two_processes_score_exactly_as_one(run):
    ours = run.folder / "two"
    run("train", *SHORT, *TWO, "seed=3", "logger=wandb", f"paths.run_dir={ours}")
    run("evaluate", f"run_dir={ours}", f"output_dir={ours / 'again'}", "accelerator=cpu")
    assert result(ours)["scores"]["last"] == result(ours / "again")["scores"]["last"]
    assert not list(run.folder.glob("train/runs/*"))  # no rank has made a folder of its own
    assert [path.name for path in ours.glob("metrics/*")] == ["version_0"]
    (logged,) = run_files(ours)
    assert logged.exit_code == 0
    assert logged.summary["last/harmonic_mean"] == result(ours)["scores"]["last"]["harmonic_mean"]


@pytest.mark.slow
def test_every_process_of_a_sweep_has_the_settings_of_the_job(run):
    run("train", "-m", *SHORT, *TWO, "seed=1,2", "optimizer.lr=1e-4,1e-2", "sweep_name=two")
    trials = trials_in(run.folder / "sweeps" / "two")
    assert len(trials) == 4
    for number, trial in enumerate(trials):
        typed = [o for o in trial.overrides if o.startswith(("seed=", "optimizer.lr="))]
        alone = run.folder / f"alone_{number}"
        run("train", *SHORT, *TWO, *typed, f"paths.run_dir={alone}")
        assert result(trial.folder)["scores"] == result(alone)["scores"]
        assert same_weights(trial.folder, alone)


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_in_every_process(run):
    arguments = ["train", "-m", *SHORT, *TWO, "seed=5", "sweep_name=again"]
    run(*arguments)
    (trial,) = trials_in(run.folder / "sweeps" / "again")
    whole = weights(trial.folder)
    (trial.folder / "result.json").unlink()
    assert trial.state == "interrupted"
    run(*arguments)
    assert trial.state == "finished"
    assert all(torch.equal(value, whole[name]) for name, value in weights(trial.folder).items())


def test_workers_that_cannot_start_processes_say_so(mini_config, monkeypatch):
    from msdn_lit.build import trainer as build
    from msdn_lit.build.training import training as build_training
    from msdn_lit.errors import ConfigError

    monkeypatch.setattr(build, "_is_in_a_worker", lambda: True)
    with pytest.raises(ConfigError, match="trial_launcher=serial"):
        build_training(mini_config(*TWO))
