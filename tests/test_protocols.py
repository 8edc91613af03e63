"""What the protocols promise, and every way to cheat that the leak guard must notice."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from msdn_lit.build import task as build
from msdn_lit.build.training import training as build_training
from msdn_lit.commands.train import train
from msdn_lit.data.dataset import _some_of_each
from msdn_lit.errors import ConfigError, LeakError
from tests import miniature
from tests.helpers import result_of


def fit(cfg, *, callbacks=(), change_data=lambda module: None, scheduler=None):
    """Trains as msdn train does, with something changed."""
    training = build_training(cfg)
    task = training.module
    change_data(training.data)
    if scheduler:
        optimizer = task.configure_optimizers()
        task.configure_optimizers = lambda: {
            "optimizer": optimizer,
            "lr_scheduler": scheduler(optimizer),
        }
    training.trainer.callbacks += callbacks
    training.trainer.fit(task, training.data)


class TestHonest:
    def test_it_looks_at_the_test_splits_once_at_the_last_step(self, mini_config):
        cfg = mini_config("protocol=honest")
        train.run(cfg)
        assert list(result_of(cfg.paths.run_dir)["scores"]) == ["last"]
        assert result_of(cfg.paths.run_dir)["scores"]["last"]["step"] == 12
        metrics = (
            (Path(cfg.paths.run_dir) / "metrics" / "version_0" / "metrics.csv")
            .read_text()
            .splitlines()
        )
        column = metrics[0].split(",").index("test/harmonic_mean")
        assert sum(bool(line.split(",")[column]) for line in metrics[1:]) == 1

    def test_it_trains_as_the_paper_protocol_does(self, mini_config, tmp_path):
        scores = {}
        for protocol in ("paper", "honest"):
            cfg = mini_config(f"protocol={protocol}", f"paths.run_dir={tmp_path / protocol}")
            train.run(cfg)
            scores[protocol] = result_of(cfg.paths.run_dir)["scores"]["last"]
        assert scores["paper"] == scores["honest"]

    def test_no_checkpoint_is_chosen(self, mini_config):
        cfg = mini_config("protocol=honest")
        train.run(cfg)
        assert [path.name for path in (Path(cfg.paths.run_dir) / "checkpoints").iterdir()] == [
            "last.ckpt"
        ]


class TestValidation:
    def test_no_test_image_and_no_test_class_takes_part(self, mini_config):
        module = build.datamodule(mini_config("protocol=validation"))
        test = {*module.indices["test_seen"], *module.indices["test_unseen"]}
        for name in (module.train_split, *module.eval_splits):
            assert not set(module.indices[name]) & test
        assert not {*module.semantics.seen, *module.semantics.unseen} & set(miniature.UNSEEN)

    def test_every_evaluation_is_kept(self, mini_config):
        cfg = mini_config("protocol=validation")
        train.run(cfg)
        kept = {path.stem for path in (Path(cfg.paths.run_dir) / "scores").glob("step_*")}
        assert kept == {"step_000005", "step_000010", "step_000012"}


PROTOCOLS = ["protocol=honest", "protocol=validation"]


class TestCheating:
    @pytest.mark.parametrize(
        ("protocol", "split"),
        [
            *itertools.product(["protocol=paper", *PROTOCOLS], ["test_seen", "test_unseen"]),
            ("protocol=validation", "val_seen"),
        ],
    )
    def test_an_evaluated_image_in_the_training_split(self, mini_config, protocol, split):
        def smuggle(module):
            rows = module.indices[module.train_split]
            module.indices[module.train_split] = np.append(rows[:20], module.indices[split][:1])

        with pytest.raises(
            LeakError, match=r"would use 1 images that are evaluated|share 1 classes"
        ):
            fit(mini_config(protocol, "sampler.batch_size=21"), change_data=smuggle)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(
        "callback",
        [
            EarlyStopping("test/harmonic_mean"),
            ModelCheckpoint(monitor="test/acc_czsl", filename="best"),
        ],
        ids=["early stopping", "checkpoint"],
    )
    def test_a_callback_that_watches_a_test_score(self, mini_config, protocol, callback):
        with pytest.raises(
            LeakError,
            match=rf"{type(callback).__name__} monitors test/.*, a test score",
        ):
            fit(mini_config(protocol), callbacks=[callback])

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_scheduler_that_watches_a_test_score(self, mini_config, protocol):
        def scheduler(optimizer):
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {"scheduler": plateau, "monitor": "test/harmonic_mean"}

        with pytest.raises(LeakError, match="monitors test/harmonic_mean"):
            fit(mini_config(protocol), scheduler=scheduler)

    def test_the_test_splits_before_the_end(self, mini_config):
        cfg = mini_config("protocol=honest")
        training = build_training(cfg)
        trainer = training.trainer
        trainer.val_check_interval = 3
        with pytest.raises(
            LeakError,
            match=r"test splits would be evaluated in step 3: expected one evaluation.*\(12\)",
        ):
            trainer.fit(training.module, training.data)

    def test_the_test_splits_under_validation(self, mini_config):
        cfg = mini_config(
            "protocol=validation",
            "protocol.train_split=trainval",
            "protocol.eval_splits=[test_seen,test_unseen]",
        )
        with pytest.raises(LeakError, match="test splits would be evaluated in step 5"):
            fit(cfg)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_val_classes_that_are_test_classes(self, mini_config, protocol):
        def mix(module):
            module.indices["val"] = np.append(
                module.indices["val"], module.indices["test_unseen"][:1]
            )

        with pytest.raises(
            LeakError, match=r"val and test_unseen share 1 classes: found 003.class_2"
        ):
            fit(mini_config(protocol), change_data=mix)

    def test_a_checkpoint_that_test_scores_chose(self, mini_config, tmp_path):
        cfg = mini_config()
        train.run(cfg)
        chosen = Path(cfg.paths.run_dir) / "checkpoints" / "peak_harmonic_mean.ckpt"
        honest = mini_config(
            "protocol=honest", f"paths.run_dir={tmp_path / 'honest'}", f"ckpt_path={chosen}"
        )
        with pytest.raises(LeakError, match=r"peak_harmonic_mean.ckpt was chosen by its score"):
            train.run(honest)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_sweep_that_maximises_a_test_score(self, mini_config, protocol):
        with pytest.raises(
            LeakError, match=r"objective=test/harmonic_mean: a test score would choose"
        ):
            train.run(mini_config(protocol, "objective=test/harmonic_mean"))

    def test_the_paper_protocol_may_do_all_that(self, mini_config):
        cfg = mini_config("objective=test/harmonic_mean")
        assert (
            train.run(cfg)
            == result_of(cfg.paths.run_dir)["scores"]["peak_harmonic_mean"]["harmonic_mean"]
        )


def test_a_fraction_of_the_training_images(mini_config):
    """Of each class, the same in every run; what is evaluated stays."""
    whole, half, again = (
        build.datamodule(mini_config(f"data.train_fraction={share}")) for share in (1.0, 0.5, 0.5)
    )
    labels = whole.split.labels_N
    rows = half.indices["trainval"]
    assert set(rows) < set(whole.indices["trainval"])
    assert np.array_equal(rows, again.indices["trainval"])
    counts, all_counts = (
        np.bincount(labels[module.indices["trainval"]]) for module in (half, whole)
    )
    assert np.array_equal(counts > 0, all_counts > 0)
    assert np.abs(counts - all_counts / 2).max() <= 1
    for name in ("test_seen", "test_unseen"):
        assert np.array_equal(half.indices[name], whole.indices[name])


def test_a_fraction_keeps_the_only_image_of_a_class():
    labels_N, rows = np.array([0, 0, 0, 0, 1, 2, 2]), np.arange(7)
    for fraction in (0.1, 0.5, 0.9):
        kept = labels_N[_some_of_each(rows, labels_N, fraction)]
        assert set(kept) == {0, 1, 2}, fraction


@pytest.mark.fault("settings")
@pytest.mark.parametrize("objective", ["val", "val/ausuc", "val/H", "harmonic_mean"])
def test_an_objective_that_no_evaluation_measures(mini_config, objective):
    expected = "objective is wrong: expected a score of protocol=validation, like val/harmonic_mean"
    with pytest.raises(ConfigError, match=expected):
        train.run(mini_config("protocol=validation", f"objective={objective}"))


@pytest.mark.fault("settings")
@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_no_fraction_of_the_training_images(mini_config, share):
    with pytest.raises(ConfigError, match=r"data\.train_fraction is wrong: expected above 0"):
        build.datamodule(mini_config(f"data.train_fraction={share}"))
