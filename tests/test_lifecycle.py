"""A training's life: its folder is its own, it continues as it began, its record is what happened.

Also its end by signals: what is saved, and the command that continues.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from msdn_lit.commands.results import report, scores
from msdn_lit.commands.train import evaluate, select, train
from msdn_lit.data import ZSLDataModule
from msdn_lit.errors import ConfigError
from msdn_lit.runs.score_cache import ScoreCache
from tests.helpers import add_callback, checkpoint_of, result_of, weights_of
from tests.trial_folders import SendSignal, sweep_options

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def type_train(command, mini_overrides):
    """Types msdn train on the miniature benchmark: (exit code, standard output, standard error)."""
    return lambda *words: command(train, *mini_overrides, *words)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# The folder


@pytest.mark.fault("run folders")
@pytest.mark.parametrize("removed", [None, "result.json"])
def test_a_folder_that_holds_a_run_is_refused(type_train, folder, removed):
    assert type_train()[0] == 0
    if removed:
        (folder / removed).unlink()
    before = contents(folder)
    code, _, err = type_train("seed=9")
    assert (code, err.count("\n")) == (2, 1)
    state, remedy = ("an unfinished", "ckpt_path=last") if removed else ("a finished", "")
    assert f"{folder} holds {state} run. Add {remedy}" in err
    assert "overwrite=true" in err
    assert contents(folder) == before
    if removed:  # both remedies work
        assert type_train("ckpt_path=last")[0] == 0
    assert type_train("seed=9", "overwrite=true")[0] == 0
    assert result_of(folder)["seed"] == 9


@pytest.mark.fault("run folders")
def test_overwrite_removes_what_the_earlier_run_left_and_nothing_else(type_train, folder):
    ours = ["attention.json", "figures/scores.png", "scores/step_000005.npz"]
    ours += ["evaluations/1/result.json", "predictions/1/predictions.csv", "wandb/run_id"]
    ours += ["export/bundle/bundle.json", "seed_3/result.json", "seed_3/checkpoints/last.ckpt"]
    theirs = ["notes.txt", "checkpoints/best.pt", "figures/mine.png", "evaluations/1/mine.txt"]
    assert type_train("seed=1")[0] == 0
    for name in (*ours, *theirs):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    assert type_train("seed=2", "overwrite=true")[0] == 0
    assert [name for name in ours if (folder / name).exists()] == []
    assert all((folder / name).read_text() == "{}" for name in theirs)
    assert not (folder / "seed_3").exists()
    assert "overwrite=" not in result_of(folder)["command"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["overwrite"] is False
    assert [path.name for path in folder.glob("metrics/*")] == ["version_0"]


@pytest.mark.fault("run folders")
def test_a_refused_training_removes_nothing(type_train, folder):
    assert type_train()[0] == 0
    before = contents(folder)
    assert type_train("overwrite=true", "optimizer.lr=-1")[0] == 2
    assert type_train("overwrite=true", "+trainer.max_epochs=1")[0] == 2
    code, _, err = type_train("overwrite=true", "ckpt_path=last")
    assert (code, "Omit one of them" in err) == (2, True)
    assert contents(folder) == before


@pytest.mark.fault("processes")
def test_a_folder_in_which_a_training_works_is_refused(type_train, folder):
    folder.mkdir()
    code = f"""
import sys
from pathlib import Path
from msdn_lit.files import locked
with locked(Path({str(folder / ".lock")!r})):
    print("locked", flush=True)
    sys.stdin.read()
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as other:
        assert other.stdout.readline() == b"locked\n"
        before = contents(folder)
        status, _, err = type_train("overwrite=true")
        assert (status, err.count("\n")) == (2, 1)
        assert f"Another process works in {folder}" in err
        assert contents(folder) == before
    assert type_train()[0] == 0  # the lock ended with its process


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_other_processes_of_a_training_do_not_wait_for_the_first(name, tmp_path, monkeypatch):
    from msdn_lit.files import locked

    with locked(tmp_path / ".lock", ConfigError("busy")):
        with locked(tmp_path / ".lock", ConfigError("busy")):
            pass  # entered again
        monkeypatch.setattr("msdn_lit.files._locked", set())  # as another process sees it
        with (
            pytest.raises(ConfigError, match="busy"),
            locked(tmp_path / ".lock", ConfigError("busy")),
        ):
            pass
        monkeypatch.setenv(name, "1")
        with locked(tmp_path / ".lock"):
            pass


def test_metrics_of_a_start_without_a_checkpoint_are_not_mixed_in(type_train, folder):
    (folder / "metrics" / "version_0").mkdir(parents=True)
    (folder / "metrics" / "version_0" / "metrics.csv").write_text("step,train/loss\n99,1.0\n")
    assert type_train()[0] == 0
    (metrics,) = folder.glob("metrics/*/metrics.csv")
    assert "99,1.0" not in metrics.read_text()


# Continuing


CHANGES = {  # override -> what the message says
    "optimizer.lr=0.5": "expected 0.0001, found 0.5. Use optimizer.lr=0.0001",
    "+optimizer.centered=true": "expected none, found true. Use '~optimizer.centered'",
    "~optimizer.alpha": "expected 0.99, found none. Use +optimizer.alpha=0.99",
    "optimizer=sgd": "optimizer._target_",
    "seed=9": "seed cannot change when a training continues: expected 214, found 9. Use seed=214",
    "sampler.seed=9": "expected ${seed}, found 9. Use 'sampler.seed=${seed}'",
    "sampler.batch_size=5": "expected 10, found 5. Use sampler.batch_size=10",
    "loss.lambda_cal=0.7": "loss.lambda_cal cannot change",
    "model.region_dropout=0.5": "model.region_dropout cannot change",
    "prediction.calibration=0.2": "prediction.calibration cannot change",
    "+trainer.gradient_clip_val=0.1": "trainer.gradient_clip_val cannot change",
    "+trainer.limit_train_batches=2": "trainer.limit_train_batches cannot change",
    "data.semantics.shuffle_seed=1": "expected null, found 1",
    "protocol=honest": "protocol.name",
    "scheduler=cosine": "scheduler",
}


@pytest.mark.fault("records")
def test_a_setting_that_cannot_take_effect_is_refused(mini_config, folder, tmp_path, faults):
    train.run(mini_config("trainer.max_steps=5"))
    copy = tmp_path / "copy.ckpt"  # the settings are in the file
    shutil.copy(folder / "checkpoints" / "last.ckpt", copy)
    before = contents(folder)
    elsewhere = [f"ckpt_path={copy}", f"paths.run_dir={tmp_path / 'other'}"]
    tried = [(["ckpt_path=last"], override) for override in CHANGES]
    tried += [(elsewhere, override) for override in ("optimizer.lr=0.5", "seed=9")]
    for place, override in tried:
        with pytest.raises(ConfigError, match=re.escape(CHANGES[override])):
            train.run(mini_config(*place, override))
    faults(tried=len(tried))
    assert contents(folder) == before
    assert contents(tmp_path / "other") == {}


@pytest.mark.fault("remedies")
@pytest.mark.parametrize(
    "override", ["optimizer.lr=0.5", "sampler.seed=9", "+trainer.gradient_clip_val=0.1"]
)
def test_the_override_that_a_refused_change_advises_works(type_train, folder, override):
    assert type_train("trainer.max_steps=5")[0] == 0
    code, _, err = type_train("ckpt_path=last", override)
    assert (code, err.count("\n")) == (2, 1)
    advice = shlex.split(err.partition("Use ")[2].partition(", or train anew")[0])
    kept = [] if advice[0].startswith("~") else [override]
    words = [*kept, *(word for word in advice if not word.startswith("~"))]
    assert type_train("ckpt_path=last", *words)[0] == 0
    assert result_of(folder)["scores"]["last"]["step"] == 12


@pytest.mark.fault("records")
def test_a_checkpoint_without_a_step_left_is_refused(mini_config, folder, tmp_path):
    train.run(mini_config())
    before = contents(folder)
    path, other = folder / "checkpoints" / "last.ckpt", tmp_path / "other"
    for words in ([f"ckpt_path={path}", f"paths.run_dir={other}"], ["ckpt_path=last"]):
        for steps in (4, 12):
            message = f"is at step 12, and trainer.max_steps is {steps}: no step is left"
            with pytest.raises(ConfigError, match=message):
                train.run(mini_config(*words, f"trainer.max_steps={steps}"))
    assert contents(folder) == before
    assert contents(other) == {}
    (folder / "result.json").unlink()  # ended before the result was written
    train.run(mini_config("ckpt_path=last"))
    assert result_of(folder)["scores"] == json.loads(before[folder / "result.json"])["scores"]


def test_a_training_continues_in_another_folder(mini_config, folder, tmp_path):
    train.run(mini_config("trainer.max_steps=5"))
    before, other = contents(folder), tmp_path / "other"
    checkpoint = folder / "checkpoints" / "last.ckpt"
    train.run(mini_config(f"ckpt_path={checkpoint}", f"paths.run_dir={other}"))
    assert contents(folder) == before
    train.run(mini_config("overwrite=true"))
    assert all(torch.equal(w, weights_of(other)[n]) for n, w in weights_of(folder).items())


def test_what_can_change_is_changed_and_recorded(type_train, folder):
    assert (
        type_train("trainer.max_steps=5", "callbacks=figures", "~callbacks.attention_scores")[0]
        == 0
    )
    (folder / "attention.json").write_text("{}")
    assert type_train("ckpt_path=last", "trainer.val_check_interval=4")[0] == 0
    assert result_of(folder)["scores"]["last"]["step"] == 12
    assert "s from step 5 on; peak memory" in (folder / "RESULT.md").read_text()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["trainer"]["max_steps"] == 12
    assert not (folder / "attention.json").exists()  # it was of step 5
    assert not (folder / "figures").exists()
    assert "ckpt_path" not in result_of(folder)["command"]


def test_a_schedule_that_would_be_another_one_is_refused(type_train):
    assert type_train("scheduler=cosine", "trainer.max_steps=5")[0] == 0
    code, _, err = type_train("scheduler=cosine", "ckpt_path=last")
    assert (code, "scheduler.T_max cannot change" in err) == (2, True)
    assert type_train("scheduler=cosine", "ckpt_path=last", "scheduler.T_max=5")[0] == 0


LENGTHS = {
    "trainer.max_epochs=1": "Set trainer.max_steps or passes",
    "+trainer.min_epochs=1": "Set trainer.max_steps or passes",
    "+trainer.min_steps=1": "Set trainer.max_steps or passes",
    "+trainer.max_time=00:00:00:10": "Set trainer.max_steps or passes",
    "trainer.check_val_every_n_epoch=2": "Set trainer.val_check_interval",
    "trainer.limit_val_batches=0": "Use 1.0",
    "trainer.max_steps=1e3": "a whole number above 0",
}


@pytest.mark.fault("settings")
def test_what_would_end_a_training_otherwise_than_recorded_is_refused(mini_config, folder, faults):
    for override, remedy in LENGTHS.items():
        with pytest.raises(ConfigError, match=remedy):
            train.run(mini_config(override))
    faults(tried=len(LENGTHS))
    assert contents(folder) == {}


# Partial results


def num_evaluated(cfg):
    """Number of evaluated images, from the split files alone."""
    from msdn_lit.build.task import datamodule

    data = datamodule(cfg)
    assert isinstance(data, ZSLDataModule)
    return sum(len(data.indices[name]) for name in ("test_seen", "test_unseen"))


@pytest.mark.fault("records")
@pytest.mark.filterwarnings("ignore:You requested to overfit")
@pytest.mark.parametrize(
    ("overrides", "trained"),
    [
        (["trainer.limit_val_batches=1"], ""),
        (["trainer.limit_val_batches=0.5"], ""),
        (["trainer.limit_val_batches=1", "protocol=honest"], ""),
        (["trainer.limit_val_batches=1", "protocol.seeds_in_parallel=2"], ""),
        (["+trainer.overfit_batches=1"], "trained on 1 of 12 batches; "),
        (["+trainer.fast_dev_run=true"], "trained on 1 of 12 batches; "),
        (["debug=default"], "debug=default; "),
    ],
)
def test_partial_results_say_so(type_train, mini_config, folder, overrides, trained):
    total = num_evaluated(mini_config())
    code, out, _ = type_train("data.eval_batch_size=2", *overrides)
    assert code == 0
    runs = sorted(folder.glob("seed_*")) or [folder]
    for run in runs:
        cache = ScoreCache.load(run / "scores" / "last.npz")
        counted = f"{len(cache.rows_N)} of {total} images evaluated"
        assert 0 < len(cache.rows_N) < total
        assert cache.partial == counted
        assert result_of(run)["partial"] == trained + counted
        assert f"PARTIAL ({trained}{counted})" in (run / "RESULT.md").read_text()
    assert "PARTIAL" in out


@pytest.mark.fault("records")
def test_partial_results_are_left_out_unless_asked(type_train, folder, command):
    few = ["data.eval_batch_size=2", "trainer.limit_val_batches=1"]
    assert type_train("protocol=validation", *few)[0] == 0
    code, _, err = command(report, str(folder))
    assert (code, "1 partial (--partial reports them)" in err) == (2, True)
    code, out, _ = command(report, str(folder), "--partial")
    assert (code, "PARTIAL" in out) == (0, True)
    assert "PARTIAL" in command(scores, str(folder))[1]
    code, _, err = command(select, str(folder))
    assert (code, "There is nothing to choose from" in err) == (2, True)
    assert command(select, str(folder), "--partial")[0] == 0


@pytest.mark.fault("records")
def test_a_training_that_repeats_a_few_batches_is_partial(type_train, folder):
    few = ["+trainer.limit_train_batches=4", "trainer.val_check_interval=4"]
    code, out, _ = type_train(*few)
    assert (code, "PARTIAL" in out) == (0, True)
    assert result_of(folder)["partial"] == "trained on 4 of 12 batches"
    again = folder / "again"
    evaluate.run([str(folder), "--output", str(again), "--accelerator", "cpu"])
    assert result_of(again)["partial"] == "trained on 4 of 12 batches"


def test_whole_results_are_not_partial(type_train, folder, command):
    code, _, _ = type_train("trainer.num_sanity_val_steps=1")
    assert (code, result_of(folder)["partial"]) == (0, None)
    assert list(checkpoint_of(folder)["callbacks"]["EvaluationHistory"]["scores_at"]) == [5, 10, 12]
    assert ScoreCache.load(folder / "scores" / "last.npz").partial == ""
    assert command(report, str(folder))[0] == 0


@pytest.mark.fault("records")
def test_an_evaluation_of_a_run_with_limits_is_of_all_images(type_train, folder, tmp_path):
    assert type_train("data.eval_batch_size=2", "trainer.limit_val_batches=1")[0] == 0
    again = tmp_path / "again"
    evaluate.run([str(folder), "--output", str(again), "--accelerator", "cpu"])
    assert result_of(again)["partial"] is None


def test_debug_runs_have_a_folder_of_their_own(load_config):
    for debug in ("default", "profile"):
        cfg = load_config(f"debug={debug}", "paths.log_dir=logs")
        assert cfg.paths.run_dir.startswith("logs/debugs/")


def test_a_partial_trial_is_not_finished(command, mini_overrides, tmp_path):
    from msdn_lit.sweeps.trials import trials_in

    options = sweep_options(mini_overrides, tmp_path, "limited")
    words = ["data.eval_batch_size=2", "trainer.limit_val_batches=1", "seed=1"]
    code, out, _ = command(train, *options, *words)
    (trial,) = trials_in(tmp_path / "sweeps" / "limited")
    assert (code, trial.state, "partial" in out) == (0, "partial", True)


# What an evaluation and a result say


@pytest.mark.parametrize("name", ["last", "peak_acc_czsl"])
def test_an_evaluation_knows_the_step_of_its_checkpoint(
    type_train, folder, tmp_path, command, name
):
    assert type_train()[0] == 0
    again, step = tmp_path / "again", checkpoint_of(folder, name)["global_step"]
    words = [str(folder), "--checkpoint", name, "--output", str(again), "--accelerator", "cpu"]
    assert command(evaluate, *words)[0] == 0
    assert result_of(again)["scores"][name]["step"] == step
    assert [path.stem for path in again.glob("scores/*.npz")] == [name]
    assert ScoreCache.load(again / "scores" / f"{name}.npz").step == step
    shown = {"last": "last", "peak_harmonic_mean": "peak H", "peak_acc_czsl": "peak T1"}[name]
    assert re.search(rf"\| {shown} +\| +{step} \|", command(scores, str(again))[1])


@pytest.mark.fault("run folders")
def test_an_evaluation_does_not_write_over_other_files(type_train, folder, command):
    assert type_train()[0] == 0
    before = contents(folder)
    code, _, err = command(evaluate, str(folder), "--output", str(folder), "--accelerator", "cpu")
    assert (code, err.count("\n")) == (2, 1)
    assert contents(folder) == before


def test_a_model_at_chance_is_told(type_train, folder):
    code, _, err = type_train("optimizer.lr=1000")
    assert code == 0
    result = result_of(folder)
    assert result["warning"] in err
    assert "guessing" in result["warning"]
    assert result["warning"] in (folder / "RESULT.md").read_text()
    learns = ["trainer.max_steps=60", "optimizer.lr=0.01", "overwrite=true"]
    code, _, err = type_train(*learns, "trainer.val_check_interval=20")
    assert (code, err, result_of(folder)["warning"]) == (0, "", None)


# Signals


@pytest.mark.fault("processes")
@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "with, a comma"), (signal.SIGTERM, "plain")]
)
def test_a_signal_saves_and_tells_the_command_that_continues(
    type_train, command, tmp_path, monkeypatch, number, name
):
    folder, whole = tmp_path / name, tmp_path / "whole"
    assert type_train(f"paths.run_dir={whole}")[0] == 0
    place = f"paths.run_dir={json.dumps(str(folder))}"
    with monkeypatch.context() as patch:
        add_callback(patch, SendSignal(7, number))
        code, _, err = type_train(place)
    assert code == 128 + number
    assert "Traceback" not in err
    assert "stopped after step 8, which is saved" in err
    assert checkpoint_of(folder)["global_step"] == 8
    words = shlex.split(err.strip().rpartition("Continue with: ")[2])
    assert words[:2] == ["msdn", "train"]
    assert command(train, *words[2:])[0] == 0
    assert result_of(folder)["scores"] == result_of(whole)["scores"]
    expected, found = weights_of(whole), weights_of(folder)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.fault("processes")
def test_a_second_interrupt_ends_at_once(type_train, folder, monkeypatch):
    class Twice(SendSignal):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            for _ in range(2):
                super().on_before_optimizer_step(trainer, pl_module, optimizer)

    with monkeypatch.context() as patch:
        add_callback(patch, Twice(7, signal.SIGINT))
        code, _, err = type_train()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert (code, "Traceback" in err) == (130, False)
    assert checkpoint_of(folder)["global_step"] == 5  # of the last evaluation


@pytest.mark.fault("processes")
@pytest.mark.parametrize("where", ["before the first step", "in the last evaluation", "evaluate"])
def test_an_interrupt_elsewhere_is_one_line(type_train, folder, command, monkeypatch, where):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    if where == "before the first step":
        monkeypatch.setattr(ZSLDataModule, "setup", interrupt)
        code, _, err = type_train()
    else:
        if where == "evaluate":
            assert type_train()[0] == 0
        monkeypatch.setattr("msdn_lit.tasks.ZSLTask.on_validation_epoch_start", interrupt)
        words = [str(folder), "--accelerator", "cpu"]
        run = type_train if where != "evaluate" else lambda: command(evaluate, *words)
        code, _, err = run()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it then
    assert (code, err.count("\n")) == (130, 1)
    assert "interrupted" in err
    assert not (folder / "result.json").exists() or where == "evaluate"


@pytest.mark.fault("processes")
def test_an_interrupted_sweep_is_continued_by_its_command(
    command, mini_overrides, tmp_path, monkeypatch
):
    from msdn_lit.sweeps.trials import trials_in

    options = [*sweep_options(mini_overrides, tmp_path, "stopped"), "seed=1,2"]
    with monkeypatch.context() as patch:
        add_callback(patch, SendSignal(7, signal.SIGINT))
        code, _, err = command(train, *options)
    assert code == 130
    assert "The sweep is interrupted. Repeat the command to continue it." in err
    (trial, *others) = trials_in(tmp_path / "sweeps" / "stopped")
    assert sorted(t.state for t in (trial, *others)) == ["interrupted", "new"]
    assert command(train, *options)[0] == 0
    assert all(t.state == "finished" for t in (trial, *others))


@pytest.mark.fault("processes")
def test_every_command_ends_at_an_interrupt_in_one_line(command, monkeypatch, tmp_path):
    from msdn_lit.commands.results import report as module

    monkeypatch.setattr(module, "run", lambda words: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command(module, str(tmp_path)) == (130, "", "msdn report: interrupted\n")


def test_labels_of_the_score_cache_are_those_of_older_files(type_train, folder):
    """A score cache of an older version, without the field, is read as a whole one."""
    assert type_train()[0] == 0
    path = folder / "scores" / "last.npz"
    with np.load(path) as content:
        older = {name: content[name] for name in content if name != "partial"}
    np.savez(path, **older)
    assert ScoreCache.load(path).partial == ""
