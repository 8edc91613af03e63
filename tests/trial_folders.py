"""What sweeps leave on disk, and waiting for it."""

import time

import torch

from msdn_lit.sweeps.trials import trials_in


def by_seed(folder):
    """Trials of a sweep by what was typed for the seed."""
    return {
        next(o for o in trial.overrides if o.startswith("seed="))[5:]: trial
        for trial in trials_in(folder)
    }


def weights(folder):
    """Of a training's last checkpoint."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def same_weights(folder, other):
    """Whether two trainings ended alike, bit for bit."""
    first, second = weights(folder), weights(other)
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def same_results(folder, other):
    """Two sweeps have the same trials, with the same states, scores and weights."""
    first, second = (
        {trial.folder.name: trial for trial in trials_in(path)} for path in (folder, other)
    )
    assert first.keys() == second.keys()
    for name, trial in first.items():
        assert trial.state == second[name].state
        assert trial.result["scores"] == second[name].result["scores"]
        assert same_weights(trial.folder, second[name].folder)


def wait_for(condition, seconds=240):
    """What a condition finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.05)
    return found
