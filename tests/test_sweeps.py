"""Sweeps: who a trial is, what is done again and what is not, what a failure leaves, and what the end tells."""

import errno
import json
import os
import random
import signal
import time
from itertools import count

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from msdn_lit.commands.train import train
from msdn_lit.files import config_dir
from msdn_lit.sweeps import trials
from msdn_lit.sweeps.trials import Trials, trial_id, trials_in
from tests.helpers import add_callback
from tests.trial_folders import by_seed, same_results, same_weights, wait_for


class Interrupt(Callback):
    """Sends this process a signal, or ends it at once, during a step."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if pl_module.global_step == self.step:
            if not self.number:
                raise SystemExit(9)
            os.kill(os.getpid(), self.number)


@pytest.fixture
def sweep(command, mini_overrides, tmp_path):
    """Runs msdn-train -m in a sweep called trial: (exit code, standard output, standard error)."""
    places = [f"paths.log_dir={tmp_path / 'logs'}", "sweep_name=trial"]
    overrides = [
        override for override in mini_overrides if not override.startswith("paths.run_dir")
    ]
    return lambda *more: command(train, "-m", *overrides, *places, *more)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "logs" / "sweeps" / "trial"


@pytest.fixture
def with_callback(monkeypatch):
    """Adds a callback to the trainers that are built from now on."""
    return lambda callback: add_callback(monkeypatch, callback)


class TestIdentity:
    def test_what_changes_no_score_changes_no_name(self, mini_config, tmp_path):
        name = trial_id(mini_config())
        for same in (
            "paths.log_dir=/elsewhere",
            "sweep_name=x",
            "resume=false",
            "~callbacks.scores",
            "ckpt_path=last",
        ):
            assert trial_id(mini_config(same)) == name
        assert trial_id(mini_config("optimizer.lr=1e-4")) == name  # what it is anyway

    @pytest.mark.parametrize(
        "other", ["seed=1", "optimizer.lr=2e-4", "model=dazle", "protocol=honest"]
    )
    def test_settings(self, mini_config, other):
        assert trial_id(mini_config(other)) != trial_id(mini_config())

    @pytest.mark.parametrize("name", ["manifest.json", "att_splits.mat", "MINI_attribute.pkl"])
    def test_data(self, mini_config, tmp_path, name):
        before = trial_id(mini_config())
        (path,) = tmp_path.rglob(name)
        path.write_bytes(path.read_bytes() + b" ")
        assert trial_id(mini_config()) != before

    def test_code(self, mini_config, monkeypatch):
        before = trial_id(mini_config())
        monkeypatch.setattr(trials, "_code", lambda: "other")
        assert trial_id(mini_config()) != before

    def test_names_are_remembered_until_something_changes(
        self, mini_config, data_dir, tmp_path, monkeypatch
    ):
        calls = count()

        def compose(overrides):
            next(calls)
            return mini_config(*overrides)

        def names():
            trials = Trials(tmp_path / "sweep", compose)
            with trials.held():
                return [
                    trial.folder.name for trial in trials.of([["seed=1"], ["seed=2"], ["seed=1"]])
                ]

        first = names()
        assert (first[0], len(set(first))) == (first[2], 2)
        assert names() == first
        assert next(calls) == 2
        path = data_dir / "xlsa17" / "data" / "MINI" / "att_splits.mat"
        path.write_bytes(path.read_bytes() + b" ")
        assert set(names()).isdisjoint(first)
        assert next(calls) == 5
        monkeypatch.setenv("MSDN_DATA_DIR", "/elsewhere")
        names()
        assert next(calls) == 8


def test_two_sweeps_in_one_folder(sweep, mini_config, folder):
    with Trials(folder, mini_config).held():
        code, _, err = sweep("seed=0")
        assert (code, err.count("\n")) == (2, 1)
        assert "Another sweep works in" in err
    assert sweep("seed=0")[0] == 0


class TestGlob:
    def run(self, sweep, folder, *arguments):
        sweep(*arguments, "seed=-1")  # a seed that ends each trial at once
        return {
            o[11:]
            for trial in trials_in(folder)
            for o in trial.overrides
            if o.startswith("experiment=")
        }

    def test_files_in_a_subfolder(self, sweep, folder):
        expected = {
            f"ablation/{path.stem}" for path in (config_dir() / "experiment" / "ablation").iterdir()
        }
        assert len(expected) >= 7
        assert self.run(sweep, folder, "experiment=glob(ablation/*)") == expected

    def test_exclude_and_the_uppermost_folder(self, sweep, folder):
        found = self.run(
            sweep, folder, "experiment=glob([cub_*,ablation/no_*],exclude=[*best,*czsl])"
        )
        assert found == {"cub_gzsl", "ablation/no_distillation", "ablation/no_self_calibration"}

    def test_nothing_found(self, sweep):
        code, _, err = sweep("experiment=glob(ablations/*)")
        assert (code, err.count("\n")) == (2, 1)
        assert "experiment=glob(ablations/*) finds nothing" in err


class TestSweep:
    def test_finished_trials_are_left_out(self, sweep, folder, with_callback):
        code, out, _ = sweep("seed=0,1")
        assert code == 0
        assert "2 trials" in out
        before = {seed: trial.result for seed, trial in by_seed(folder).items()}
        assert before.keys() == {"0", "1"}
        with_callback(Interrupt(0, 0))  # whatever trains from now on ends at once
        code, out, _ = sweep("seed=1,0")
        assert (code, {seed: trial.result for seed, trial in by_seed(folder).items()}) == (
            0,
            before,
        )
        assert sum("│ finished │" in line for line in out.splitlines()) == 2
        assert sweep("seed=0", "resume=false")[0] == 9

    def test_failures(self, sweep, folder):
        code, out, err = sweep("seed=-1,0", "optimizer.lr=0.01")
        assert code == 1
        assert err.count("seed is wrong") == 1
        assert "Traceback" not in err
        trials = by_seed(folder)
        assert (trials["-1"].state, trials["0"].state) == ("failed", "finished")
        assert trials["-1"].failure.startswith("seed is wrong: expected a whole number")
        assert sum("│ finished " in line for line in out.splitlines()) == 1

    def test_our_own_fault_keeps_its_traceback(self, sweep, folder, monkeypatch):
        monkeypatch.setattr("msdn_lit.build.training.task", lambda *_: 1 / 0)
        code, _, err = sweep("seed=0")
        (trial,) = trials_in(folder)
        text = (trial.folder / "failure.txt").read_text()
        assert (code, trial.state, trial.failure) == (
            1,
            "failed",
            "ZeroDivisionError: division by zero",
        )
        assert "Traceback" in text
        assert text.strip() in err
        monkeypatch.undo()

    def test_the_best_by_the_objective(self, sweep, folder):
        code, out, _ = sweep(
            "seed=0,1,2", "protocol=validation", "objective=val/acc_seen", "optimizer.lr=0.01"
        )
        assert code == 0
        values = {seed: trial.objective for seed, trial in by_seed(folder).items()}
        best = max(values, key=values.get)
        lines = [line for line in out.splitlines() if "seed=" in line and "finished" in line]
        assert [f"seed={best}" in line for line in lines] == ["best" in line for line in lines]
        for trial in trials_in(folder):
            assert trial.objective == trial.result["scores"]["last"]["acc_seen"]

    def test_a_half_written_result_is_none(self, sweep, folder):
        sweep("seed=0")
        (trial,) = trials_in(folder)
        path = trial.folder / "result.json"
        whole = json.loads(path.read_text())
        path.write_text(path.read_text()[:-20])
        assert trial.state == "interrupted"
        assert sweep("seed=0")[0] == 0
        assert json.loads(path.read_text())["scores"] == whole["scores"]


@pytest.mark.parametrize("name", ["6e7681770811", "012345678901", "123456789012"])
def test_a_name_that_reads_as_a_number_is_a_name(sweep, folder, monkeypatch, name):
    monkeypatch.setattr(trials, "trial_id", lambda cfg: name)
    assert sweep("seed=0", "trainer.max_steps=2")[0] == 0
    (trial,) = trials_in(folder)
    assert (trial.folder, trial.state) == (folder / name, "finished")


class FullDisk(Callback):
    """Stands for whatever writes to a disk that is full: the logger, say."""

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
    assert "No space is left for metrics.csv. Make room" in err
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
def test_preemption_saves_and_the_next_start_goes_on(sweep, folder, with_callback, number):
    sweep("seed=0", "sweep_name=whole")
    (whole,) = trials_in(folder.parent / "whole")
    handler, plug = signal.getsignal(number), Interrupt(7, number)
    with_callback(plug)
    assert sweep("seed=0")[0] == 128 + number
    assert signal.getsignal(number) == handler
    (trial,) = trials_in(folder)
    assert trial.state == "interrupted"
    saved = torch.load(trial.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 8  # the step in which the signal came was finished
    plug.step = None
    assert sweep("seed=0")[0] == 0
    assert trial.result["scores"] == whole.result["scores"]
    assert same_weights(trial.folder, whole.folder)


@pytest.mark.parametrize(
    "step", [9, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 5, 11))]
)
def test_a_killed_trial_goes_on_from_its_last_checkpoint(sweep, folder, with_callback, step):
    sweep("seed=0", "sweep_name=whole")
    (whole,) = trials_in(folder.parent / "whole")
    plug = Interrupt(step, 0)
    with_callback(plug)
    assert sweep("seed=0")[0] == 9
    (trial,) = trials_in(folder)
    assert trial.state == ("new" if step < 5 else "interrupted")
    plug.step = None
    assert sweep("seed=0")[0] == 0
    assert same_weights(trial.folder, whole.folder)


@pytest.mark.slow
def test_twenty_kills_at_random_steps(sweep, folder, with_callback):
    length = ["seed=0", "trainer.max_steps=120", "trainer.val_check_interval=3"]
    sweep(*length, "sweep_name=whole")
    (whole,) = trials_in(folder.parent / "whole")
    rng, plug = random.Random(1), Interrupt(None, 0)
    with_callback(plug)
    for start in range(
        4, 104, 5
    ):  # each kill comes after the last one, so that every start gets somewhere
        plug.step = start + rng.randrange(5)
        assert sweep(*length)[0] == 9
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
def test_a_sweep_that_is_killed_again_and_again_ends_like_one_that_is_not(
    start, tmp_path, arguments
):
    """The first kill comes at any time; each further one some time after a checkpoint more."""
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
    same_results(folder / "killed", folder / "whole")
