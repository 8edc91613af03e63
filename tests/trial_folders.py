"""Helpers for tests of sweeps: options, kills, trial folders, waiting."""

import os
import time

import torch
from lightning.pytorch.callbacks import Callback

from msdn_lit.sweeps.trials import trials_in
from tests.helpers import PullPlug, weights_of

KILLED = 9  # exit code


class Kill(PullPlug):
    """Ends this process during a step; None: never."""

    def __init__(self, step):
        super().__init__(step, SystemExit(KILLED))


class SendSignal(Callback):
    """Sends this process a signal during a step; None: never."""

    def __init__(self, step, number):
        self.step = step
        self.number = number

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if pl_module.global_step == self.step:
            os.kill(os.getpid(), self.number)


def sweep_options(mini_overrides, logs, name):
    """Returns the options of a sweep of the miniature benchmark below the folder `logs`."""
    overrides = [option for option in mini_overrides if not option.startswith("paths.run_dir")]
    return ["-m", *overrides, f"paths.log_dir={logs}", f"sweep_name={name}"]


def by_seed(folder):
    """Returns the trials of a sweep by their seed, as it was typed."""
    return {
        next(o for o in trial.overrides if o.startswith("seed="))[5:]: trial
        for trial in trials_in(folder)
    }


def same_weights(folder, other):
    """Whether the last checkpoints of two runs have equal weights, bit for bit."""
    first, second = weights_of(folder), weights_of(other)
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def assert_same_results(folder, other):
    """Asserts that two sweeps have the same trials, with the same states, scores and weights."""
    first = {trial.folder.name: trial for trial in trials_in(folder)}
    second = {trial.folder.name: trial for trial in trials_in(other)}
    assert first.keys() == second.keys()
    for name, trial in first.items():
        assert trial.state == second[name].state
        assert trial.result["scores"] == second[name].result["scores"]
        assert same_weights(trial.folder, second[name].folder)


def wait_for(condition, seconds=240):
    """Waits until a function returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)
    return found
