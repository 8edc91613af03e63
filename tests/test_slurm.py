"""Several tasks of one SLURM job train one model: they meet at its trial, and only one writes.

No SLURM is needed: the tasks are processes with its environment variables.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from msdn_lit.commands.train import train
from msdn_lit.errors import ConfigError
from msdn_lit.files import config_dir, is_first_process, locked
from msdn_lit.sweeps import trials as sweeps
from msdn_lit.sweeps.trials import Trial, lock_trial, trials_in
from tests.helpers import result_of, weights_of

ROOT = Path(__file__).resolve().parents[1]
JOB = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "msdn-lit",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
}


def task(rank):
    """The environment of one task of a job."""
    return JOB | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}


def free_port():
    with socket.socket() as made:
        made.bind(("localhost", 0))
        return str(made.getsockname()[1])


def test_two_tasks_train_each_trial_together(mini_overrides, mini_config, tmp_path):
    unwanted = ("paths.run_dir", "trainer=cpu")
    overrides = [word for word in mini_overrides if not word.startswith(unwanted)]
    overrides += ["trainer=ddp", "trainer.accelerator=cpu", "sampler.batch_size=7"]
    places = [f"paths.log_dir={tmp_path / 'logs'}", "sweep_name=two"]
    command = [sys.executable, "-m", "tests.mini_train", "-m", *overrides, *places]
    command += ["seed=3", "model=msdn,eszsl"]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    common = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    common |= {"MASTER_ADDR": "localhost", "MASTER_PORT": free_port()}
    started = [
        subprocess.Popen(
            command,
            env=common | task(rank),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    for model in ("msdn", "eszsl"):  # one process, in the meantime
        places = [f"paths.run_dir={tmp_path / model}"]
        train.run(mini_config("seed=3", "sampler.batch_size=7", f"model={model}", *places))
    try:
        printed = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], printed
    trials = trials_in(tmp_path / "logs" / "sweeps" / "two")
    assert [trial.state for trial in trials] == ["finished", "finished"]
    for trial in trials:
        assert (trial.folder / ".lock").read_text() == "77.0"
        (model,) = (word[6:] for word in trial.overrides if word.startswith("model="))
        found, expected = weights_of(trial.folder), weights_of(tmp_path / model)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
        ours, alone = (result_of(folder)["scores"] for folder in (trial.folder, tmp_path / model))
        assert ours["last"] == pytest.approx(alone["last"], abs=1e-3)


@pytest.fixture
def as_task(monkeypatch):
    """Makes this process one task of a job."""

    def become(rank, **more):
        for name, value in (task(rank) | more).items():
            monkeypatch.setenv(name, value)

    return become


def test_the_others_wait_until_the_first_has_the_lock(as_task, tmp_path, monkeypatch):
    trial, waited = Trial(tmp_path / "trial", ()), []
    with locked(trial.folder / ".lock"):  # a worker of a killed sweep still trains the trial
        monkeypatch.setattr(sweeps, "_LONGEST_WAIT", 0.3)
        as_task(1)
        with pytest.raises(ConfigError, match=r"job 77\.0 does not begin with .*trial"):
            lock_trial(trial).__enter__()
    as_task(0)
    with lock_trial(trial):
        monkeypatch.setattr(sweeps.time, "sleep", waited.append)
        as_task(1)
        with lock_trial(trial):
            assert not waited
        as_task(1, SLURM_RESTART_COUNT="1")  # the job was requeued: its first task has not begun
        with pytest.raises(ConfigError, match=r"job 77\.1 does not begin"):
            lock_trial(trial).__enter__()
        assert waited


def test_processes_that_would_each_train_alone_are_refused(as_task, mini_config):
    as_task(1)
    with pytest.raises(ConfigError, match=r"2 processes were started.*trainer=ddp .*devices=2"):
        train.run(mini_config())
    as_task(0, SLURM_JOB_NAME="bash")  # a shell of a job: one process
    train.run(mini_config("trainer.max_steps=1", "trainer.val_check_interval=1"))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}, "1 tasks, 1 on each of 1"),
        ({}, "2 tasks, 2 on each of 1"),
        ({"SLURM_NTASKS_PER_NODE": ""}, "2 tasks, no --ntasks-per-node on each of 1"),
        ({"SLURM_NTASKS_PER_NODE": "3", "SLURM_NNODES": "2"}, "2 tasks, 3 on each of 2"),
    ],
)
def test_tasks_that_are_not_those_of_the_devices_are_refused(as_task, mini_config, changes, found):
    as_task(0, **changes)
    with pytest.raises(ConfigError, match=f"--nodes 1 --ntasks-per-node 3, found {found}") as no:
        train.run(mini_config("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=3"))
    assert "trial_launcher=slurm_ddp" in str(no.value)
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    ("environment", "is_first"),
    [
        ({}, True),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "1"}, False),
        ({"NODE_RANK": "1"}, False),  # Lightning's first process of another machine
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"NODE_RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
    ],
)
def test_one_process_is_the_first(monkeypatch, environment, is_first):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == is_first


def test_a_job_has_a_task_for_each_gpu():
    options = ["trial_launcher=slurm_ddp", "trainer=ddp", "trainer.devices=4"]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", [*options, "trainer.num_nodes=2"], return_hydra_config=True)
    job = cfg.hydra.launcher.base_launcher
    assert (job.nodes, job.tasks_per_node, job.gpus_per_node) == (2, 4, 4)
