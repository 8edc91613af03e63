"""Training through the real configs on the miniature benchmark: learning, records, exact resume."""

import json
from pathlib import Path

import pytest
import torch

from msdn_lit import build, train
from msdn_lit.errors import CheckpointError


def fit(cfg):
    train.run(cfg)
    folder = Path(cfg.paths.run_dir)
    weights = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return weights, json.loads((folder / "result.json").read_text())


def test_smoke(mini_config):
    weights, result = fit(mini_config())
    assert result["scores"]["last"]["step"] == 12
    print(result)


@pytest.mark.parametrize("stop", [3, 5, 7, 10])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(mini_config, tmp_path, stop):
    whole, result = fit(mini_config("sampler=epoch", f"paths.run_dir={tmp_path / 'whole'}"))
    interrupted = f"paths.run_dir={tmp_path / 'interrupted'}"
    fit(mini_config("sampler=epoch", interrupted, f"trainer.max_steps={stop}"))
    resumed, resumed_result = fit(mini_config("sampler=epoch", interrupted, "ckpt_path=last"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert resumed_result["scores"] == result["scores"]
