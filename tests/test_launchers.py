"""Launchers: each gives the results of a single process, and trials of dead workers resume."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from hydra_plugins.msdn_lit_sweeps.trial_launcher import TrialLauncher
from msdn_lit.sweeps import worker
from tests.mini_train import witnesses
from tests.trial_folders import assert_same_results, by_seed, wait_for

ROOT = Path(__file__).resolve().parents[1]
slow = pytest.mark.slow
SEEDS = "seed=0,1"


@pytest.fixture
def whole(start, sweeps):
    """The folder of an undisturbed sweep in one process."""
    child = start("whole", SEEDS)
    out, _ = child.communicate()
    assert child.returncode == 0, out
    return sweeps / "whole"


@pytest.fixture
def ray_cluster(monkeypatch):
    """Two nodes with one CPU each, on this machine."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))
    # for a busy machine; read when ray is imported
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")
    pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def worker_of(folder, seed="0"):
    """Waits for the first checkpoint of a seed; returns the process that trains it."""
    trial = wait_for(lambda: by_seed(folder).get(seed))
    wait_for(lambda: trial.state == "interrupted")
    return witnesses(trial.folder)[-1]["pid"]


class TestSlots:
    def test_a_process_keeps_its_slot_until_it_ends(self, tmp_path):
        code = "import sys, pathlib; from msdn_lit.sweeps.worker import take_slot\n"
        code += f"print(take_slot(pathlib.Path({str(tmp_path)!r})), flush=True); sys.stdin.read()"

        def process():
            environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            child = subprocess.Popen(
                [sys.executable, "-c", code], **pipes, text=True, env=environment
            )
            return child, int(child.stdout.readline())

        children = [process() for _ in range(2)]
        assert [slot for _, slot in children] == [0, 1]
        children[0][0].kill()
        children[0][0].communicate()
        children.append(process())
        assert children[2][1] == 0
        for child, _ in children[1:]:
            child.communicate("")

    @pytest.mark.parametrize(
        ("named", "number", "devices"),
        [
            (None, 0, ()),
            (None, 3, ("0", "1", "2")),
            ("2,5", 2, ("2", "5")),
            ("GPU-a,GPU-b", 2, ("GPU-a", "GPU-b")),
            ("MIG-a, MIG-b,MIG-c", 1, ("MIG-a", "MIG-b", "MIG-c")),  # CUDA counts the first one
            ("MIG-a", 0, ()),
            (" 2, 5", 2, ("2", "5")),
            ("", 0, ()),
        ],
    )
    def test_devices(self, monkeypatch, named, number, devices):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if named is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert worker.visible_devices() == devices

    @pytest.mark.parametrize(
        ("base_launcher", "max_parallel", "devices", "expected"),
        [
            ({"n_jobs": None}, None, ("0",) * 8, 8),
            ({"n_jobs": None}, None, (), 2),
            ({"n_jobs": 5}, None, ("0",), 5),
            ({"n_jobs": 16}, 16, ("0",) * 8, 16),
            ({}, 1, (), 1),
        ],
    )
    def test_number_of_parallel_trials(
        self, monkeypatch, base_launcher, max_parallel, devices, expected
    ):
        monkeypatch.setattr(worker, "visible_devices", lambda: devices)
        launcher = TrialLauncher(base_launcher, max_parallel, one_gpu_each=True)
        assert launcher.num_parallel == expected


@slow
def test_joblib_gives_each_process_a_gpu(start, sweeps, whole):
    child = start("joblib", SEEDS, "trial_launcher=joblib", seconds=0.2, MINI_GPUS="2")
    out, _ = child.communicate()
    assert child.returncode == 0, out
    assert_same_results(sweeps / "joblib", whole)
    seen = [witnesses(trial.folder)[0] for trial in by_seed(sweeps / "joblib").values()]
    assert {entry["gpu"] for entry in seen} == {"0", "1"}
    assert {entry["threads"] for entry in seen} == {1}


@slow
def test_joblib_shares_the_cores(start, sweeps):
    child = start(
        "joblib",
        SEEDS,
        "trial_launcher=joblib",
        "hydra.launcher.max_parallel=1",
        OMP_NUM_THREADS="",
    )
    out, _ = child.communicate()
    assert child.returncode == 0, out
    seen = [witnesses(trial.folder)[0] for trial in by_seed(sweeps / "joblib").values()]
    assert {entry["threads"] for entry in seen} == {len(os.sched_getaffinity(0))}
    assert len({entry["pid"] for entry in seen}) == 1  # one process ran both trials
    assert {entry["gpu"] for entry in seen} == {None}


@slow
def test_a_joblib_worker_that_dies(start, sweeps, whole):
    child = start("joblib", SEEDS, "trial_launcher=joblib", seconds=0.3)
    os.kill(worker_of(sweeps / "joblib"), signal.SIGKILL)
    out, _ = child.communicate()
    assert child.returncode == 1
    assert out.count("A worker died") == 1
    assert "Traceback" not in out
    assert start("joblib", SEEDS, "trial_launcher=joblib").wait() == 0
    assert_same_results(sweeps / "joblib", whole)


@slow
def test_a_sweep_waits_for_workers_of_a_killed_sweep(start, sweeps, whole):
    child = start("joblib", SEEDS, "trial_launcher=joblib", seconds=0.5)
    orphan = psutil.Process(worker_of(sweeps / "joblib"))
    child.kill()
    second = start("joblib", SEEDS, "trial_launcher=joblib")
    out, _ = second.communicate()
    assert second.returncode == 0, out
    assert_same_results(sweeps / "joblib", whole)
    seen = witnesses(by_seed(sweeps / "joblib")["0"].folder)
    # the second sweep resumed after the first one's worker, or took its result
    assert not orphan.is_running() or len(seen) == 1
    assert [entry["step"] for entry in seen] == sorted(entry["step"] for entry in seen)


@slow
def test_submitit(start, sweeps, whole):
    pytest.importorskip("submitit", reason="needs the extra sweeps")
    child = start("submitit", SEEDS, "trial_launcher=submitit_local", seconds=0.3)
    os.kill(worker_of(sweeps / "submitit"), signal.SIGUSR2)  # as SLURM does before the time is over
    out, _ = child.communicate()
    assert child.returncode == 0, out
    assert_same_results(sweeps / "submitit", whole)
    seen = witnesses(by_seed(sweeps / "submitit")["0"].folder)
    assert len(seen) == 2
    assert seen[1]["step"] >= 5  # resumed at the step of the signal
    logs = "".join(
        path.read_text() for path in (sweeps / "submitit" / ".submitit").rglob("*_log.*")
    )
    assert "Requeued job" in logs


@slow
def test_ray_and_a_worker_that_dies(start, sweeps, whole, ray_cluster):
    address = f"hydra.launcher.base_launcher.init.address='{ray_cluster.address}'"
    child = start("ray", SEEDS, "trial_launcher=ray", address, seconds=0.3)
    os.kill(worker_of(sweeps / "ray"), signal.SIGKILL)
    out, _ = child.communicate()
    assert child.returncode == 0, out
    assert_same_results(sweeps / "ray", whole)
    assert len(witnesses(by_seed(sweeps / "ray")["0"].folder)) == 2
