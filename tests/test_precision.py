"""Precisions: what is refused, what "auto" chooses on a processor, what is warned of."""

import logging

import pytest
import torch

from msdn_lit.build import precision
from msdn_lit.build.precision import evaluation_precision, features_precision, training_precision
from msdn_lit.build.trainer import check_trainer
from msdn_lit.commands.data import doctor
from msdn_lit.commands.train import evaluate, train
from msdn_lit.errors import ConfigError
from tests.helpers import result_of


@pytest.fixture
def processor(monkeypatch):
    """Pretends a processor: the precisions that it computes, and whether there is a GPU."""

    def pretend(fast, *, has_gpu=False):
        precision._warn.cache_clear()
        monkeypatch.setattr(precision, "is_fast", lambda name, device: name in fast)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)

    yield pretend
    precision._warn.cache_clear()


@pytest.mark.parametrize(
    ("setting", "accelerator", "fast", "has_gpu", "expected"),
    [
        ("auto", "auto", ["fp32"], False, "32-true"),
        ("auto", "auto", ["fp32", "bf16"], False, "bf16-mixed"),
        ("auto", "auto", ["fp32", "fp16"], True, "32-true"),
        ("auto", "gpu", ["fp32", "fp16", "bf16"], True, "bf16-mixed"),
        ("auto", "cpu", ["fp32"], True, "32-true"),
        (32, "cpu", ["fp32"], False, "32-true"),
        ("bf16", "cpu", ["fp32", "bf16"], False, "bf16-mixed"),
        ("16-mixed", "auto", ["fp32", "fp16"], True, "16-mixed"),
    ],
)
def test_of_training(load_config, processor, setting, accelerator, fast, has_gpu, expected):
    processor(fast, has_gpu=has_gpu)
    cfg = load_config(f"trainer.precision={setting}", f"trainer.accelerator={accelerator}")
    assert training_precision(cfg.trainer) == expected


@pytest.mark.parametrize(
    ("setting", "device", "fast", "expected"),
    [
        ("auto", "cpu", ["fp32"], "fp32"),
        ("auto", "cpu", ["fp32", "bf16"], "bf16"),
        ("auto", "cuda", ["fp32", "fp16"], "fp16"),
        ("fp32", "cuda", ["fp32", "fp16"], "fp32"),
    ],
)
def test_of_extraction(load_config, processor, setting, device, fast, expected):
    processor(fast)
    assert features_precision(load_config(f"features.precision={setting}"), device) == expected


@pytest.mark.fault("settings")
@pytest.mark.parametrize("setting", ["64-true", "bf16-true", "16-true", "16-mixed", "64", "foo"])
def test_what_training_does_not_promise_is_refused(mini_config, setting, tmp_path):
    message = "16-mixed needs a GPU" if setting == "16-mixed" else "expected one of auto, 32-true"
    with pytest.raises(ConfigError, match=message):
        train.run(mini_config(f"trainer.precision={setting}"))
    assert not list((tmp_path / "run").rglob("*"))


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("matmul_precision=tf32", "expected one of highest, high, medium, found tf32"),
        ("convolution_tf32=maybe", "expected true or false, found maybe"),
    ],
)
def test_a_wrong_precision_of_fp32(load_config, setting, message):
    with pytest.raises(ConfigError, match=message):
        check_trainer(load_config("trainer=cpu", f"trainer.{setting}"))


def test_the_trainer_sets_the_precision_of_fp32_and_fills_no_memory(load_config, monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    found = []
    for words in (["matmul_precision=high", "convolution_tf32=false"], []):
        check_trainer(load_config("trainer=cpu", *(f"trainer.{word}" for word in words)))
        convolutions = torch.backends.cudnn.conv.fp32_precision
        found.append((torch.get_float32_matmul_precision(), convolutions))
    assert found == [("high", "ieee"), ("highest", "tf32")]
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.fault("settings")
def test_an_unknown_precision_of_extraction(load_config):
    with pytest.raises(ConfigError, match="expected one of auto, fp32, bf16, fp16, found fp8"):
        features_precision(load_config("features.precision=fp8"), "cpu")


def test_the_record_has_the_precision_that_was_used(mini_config, processor, tmp_path):
    processor(["fp32", "bf16"])
    train.run(mini_config("trainer.precision=auto"))
    assert "precision: bf16-mixed" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_slow_choice_is_warned_of_once(load_config, processor, caplog):
    processor(["fp32"])
    trainer = load_config("trainer=cpu", "trainer.precision=bf16-mixed").trainer
    features = load_config("features.precision=bf16")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            training_precision(trainer)
            features_precision(features, "cpu")
    for line, key in zip(caplog.messages, ("trainer", "features"), strict=True):
        assert f"{key}.precision=bf16" in line
        assert line.endswith(f"10 times slower than fp32. Use {key}.precision=auto.")


def test_an_evaluation_without_the_precision_of_its_run(
    load_config, processor, mini_config, command, tmp_path
):
    processor(["fp32"])
    trainer = load_config("trainer.precision=16-mixed").trainer
    assert evaluation_precision(trainer, "cpu") == "32-true"
    train.run(mini_config())
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("precision: 32-true", "precision: 16-mixed"))
    assert command(evaluate, str(tmp_path / "run"), "--output", "again")[0] == 0
    assert "precision: 32-true" in (tmp_path / "again" / "RESULT.md").read_text()
    assert result_of("again")["scores"]


@pytest.mark.parametrize(
    ("flags", "is_fast"),
    [((False, False), False), ((True, False), True), ((False, True), True)],
)
def test_bf16_of_a_processor(monkeypatch, flags, is_fast):
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    for name, flag in zip(
        ("_is_avx512_bf16_supported", "_is_amx_tile_supported"), flags, strict=True
    ):
        monkeypatch.setattr(torch.cpu, name, lambda flag=flag: flag, raising=False)
    assert precision.is_fast("bf16", "cpu") is is_fast
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")  # not in every version
    assert precision.is_fast("bf16", "cpu") is flags[0]


def test_the_doctor_tells_which_precisions_are_fast(processor):
    processor(["fp32", "bf16"])
    assert doctor._fast_precisions() == ["fp32", "bf16"]
