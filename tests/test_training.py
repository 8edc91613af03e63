"""Training with the real configs on the miniature benchmark: records, exact resume, evaluation."""

import csv
import dataclasses
import math
import re
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.build import task as build
from msdn_lit.build.load import load_run
from msdn_lit.callbacks import figures
from msdn_lit.commands.train import evaluate, train
from msdn_lit.data.benchmarks import published
from msdn_lit.data.splits.variants import SplitFingerprints
from msdn_lit.errors import CheckpointError, ConfigError, DataError, UserError
from msdn_lit.runs.checkpoint import find_start
from tests import miniature
from tests.helpers import PulledPlug, PullPlug, add_callback, checkpoint_of, result_of


def read_result(cfg):
    return result_of(cfg.paths.run_dir)


def last_checkpoint(cfg):
    return checkpoint_of(cfg.paths.run_dir)


def evaluate_again(cfg, folder, *words):
    """Evaluates the last checkpoint of a run into another folder; returns the scores."""
    evaluate.run([cfg.paths.run_dir, "--output", str(folder), "--accelerator", "cpu", *words])
    return result_of(folder)["scores"]


def test_run_learns_and_leaves_its_record(mini_config):
    cfg = mini_config("trainer.max_steps=60", "trainer.val_check_interval=20", "optimizer.lr=0.01")
    train.run(cfg)
    result, folder = read_result(cfg), Path(cfg.paths.run_dir)
    assert [result["scores"]["last"]["step"], len(result["scores"])] == [60, 3]
    assert (
        result["scores"]["last"]["acc_seen"] > 0.5 > result["chance"]["acc_seen"] == 1 / miniature.C
    )
    assert {file.stem for file in folder.glob("checkpoints/*")} == {
        "last",
        "peak_harmonic_mean",
        "peak_acc_czsl",
    }
    assert "train/distillation" in (folder / "metrics" / "version_0" / "metrics.csv").read_text()
    assert "| last step | 60 |" in (folder / "RESULT.md").read_text()


def test_a_checkpoint_and_a_score_cache_are_written_once(mini_config):
    cfg = mini_config("trainer.max_steps=60", "trainer.val_check_interval=20", "optimizer.lr=0.01")
    written = []
    with pytest.MonkeyPatch.context() as patch:
        save = Trainer.save_checkpoint
        patch.setattr(
            Trainer,
            "save_checkpoint",
            lambda trainer, path, **options: (
                written.append(trainer.global_step),
                save(trainer, path, **options),
            ),
        )
        train.run(cfg)
    assert written == [20, 40, 60, 60]  # the last one is that of the finished training
    folder, scores = Path(cfg.paths.run_dir), read_result(cfg)["scores"]
    for name, reported in scores.items():
        content = checkpoint_of(folder, name)
        assert content["global_step"] == reported["step"], name
        history = content["callbacks"]["EvaluationHistory"]["scores_at"]
        assert max(history) == reported["step"], name
    files = {name: (folder / "scores" / f"{name}.npz").stat().st_ino for name in scores}
    steps = {name: reported["step"] for name, reported in scores.items()}
    assert len(set(files.values())) == len(set(steps.values()))


def test_a_peak_after_the_training_has_its_checkpoint_and_is_drawn(mini_config, monkeypatch):
    drawn = []
    draw = figures.plot_history
    keep = lambda scores_at, stage: drawn.append(max(scores_at)) or draw(scores_at, stage)  # noqa: E731
    monkeypatch.setattr(figures, "plot_history", keep)
    cfg = mini_config("trainer.max_steps=7", "trainer.val_check_interval=8", "callbacks=figures")
    train.run(cfg)
    scores = read_result(cfg)["scores"]
    assert {name: reported["step"] for name, reported in scores.items()} == {
        "last": 7,
        "peak_harmonic_mean": 7,
        "peak_acc_czsl": 7,
    }
    for name in scores:
        assert checkpoint_of(cfg.paths.run_dir, name)["global_step"] == 7
    assert drawn[-1] == 7


def test_losses_are_logged_where_the_loggers_take_them(mini_config):
    cfg = mini_config("trainer.log_every_n_steps=5", "protocol=honest")
    train.run(cfg)
    text = (Path(cfg.paths.run_dir) / "metrics" / "version_0" / "metrics.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["step"] for row in rows if row["train/loss"]] == [
        "4",
        "9",
    ]  # Lightning counts the steps before


def test_same_seed_same_weights_and_other_seed_other_weights(mini_config, tmp_path):
    weights = []
    for run, seed in enumerate((0, 0, 1)):
        cfg = mini_config(
            f"seed={seed}", f"paths.run_dir={tmp_path / str(run)}", "trainer.max_steps=3"
        )
        train.run(cfg)
        weights.append(last_checkpoint(cfg)["state_dict"]["net.attribute_vectors_KE"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_learning_rate_falls_along_half_a_cosine(mini_config, monkeypatch):
    class Rates(Callback):
        seen: ClassVar[list[float]] = []

        def on_train_batch_end(self, trainer, *_):
            self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    add_callback(monkeypatch, Rates())
    train.run(mini_config("scheduler=cosine", "optimizer.lr=0.1"))
    assert Rates.seen == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * step / 12)) for step in range(1, 13)]
    )


AFTER_EVALUATION = []  # the default: at 5 and 10
EVERY_3_STEPS = ["callbacks.checkpoints.every_n_steps=3"]
DROPS_AND_SLOWS = [
    "model.region_dropout=0.5",
    "scheduler=cosine",
]  # randomness and a schedule have a state, too


@pytest.mark.parametrize("sampler", ["uniform", "class_balanced", "epoch"])
@pytest.mark.parametrize(
    ("saves", "crash_at"),
    [
        (AFTER_EVALUATION, 6),
        ([*EVERY_3_STEPS, *DROPS_AND_SLOWS], 8),
        *(pytest.param(EVERY_3_STEPS, step, marks=pytest.mark.slow) for step in (4, 8, 11)),
        pytest.param(AFTER_EVALUATION, 11, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(
    mini_config, tmp_path, monkeypatch, sampler, saves, crash_at
):
    def config(name, *overrides):
        return mini_config(
            f"sampler={sampler}", f"paths.run_dir={tmp_path / name}", *saves, *overrides
        )

    whole = config("whole")
    train.run(whole)
    with monkeypatch.context() as patch:
        add_callback(patch, PullPlug(crash_at))
        with pytest.raises(PulledPlug):
            train.run(config("interrupted"))
    resumed = config("interrupted", "ckpt_path=last")
    train.run(resumed)

    expected, found = last_checkpoint(whole), last_checkpoint(resumed)
    assert all(
        torch.equal(expected["state_dict"][name], value)
        for name, value in found["state_dict"].items()
    )
    torch.testing.assert_close(
        found["optimizer_states"], expected["optimizer_states"], rtol=0, atol=0
    )
    assert read_result(resumed)["scores"] == read_result(whole)["scores"]
    assert evaluations(found) == evaluations(expected)
    assert list(evaluations(found)) == [5, 10, 12]


def evaluations(checkpoint):
    return checkpoint["callbacks"]["EvaluationHistory"]["scores_at"]


def test_random_state_continues_after_restore():
    from msdn_lit.callbacks import RandomState

    state = RandomState().state_dict()
    expected = torch.rand(3)
    RandomState().load_state_dict(state)
    assert torch.equal(torch.rand(3), expected)


def test_evaluate_needs_only_the_run_folder(mini_config, tmp_path):
    cfg = mini_config()
    train.run(cfg)
    scores = evaluate_again(cfg, tmp_path / "evaluation")
    assert scores == {"last": read_result(cfg)["scores"]["last"]}


def test_evaluate_with_another_calibration_moves_seen_against_unseen(mini_config, tmp_path):
    cfg = mini_config()
    train.run(cfg)
    scores = evaluate_again(cfg, tmp_path / "evaluation", "--calibration", "1e6")["last"]
    assert scores["acc_seen"] == 0
    assert scores["acc_unseen"] == scores["acc_czsl"]


def test_evaluate_with_another_fusion(mini_config, tmp_path):
    cfg = mini_config()
    train.run(cfg)
    words = ["--fusion", "0", "1"]
    scores = evaluate_again(cfg, tmp_path / "evaluation", *words)["last"]
    alone = tmp_path / "alone"
    train.run(
        mini_config(
            f"paths.run_dir={alone}",
            "prediction.fusion={attribute_to_visual: 0, visual_to_attribute: 1}",
        )
    )
    assert scores == result_of(alone)["scores"]["last"]
    with pytest.raises(ConfigError, match=r"--fusion is wrong: expected 2 weights"):
        evaluate_again(cfg, tmp_path / "wrong", "--fusion", "1")


def test_validation_protocol_never_touches_test_images(mini_config):
    cfg = mini_config("protocol=validation")
    data = build.datamodule(cfg)
    parts = [set(data.indices[name]) for name in ("train", "val_seen", "val")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(data.indices["trainval"])
    assert set.union(*parts) == set(data.indices["trainval"])
    assert set(data.semantics.unseen) == set(data.split.classes_of("val"))
    train.run(cfg)
    scores = read_result(cfg)["scores"]["last"]
    assert set(scores) == {"step", "acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean"}


def test_attribute_vectors_can_be_learned_from_scratch(mini_config):
    cfg = mini_config("data.semantics.word_vectors=null", "data.semantics.word_vector_dim=7")
    train.run(cfg)
    assert last_checkpoint(cfg)["state_dict"]["net.attribute_vectors_KE"].shape == (miniature.K, 7)


def test_shuffled_attributes_give_every_class_those_of_another(mini_config):
    true, shuffled = (
        build.datamodule(mini_config(*o)).semantics for o in ([], ["data.semantics.shuffle_seed=0"])
    )
    assert sorted(true.class_attributes_CK.tolist()) == sorted(
        shuffled.class_attributes_CK.tolist()
    )
    assert not (true.class_attributes_CK == shuffled.class_attributes_CK).all(axis=1).any()


def test_diverged_training_is_told_and_not_scored(mini_config):
    with pytest.raises(ConfigError, match=r"diverged by step \d+.*Lower optimizer.lr"):
        train.run(mini_config("optimizer.lr=1e30"))


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampler.batch_size=0", "sampler.batch_size is wrong: expected at least 1, found 0"),
        ("data.eval_batch_size=0", "data.eval_batch_size must be positive"),
        ("seed=-1", "seed is wrong"),
        (
            "protocol.eval_splits=[]",
            "protocol.eval_splits is wrong: expected one split of seen classes",
        ),
        (
            "protocol.train_split=test_seen",
            "protocol.train_split is wrong: expected one of trainval, train",
        ),
        (
            "optimizer.lr=-1",
            "The optimizer or the scheduler refuses its config (Invalid learning rate: -1",
        ),
        (
            "trainer.val_check_interval=0",
            "trainer.val_check_interval is wrong: expected a positive number of steps",
        ),
        ("+trainer.foo=1", "lightning.Trainer: invalid config"),
        ("trainer.strategy=foo", "lightning.Trainer: invalid config"),
        ("+optimizer.betas=3", "torch.optim.RMSprop has no argument optimizer.betas. Add ~optimi"),
        ("optimizer.eps=null", "The optimizer or the scheduler refuses its config ("),
        ("+model.foo=1", "msdn_lit.models.MSDN has no argument model.foo. Add ~model.foo"),
        (
            "+model.subnets.visual_to_attribute.foo=1",
            "VisualToAttribute has no argument model.subnets.visual_to_attribute.foo",
        ),
        ("+loss.foo=1", "msdn_lit.losses.MSDNLoss has no argument loss.foo"),
        ("+sampler.foo=1", "msdn_lit.data.UniformBatches has no argument sampler.foo"),
        ("sampler.batch_size=null", "msdn_lit.data.UniformBatches: invalid config ("),
        ("+callbacks.history.foo=1", "EvaluationHistory: invalid config ("),
        ("+logger.csv.foo=1", "CSVLogger: invalid config ("),
        (
            "+scheduler={_target_: torch.optim.lr_scheduler.StepLR, _partial_: true}",
            "missing 1 required positional argument: 'step_size'",
        ),
        ("trainer=gpu", "PyTorch finds no GPU. Use trainer=cpu."),
        ("+trainer.accumulate_grad_batches=2", "A step is one batch here"),
        ("trainer.max_steps=-1", "trainer.max_steps is wrong: expected a whole number above 0"),
        (
            "ckpt_path=last",
            "last.ckpt is missing. Name the folder of a run (msdn train: paths.run_dir=",
        ),
    ],
)
def test_wrong_values_are_refused_before_training(mini_config, override, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=re.escape(message)):
        train.run(mini_config(override))


@pytest.mark.fault("settings")
def test_an_optimizer_with_the_keys_of_another_one(command, mini_overrides):
    adam = "optimizer._target_=torch.optim.Adam"
    code, _, err = command(train, *mini_overrides, adam)
    assert (code, err.count("\n")) == (2, 1)
    remedies = "Use optimizer=adam, or add ~optimizer.alpha ~optimizer.momentum"
    assert err.rstrip().endswith(remedies)
    for words in (["optimizer=adam"], ["~optimizer.alpha", "~optimizer.momentum"]):
        again = "overwrite=true"
        assert command(train, *mini_overrides, adam, *words, again)[0] == 0


@pytest.mark.fault("settings")
def test_a_chosen_config_that_extends_another_is_not_replaced_by_it(command, mini_overrides):
    loss = ("loss=transzero_pp", "+loss.unknown=1")  # its `_target_` is that of loss=transzero
    code, _, err = command(train, *mini_overrides, *loss)
    assert code == 2
    assert err.rstrip().endswith("has no argument loss.unknown. Add ~loss.unknown")


@pytest.mark.parametrize("overrides", [["callbacks=none"], ["callbacks=none", "logger=none"]])
def test_a_run_with_nothing_but_its_result(load_config, mini_overrides, overrides, tmp_path):
    left_out = ("~callbacks", "+trainer.enable_progress_bar")
    base = [word for word in mini_overrides if not word.startswith(left_out)]
    full, bare = tmp_path / "full", tmp_path / "bare"
    train.run(load_config(*mini_overrides, f"paths.run_dir={full}"))
    train.run(load_config(*base, *overrides, "trial_launcher=joblib", f"paths.run_dir={bare}"))
    assert result_of(bare)["scores"] == result_of(full)["scores"]
    assert [path.name for path in (bare / "checkpoints").iterdir()] == ["last.ckpt"]
    names = {path.name for path in bare.iterdir()} - {"metrics"}
    always = {"RESULT.md", "result.json", "config.yaml", "data.json"}
    assert names == always | {"checkpoints", "scores"}
    assert (bare / "metrics").exists() == ("logger=none" not in overrides)


def test_checkpoint_of_another_model_is_refused(mini_config, tmp_path):
    train.run(mini_config())
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(CheckpointError, match=r"of another model.*expected"):
        train.run(
            mini_config(
                "model=attribute_to_visual",
                f"ckpt_path={path}",
                f"paths.run_dir={tmp_path / 'other'}",
            )
        )


@pytest.mark.fault("run folders")
def test_a_checkpoint_without_its_training_is_refused(mini_config, tmp_path, faults):
    train.run(mini_config())
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    intact = torch.load(path, weights_only=True)
    (optimizer,) = intact["optimizer_states"]
    cases = [
        ("optimizer", {"optimizer_states": []}),
        ("optimizer", {"optimizer_states": None}),
        ("optimizer", {"optimizer_states": [optimizer | {"state": {}}]}),
        ("optimizer", {"optimizer_states": [{}]}),
        ("loops", {"loops": {}}),
        ("random numbers", {"callbacks": {}}),
        ("schedule", {"lr_schedulers": None}),
    ]
    faults(len(cases))
    module = load_run(tmp_path / "run").task
    start = {"folder": tmp_path / "run", "module": module, "allow_test_selection": True}
    assert find_start("last", **start) == path
    for what, changed in cases:
        torch.save(intact | changed, path)
        with pytest.raises(CheckpointError, match=f"has no state of the {what}: training cannot"):
            find_start("last", **start)
    torch.save({name: intact[name] for name in ("state_dict", "global_step")}, path)
    with pytest.raises(CheckpointError, match=r"optimizer and no .* Train from the start"):
        train.run(mini_config("ckpt_path=last"))


def test_sgd_without_momentum_continues(mini_config):
    settings = ("optimizer=sgd", "optimizer.momentum=0")
    train.run(mini_config(*settings, "trainer.max_steps=5"))
    train.run(mini_config(*settings, "trainer.max_steps=10", "ckpt_path=last"))


def test_tensorboard_writes_events(mini_config):
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    cfg = mini_config("logger=tensorboard")
    train.run(cfg)
    assert list(Path(cfg.paths.run_dir).glob("tensorboard/events*"))


def test_a_closed_form_is_solved_once_and_evaluated_as_any_run(mini_config, tmp_path):
    cfg = mini_config("model=eszsl", "model.gamma=0.1", "prediction.calibration=0")
    train.run(cfg)
    scores = read_result(cfg)["scores"]
    assert {score["step"] for score in scores.values()} == {0}
    assert scores["last"]["acc_seen"] > 0.5
    assert evaluate_again(cfg, tmp_path / "again")["last"] == scores["last"]


def test_an_unknown_split_is_named_in_the_result(mini_config, monkeypatch):
    known = dataclasses.replace(miniature.MINI, official=SplitFingerprints("other", "other", None))
    monkeypatch.setitem(published.BENCHMARKS, "MINI", known)
    with pytest.raises(
        DataError, match=r"no known variant of MINI's split files.*data.allow_unknown_split=true"
    ):
        train.run(mini_config())
    cfg = mini_config("data.allow_unknown_split=true")
    train.run(cfg)
    assert read_result(cfg)["data"]["split_variant"].startswith("unknown ")
    assert "UNOFFICIAL SPLIT (unknown " in (Path(cfg.paths.run_dir) / "RESULT.md").read_text()


@pytest.mark.parametrize("words", [["--calibration", "nan"], ["--fusion", "inf", "1"]])
def test_an_evaluation_refuses_numbers_that_are_not_finite(mini_config, tmp_path, words):
    cfg = mini_config("trainer.max_steps=2")
    train.run(cfg)
    with pytest.raises(ConfigError, match=f"{words[0]} is wrong"):
        evaluate_again(cfg, tmp_path / "evaluation", *words)
    assert not (tmp_path / "evaluation").exists()
