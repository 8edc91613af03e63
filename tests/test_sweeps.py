"""Sweeps: grids of values and patterns, skipped trials, failures, and the table at the end."""

import json
import re

import pytest

from msdn_lit.files import config_dir
from msdn_lit.sweeps import trials
from msdn_lit.sweeps.trials import Trials, trials_in
from tests.trial_folders import KILLED, Kill, by_seed


def test_two_sweeps_in_one_folder(sweep, mini_config, folder, monkeypatch):
    with Trials(folder, mini_config, [config_dir()]).lock(), monkeypatch.context() as patch:
        patch.setattr("msdn_lit.files._locked", set())  # as in another process
        code, _, err = sweep("seed=0")
        assert (code, err.count("\n")) == (2, 1)
        assert "Another sweep works in" in err
    assert sweep("seed=0")[0] == 0


class TestGlob:
    def found(self, sweep, folder, *arguments):
        sweep(*arguments, "seed=-1")  # a wrong seed: each trial fails at once
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
        assert self.found(sweep, folder, "experiment=glob(ablation/*)") == expected

    def test_exclude_and_the_top_folder(self, sweep, folder):
        found = self.found(
            sweep, folder, "experiment=glob([cub_*,ablation/no_*],exclude=[*best*,*czsl])"
        )
        assert found == {"cub_gzsl", "ablation/no_distillation", "ablation/no_self_calibration"}

    def test_no_match(self, sweep):
        code, _, err = sweep("experiment=glob(ablations/*)")
        assert (code, err.count("\n")) == (2, 1)
        assert "experiment=glob(ablations/*) matches nothing" in err


class TestSweep:
    def test_finished_trials_are_skipped(self, sweep, folder, with_callback):
        code, out, _ = sweep("seed=0,1")
        assert code == 0
        assert "2 trials" in out
        before = {seed: trial.result for seed, trial in by_seed(folder).items()}
        assert before.keys() == {"0", "1"}
        with_callback(Kill(0))  # a training would end at once
        code, out, _ = sweep("seed=1,0")
        assert code == 0
        assert {seed: trial.result for seed, trial in by_seed(folder).items()} == before
        assert "2 of 2 trials are finished and skipped" in out
        assert sweep("seed=0", "resume=false")[0] == KILLED

    def test_failures(self, sweep, folder):
        code, out, err = sweep("seed=-1,0", "optimizer.lr=0.01")
        assert code == 1
        assert err.count("seed is wrong") == 1
        assert "Traceback" not in err
        trials = by_seed(folder)
        assert (trials["-1"].state, trials["0"].state) == ("failed", "finished")
        assert trials["-1"].failure.startswith("seed is wrong: expected a whole number")
        assert len(re.findall(r"trial \d of 2  T1 ", out)) == 1

    def test_a_bug_keeps_its_traceback(self, sweep, folder, monkeypatch):
        monkeypatch.setattr("msdn_lit.build.training.task", lambda *_: 1 / 0)
        code, _, err = sweep("seed=0")
        (trial,) = trials_in(folder)
        text = (trial.folder / "failure.txt").read_text()
        assert (code, trial.state) == (1, "failed")
        assert trial.failure == "ZeroDivisionError: division by zero"
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

    def test_an_incomplete_result_does_not_count(self, sweep, folder):
        sweep("seed=0")
        (trial,) = trials_in(folder)
        path = trial.folder / "result.json"
        whole = json.loads(path.read_text())
        path.write_text(path.read_text()[:-20])
        assert trial.state == "interrupted"
        assert sweep("seed=0")[0] == 0
        assert json.loads(path.read_text())["scores"] == whole["scores"]


@pytest.mark.parametrize("name", ["6e7681770811", "012345678901", "123456789012"])
def test_an_identity_that_looks_like_a_number(sweep, folder, monkeypatch, name):
    monkeypatch.setattr(trials, "trial_id", lambda cfg: name)
    assert sweep("seed=0", "trainer.max_steps=2")[0] == 0
    (trial,) = trials_in(folder)
    assert (trial.folder, trial.state) == (folder / name, "finished")
