"""Sweeps that are preempted, killed, or run out of disk space, and then resume."""

import errno
import os
import random
import signal
import time

import pytest
from lightning.pytorch.callbacks import Callback

from msdn_lit.sweeps.trials import trials_in
from tests.helpers import checkpoint_of
from tests.trial_folders import (
    KILLED,
    Kill,
    SendSignal,
    assert_same_results,
    same_weights,
    wait_for,
)


class FullDisk(Callback):
    """Fails as a logger does that writes to a full disk."""

    is_full = True

    def on_train_batch_end(self, trainer, pl_module, *_):
        if self.is_full and pl_module.global_step == 7:
            raise OSError(errno.ENOSPC, "No space left on device", "metrics.csv")


def test_a_full_disk(sweep, folder, with_callback):
    disk = FullDisk()
    with_callback(disk)
    code, _, err = sweep("seed=0")
    (trial,) = trials_in(folder)
    assert (code, err.count("\n"), trial.state) == (1, 1, "interrupted")
    assert "metrics.csv cannot be written in " in err
    assert "(No space left on device). Make room" in err
    disk.is_full = False
    assert sweep("seed=0")[0] == 0
    assert trial.state == "finished"


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGUSR1, signal.SIGUSR2)),
    ],
)
def test_a_preempted_trial_saves_and_resumes(sweep, folder, with_callback, number):
    sweep("seed=0", "sweep_name=whole")
    (whole,) = trials_in(folder.parent / "whole")
    handler, plug = signal.getsignal(number), SendSignal(7, number)
    with_callback(plug)
    assert sweep("seed=0")[0] == 128 + number
    assert signal.getsignal(number) == handler
    (trial,) = trials_in(folder)
    assert trial.state == "interrupted"
    assert checkpoint_of(trial.folder)["global_step"] == 8  # the step of the signal was finished
    plug.step = None
    assert sweep("seed=0")[0] == 0
    assert trial.result["scores"] == whole.result["scores"]
    assert same_weights(trial.folder, whole.folder)


@pytest.mark.parametrize(
    "step", [9, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 5, 11))]
)
@pytest.mark.fault("processes")
def test_a_killed_trial_resumes_from_its_last_checkpoint(sweep, folder, with_callback, step):
    sweep("seed=0", "sweep_name=whole")
    (whole,) = trials_in(folder.parent / "whole")
    plug = Kill(step)
    with_callback(plug)
    assert sweep("seed=0")[0] == KILLED
    (trial,) = trials_in(folder)
    assert trial.state == ("new" if step < 5 else "interrupted")
    plug.step = None
    assert sweep("seed=0")[0] == 0
    assert same_weights(trial.folder, whole.folder)


@pytest.mark.slow
@pytest.mark.fault("processes")
def test_twenty_kills_at_random_steps(sweep, folder, with_callback):
    length = ["seed=0", "trainer.max_steps=120", "trainer.val_check_interval=3"]
    sweep(*length, "sweep_name=whole")
    (whole,) = trials_in(folder.parent / "whole")
    rng, plug = random.Random(1), Kill(None)
    with_callback(plug)
    for start in range(4, 104, 5):  # each kill is after the previous one, so every start advances
        plug.step = start + rng.randrange(5)
        assert sweep(*length)[0] == KILLED
        (trial,) = trials_in(folder)
        assert trial.state == "interrupted"
    plug.step = None
    assert sweep(*length)[0] == 0
    assert trial.result["scores"] == whole.result["scores"]
    assert same_weights(trial.folder, whole.folder)


SEARCH = [
    "hparams_search=optuna_cub",
    "hydra.sweeper.n_trials=4",
    "hydra.sweeper.params={optimizer.lr: 'tag(log,interval(1e-4,1e-1))'}",
    "callbacks.pruning.pruner={n_startup_trials: 2, n_warmup_steps: 0}",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["seed=0,1,2"], ["seed=0,1,2", "trial_launcher=joblib"], SEARCH],
    ids=["serial", "joblib", "search"],
)
@pytest.mark.fault("processes")
def test_a_sweep_that_is_killed_repeatedly_has_the_results_of_an_undisturbed_one(
    start, tmp_path, arguments
):
    """The first kill is at a random time; each further one follows a new checkpoint."""
    rng, folder = random.Random(0), tmp_path / "logs" / "sweeps"

    def checkpoints():
        return {
            path: path.stat().st_mtime_ns for path in folder.glob("killed/*/checkpoints/last.ckpt")
        }

    out, _ = (whole := start("whole", *arguments)).communicate()
    assert whole.returncode == 0, out
    for number in range(4):
        before, killed = checkpoints(), start("killed", *arguments, seconds=0.1)
        if number:
            wait_for(lambda before=before: checkpoints() != before)
        time.sleep(rng.uniform(0, 1 if number else 10))
        os.killpg(killed.pid, signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    assert not all(trial.state == "finished" for trial in trials_in(folder / "killed"))
    out, _ = (last := start("killed", *arguments)).communicate()
    assert last.returncode == 0, out
    assert_same_results(folder / "killed", folder / "whole")
