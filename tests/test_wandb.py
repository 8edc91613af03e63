"""What a run with logger=wandb leaves for W&B, read back from the files that it would send."""

import io
import json
import os
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from click.testing import CliRunner
from PIL import Image
from wandb.cli.cli import cli

from msdn_lit.build import training
from msdn_lit.build.load import load, write_bundle_of_run
from msdn_lit.commands.results import wandb_workspace as dashboard
from msdn_lit.commands.train import train
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import ConfigError
from msdn_lit.runs.checkpoint import find_checkpoint
from msdn_lit.runs.score_cache import ScoreCache
from tests import miniature
from tests.helpers import IMAGES, PullPlug, add_callback, class_scores
from tests.trial_folders import by_seed
from tests.wandb_files import run_files, table

KEY = "0123456789abcdef" * 2 + "f00dcafe"
BACKBONE = "mini"
SCORES = ("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean")


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    """A home and a key that must not be told; W&B reads its environment once a session."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    wandb.teardown()  # a session of another file has other variables
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    yield
    wandb.teardown()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def stop_at(monkeypatch):
    """Breaks off the trainings that are built next, at a step."""
    return lambda step, error: add_callback(monkeypatch, PullPlug(step, error))


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_a_finished_run_can_be_read_back(mini_config, folder):
    train.run(mini_config("logger=wandb", "loss.lambda_cal=0.3"))
    (run,) = run_files(folder)
    recorded, caches = (
        result(folder),
        {path.stem: ScoreCache.load(path) for path in folder.glob("scores/*.npz")},
    )
    assert (run.run.project, run.run.job_type, list(run.run.tags)) == (
        "msdn-lit",
        "train",
        ["MINI", BACKBONE, "paper"],
    )
    assert run.run.run_id == (folder / "wandb" / "run_id").read_text().strip()
    assert (run.config["loss"]["lambda_cal"], run.config["trainer"]["max_steps"]) == (0.3, 12)
    assert (run.config["code"], run.config["fingerprint"]) == (recorded["code"], recorded["data"])
    assert run.config["fingerprint"]["split"]
    assert set(recorded["scores"]) == set(caches) == {"last", "peak_harmonic_mean", "peak_acc_czsl"}
    for evaluation, cache in caches.items():
        assert run.summary[f"{evaluation}/step"] == cache.step
        assert (
            run.summary[f"{evaluation}/ausuc"]
            >= run.summary[f"{evaluation}/acc_unseen"] * cache.scores().acc_seen
        )
        for name in SCORES:
            found = run.summary[f"{evaluation}/{name}"]
            assert (
                found
                == recorded["scores"][evaluation][name]
                == pytest.approx(float(getattr(cache.scores(), name)))
            )
    assert (len(run.logged("train/distillation")), len(run.logged("test/harmonic_mean"))) == (12, 3)
    assert run.exit_code == 0
    assert {f"system/{name}" for name in run.machine} >= {"system/proc.memory.rssMB"}  # as shown
    assert {f"train/{name}" for name in dashboard.LOSSES} <= {
        name for row in run.history for name in row
    }
    check_class_tables(folder, caches["last"])
    check_curve(folder, recorded["scores"]["last"]["acc_czsl"])


def check_class_tables(folder, cache):
    pairs = list(zip(predicted_in_loops(cache), cache.labels_N.tolist(), strict=True))
    header, rows = table(folder, "classes")
    assert header[:4] == ["class", "domain", "images", "accuracy"]
    assert {class_id(name) for name, *_ in rows} == set(cache.labels_N.tolist())
    for name, domain, images, accuracy, _ in rows:
        c = class_id(name)
        assert domain == ("unseen" if c in miniature.UNSEEN else "seen")
        right = [guess == c for guess, label in pairs if label == c]
        assert (images, accuracy) == (len(right), pytest.approx(sum(right) / len(right)))
    header, rows = table(folder, "confusions")
    for truth, _, guess, _, share, images in rows:
        c, d = class_id(truth), class_id(guess)
        assert c != d
        assert pairs.count((d, c)) == pytest.approx(share * images)
    assert sum(share * images for *_, share, images in rows) == pytest.approx(
        sum(p != c for p, c in pairs)
    )


def class_id(name):
    return int(name.removeprefix("class "))


def check_curve(folder, acc_czsl):
    """It runs from one side alone to the other, and never turns back."""
    header, points = table(folder, "seen_unseen_curve_table")
    assert header == ["U", "S", "H"]
    assert points[0][0] == points[-1][1] == 0
    assert points[-1][0] == pytest.approx(acc_czsl)
    assert all(u <= v and s >= t for (u, s, _), (v, t, _) in pairwise(points))


def test_neither_key_nor_home_are_told(mini_config, store_dir, tmp_path, folder):
    home = tmp_path / "home"
    (home / "features").symlink_to(store_dir)
    train.run(
        mini_config(
            "logger=wandb", f"data.store_dir={home}/features", f"paths.feature_dir={home}/x"
        )
    )
    files = [path for path in (folder / "wandb").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    sent = [path for path in files if path.suffix == ".wandb" or "files" in path.parts]
    assert not [path for path in sent if str(home).encode() in path.read_bytes()]
    (run,) = run_files(folder)
    assert str(tmp_path) not in json.dumps(run.config)
    assert run.config["data"]["store_dir"] == "PATH/features"


def predicted_in_loops(cache):
    """In loops, from the logits."""
    predicted = []
    for n in range(len(cache.labels_N)):
        scores = {}
        for c in [*cache.seen.tolist(), *cache.unseen.tolist()]:
            margin = cache.calibration if c in cache.unseen else -cache.calibration
            scores[c] = sum(
                a * (float(z[n, c]) + margin)
                for a, z in zip(cache.fusion, cache.logits_ONC, strict=True)
            )
        predicted.append(max(scores, key=scores.get))
    return predicted


def test_the_group_is_the_experiment(mini_overrides, command, folder):
    overrides = [o for o in mini_overrides if not o.startswith("paths.run_dir")]
    code, _, err = command(
        train,
        "experiment=[cub_gzsl,ablation/none]",
        *overrides,
        "logger=wandb",
        f"hydra.run.dir={folder}",
    )
    assert code == 0, err
    (run,) = run_files(folder)
    assert run.run.run_group == "cub_gzsl + ablation/none"
    assert run.config["choices"]["loss"] == "msdn"


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_its_run(mini_config, folder, stop_at):
    stop_at(8, KeyError("stopped"))
    with pytest.raises(KeyError, match="stopped"):
        train.run(mini_config("logger=wandb"))
    train.run(mini_config("logger=wandb", "ckpt_path=last"))
    broken, whole = run_files(folder)
    assert broken.run.run_id == whole.run.run_id
    assert (broken.exit_code, whole.exit_code) == (1, 0)
    assert [len(run.logged("test/acc_seen")) for run in (broken, whole)] == [1, 2]
    assert "last/acc_seen" in whole.summary
    assert "last/acc_seen" not in broken.summary


def test_a_resumed_trial_goes_on_with_its_run(mini_overrides, command, tmp_path, stop_at):
    overrides = [o for o in mini_overrides if not o.startswith("paths.run_dir")]
    sweep = [
        "-m",
        *overrides,
        "logger=wandb",
        "seed=0,1",
        f"paths.log_dir={tmp_path}",
        "sweep_name=two",
    ]
    stop_at(8, SystemExit(9))
    assert command(train, *sweep)[0] == 9
    assert command(train, *sweep)[0] == 0
    runs = [run_files(trial.folder) for trial in by_seed(tmp_path / "sweeps" / "two").values()]
    assert sorted(len(parts) for parts in runs) == [1, 2]
    assert [len({part.run.run_id for part in parts}) for parts in runs] == [1, 1]
    assert [parts[-1].exit_code for parts in runs] == [0, 0]


def test_a_training_that_begins_anew_has_a_new_run(mini_config, folder, monkeypatch):
    ids = []
    for _ in range(2):
        train.run(mini_config("logger=wandb", "trainer.max_steps=2", "overwrite=true"))
        (found,) = run_files(folder)
        ids.append(found.run.run_id)
    assert ids[0] != ids[1]
    monkeypatch.setenv("WANDB_RUN_ID", "agent123")  # as an agent of `wandb sweep` sets it
    train.run(mini_config("logger=wandb", "trainer.max_steps=2", "overwrite=true"))
    assert run_files(folder)[-1].run.run_id == "agent123"


def test_offline_holds_in_a_process_that_was_online(mini_config, folder, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb.setup()
    train.run(mini_config("logger=wandb", "trainer.max_steps=2"))
    assert os.environ["WANDB_MODE"] == "online"
    assert "not sent" not in capsys.readouterr().err
    assert [path.name.startswith("offline-run-") for path in folder.glob("wandb/*run-*")] == [True]


@pytest.fixture
def pictures(monkeypatch):
    picture = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    monkeypatch.setattr(ZSLDataModule, "image", lambda self, row: picture)


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_the_logger_changes_no_weight(mini_config, tmp_path):
    weights = []
    for name, *overrides in (
        ("a",),
        ("b", "logger=wandb", "callbacks.logged_figures.attention_every=1"),
    ):
        cfg = mini_config(
            "model.region_dropout=0.5", f"paths.run_dir={tmp_path / name}", *overrides
        )
        train.run(cfg)
        weights.append(
            torch.load(find_checkpoint("last", Path(cfg.paths.run_dir)), weights_only=True)[
                "state_dict"
            ]
        )
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


def test_name_tags_and_result_are_sent(mini_config, folder, tmp_path):
    train.run(mini_config("logger=wandb", "name=wide", "tags=[a,b]", "trainer.max_steps=2"))
    (run,) = run_files(folder)
    assert run.run.display_name == "wide"
    assert [*run.run.tags] == ["MINI", BACKBONE, "paper", "a", "b"]
    files = run.artifacts["result"]
    assert set(files) == {"result.json", "RESULT.md"}
    sent, written = json.loads(files["result.json"]), result(folder)
    assert (sent["scores"], sent["name"]) == (written["scores"], "wide")
    assert not [text for text in files.values() if str(tmp_path).encode() in text]
    assert "bundle" not in run.artifacts


def test_a_bundle_is_sent_if_asked_for(mini_config, folder, monkeypatch):
    def write(run, bundle, trust):
        assert result(run)["scores"]
        bundle.mkdir(parents=True)
        (bundle / "bundle.json").write_text("{}")

    monkeypatch.setattr(training, "write_bundle_of_run", write)
    words = ["logger.wandb.log_bundle=true", "logger.wandb.log_result=false"]
    train.run(mini_config("logger=wandb", *words, "trainer.max_steps=2"))
    (run,) = run_files(folder)
    assert run.artifacts["bundle"] == {"bundle.json": b"{}"}
    assert "result" not in run.artifacts


@pytest.mark.fault("records")
def test_a_model_that_cannot_be_a_bundle_costs_one_line(mini_config, folder, capsys):
    words = ["logger.wandb.log_bundle=true", "trainer.max_steps=2"]
    train.run(mini_config("logger=wandb", *words))
    err = capsys.readouterr().err
    assert "msdn train: W&B gets no bundle: timm has no model 'none'" in err
    (run,) = run_files(folder)
    assert (run.exit_code, "bundle" in run.artifacts) == (0, False)


def test_the_bundle_of_a_run_predicts_like_it(tiny_run, tmp_path):
    write_bundle_of_run(tiny_run, tmp_path / "bundle")
    run, bundle = load(tiny_run), load(tmp_path / "bundle")
    assert class_scores(bundle, IMAGES) == class_scores(run, IMAGES)


@pytest.mark.usefixtures("pictures")
def test_tensorboard_gets_the_pictures(mini_config, folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ["trainer.val_check_interval=3", "callbacks.logged_figures.attention_every=2"]
    train.run(mini_config("logger=tensorboard", *words))
    shown = {}
    for path in sorted(folder.glob("tensorboard/events.*")):
        events = EventAccumulator(str(path)).Reload()
        for name in events.Tags()["images"]:
            shown.setdefault(name, []).extend(events.Images(name))
    assert [image.step for image in shown["attention"]] == [3, 9]
    assert {image.step for image in shown["seen_unseen_curve"]} == {12}
    picture = Image.open(io.BytesIO(shown["attention"][0].encoded_image_string))
    assert picture.width > 300


class TestAttentionMaps:
    @pytest.mark.usefixtures("pictures")
    def test_come_after_every_so_many_evaluations(self, mini_config, folder):
        train.run(
            mini_config(
                "logger=wandb",
                "trainer.val_check_interval=3",
                "callbacks.logged_figures.attention_every=2",
            )
        )
        (run,) = run_files(folder)
        assert [row["trainer/global_step"] for row in run.history if "attention" in row] == [3, 9]
        assert len(list(folder.glob("wandb/*run-*/files/media/images/*.png"))) == 2

    def test_are_left_out_without_images(self, mini_config, folder, caplog):
        with caplog.at_level("INFO"):
            train.run(mini_config("logger=wandb", "callbacks.logged_figures.attention_every=1"))
        assert sum("No attention maps in the logger" in message for message in caplog.messages) == 1
        (run,) = run_files(folder)
        assert run.logged("attention") == []
        assert run.exit_code == 0


class TestWithoutWandb:
    @pytest.fixture(autouse=True)
    def _online(self, monkeypatch):
        monkeypatch.setenv("WANDB_MODE", "online")

    @pytest.mark.slow
    def test_training_goes_on_where_it_cannot_be_reached(
        self, mini_config, folder, monkeypatch, capsys
    ):
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        train.run(
            mini_config(
                "logger=wandb", "logger.wandb.offline=false", "logger.wandb.settings.init_timeout=1"
            )
        )
        self._check(folder, capsys.readouterr().err)

    def test_training_goes_on_where_nobody_is_logged_in(
        self, mini_config, folder, monkeypatch, capsys
    ):
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("NETRC", os.devnull)
        train.run(mini_config("logger=wandb", "logger.wandb.offline=false"))
        self._check(folder, capsys.readouterr().err)

    def _check(self, folder, err):
        (line,) = [line for line in err.splitlines() if "This run is not sent to W&B" in line]
        assert line.startswith("msdn train:")
        assert f"wandb sync {folder}" in line
        run = run_files(folder)[-1]
        assert (run.exit_code, run.run.run_id) == (
            0,
            (folder / "wandb" / "run_id").read_text().strip(),
        )
        assert (
            run.summary["last/harmonic_mean"] == result(folder)["scores"]["last"]["harmonic_mean"]
        )


def test_a_fault_before_training_opens_no_run(mini_config, folder):
    with pytest.raises(ConfigError, match=r"callbacks.history is missing"):
        train.run(mini_config("logger=wandb", "~callbacks.history"))
    assert run_files(folder) == []


def test_an_offline_run_ends_with_the_command_that_sends_it(command, mini_overrides, tmp_path):
    words = [word for word in mini_overrides if not word.startswith("paths.run_dir")]
    code, out, err = command(train, *words, "logger=wandb", "paths.run_dir='a run'")
    assert (code, [line for line in err.splitlines() if line.startswith("wandb:")]) == (0, [])
    (line,) = [line for line in out.splitlines() if line.startswith("Send to W&B with: ")]
    _, *arguments = shlex.split(line.removeprefix("Send to W&B with: "))
    assert arguments == ["sync", "a run/wandb"]
    wandb.termsetup(wandb.Settings(), None)  # as in a process of its own
    answer = CliRunner().invoke(cli, [*arguments, "--dry-run"])
    assert "Would sync 1 run" in answer.output, answer.output
