"""msdn select chooses on validation scores, and training uses its choice."""

import argparse
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from msdn_lit.analysis.selection import choose, fusion_grid
from msdn_lit.build import task as build
from msdn_lit.commands.train import evaluate, select, train
from msdn_lit.errors import ConfigError, LeakError
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.runs.selection import read_selection
from tests.helpers import result_of

FUSIONS = list(fusion_grid(2, 4))


def random_cache(seed, step):
    rng = np.random.default_rng([seed, step])
    labels = np.arange(60) % 6
    logits = rng.standard_normal((2, 60, 6)).astype(np.float32) + np.eye(6)[labels].astype(
        np.float32
    )
    ids = (np.arange(4), np.arange(4, 6))
    return ScoreCache(logits, labels, np.arange(60), *ids, ("a", "b"), (0.5, 0.5), 1.0, "val", step)


def test_the_grid_sums_to_one():
    assert FUSIONS == [(0, 1), (0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (1, 0)]
    assert list(fusion_grid(1, 4)) == [(1,)]


def test_no_other_step_fusion_or_calibration_is_better():
    runs = [[random_cache(seed, step) for step in (5, 10, 15)] for seed in range(3)]
    choice = choose(runs, FUSIONS)
    achieved = [
        cache.scores(choice.fusion, choice.calibration)
        for run in runs
        for cache in run
        if cache.step == choice.step
    ]
    assert choice.harmonic_mean == pytest.approx(
        np.mean([float(scores.harmonic_mean) for scores in achieved])
    )
    for step in range(3):
        for fusion in FUSIONS:
            for calibration in np.linspace(-2, 2, 21):
                others = [
                    float(run[step].scores(fusion, calibration).harmonic_mean) for run in runs
                ]
                assert (
                    np.mean(others) <= choice.harmonic_mean + 0.01
                )  # choose() tries 400 calibrations


def test_steps_that_a_seed_lacks_do_not_count():
    runs = [[random_cache(0, 5), random_cache(0, 10)], [random_cache(1, 10)]]
    assert choose(runs, FUSIONS).step == 10


@pytest.fixture
def tuned(mini_config, tmp_path):
    """Validation runs of two settings and two seeds."""
    for number, (lr, seed) in enumerate([(0.001, 0), (0.001, 1), (0.00001, 0), (0.00001, 1)]):
        folder = tmp_path / "tuning" / str(number)
        train.run(
            mini_config(
                "protocol=validation",
                f"optimizer.lr={lr}",
                f"seed={seed}",
                f"paths.run_dir={folder}",
            )
        )
    return tmp_path / "tuning"


def run_select(folder, output):
    select.run(argparse.Namespace(runs=[folder], output=output, partial=False))
    return json.loads(output.read_text())


def test_the_choice_trains_and_is_recorded(tuned, tmp_path, mini_config, capsys):
    selection = run_select(tuned, tmp_path / "selection.json")
    out = capsys.readouterr().out
    first, second = (
        float(H) for H in re.findall(r"^\| optimizer\.lr=\S+ +\| +([\d.]+) \|", out, re.M)
    )
    assert first >= second
    assert f"{100 * selection['validation']['harmonic_mean']:.1f}" == f"{first:.1f}"
    assert (selection["candidates"], selection["runs"], selection["validation"]["n"]) == (2, 4, 2)
    assert "optimizer.lr" in selection["settings"]
    module = build.datamodule(mini_config("protocol=validation"))
    growth = len(module.indices["trainval"]) / len(module.indices["train"])
    assert selection["settings"]["trainer.max_steps"] == round(
        selection["validation"]["step"] * growth
    )
    overrides = [f"{key}={value}" for key, value in selection["settings"].items()]
    honest = [*overrides, "protocol=honest", f"protocol.selection={tmp_path / 'selection.json'}"]
    cfg = mini_config(*honest, f"paths.run_dir={tmp_path / 'honest'}")
    train.run(cfg)
    result = json.loads((Path(cfg.paths.run_dir) / "result.json").read_text())
    assert result["selection"] == selection
    with pytest.raises(
        LeakError, match=r"optimizer.lr is not what .*selection.json chose: expected .*found 0.5"
    ):
        train.run(mini_config(*honest, "optimizer.lr=0.5"))


def test_the_command_of_a_search_has_nothing_of_the_search():
    words = "experiment=cub_best hparams_search=optuna_cub callbacks.pruning.number=4 seed=0"
    run = SimpleNamespace(result={"command": f"msdn train {words}"})
    expected = "msdn train experiment=cub_best protocol=honest optimizer.lr=0.001"
    assert select._command(run, "honest", {"optimizer.lr": 0.001}) == expected


def test_the_command_keeps_the_program_and_what_was_added():
    run = SimpleNamespace(result={"command": "msdn finetune data=cub +prediction.fusion.a=0.5"})
    expected = "msdn finetune data=cub protocol=honest +prediction.fusion.a=0.25"
    assert select._command(run, "honest", {"prediction.fusion.a": 0.25}) == expected
    run = SimpleNamespace(result={"command": "msdn-train experiment=cub_gzsl"})  # version 0.1
    assert select._command(run, "honest", {}) == "msdn train experiment=cub_gzsl protocol=honest"


def test_lengths_in_passes_become_steps(mini_config, tmp_path, capsys):
    """Of a search over `passes`, the chosen step counts, and the weights of all outputs."""
    four = ["model=dedn", "loss=dedn", "model.groups={first: 0-1, second: rest}"]
    names = ("coarse_region", "coarse_channel", "fine_region", "fine_channel")
    four += [f"+prediction.fusion.{name}=0.25" for name in names]
    for passes in (1, 2):
        words = ["protocol=validation", "trainer.max_steps=null", f"passes={passes}"]
        train.run(mini_config(*four, *words, f"paths.run_dir={tmp_path / 'runs' / str(passes)}"))
    chosen = run_select(tmp_path / "runs", tmp_path / "selection.json")["settings"]
    assert "passes" not in chosen
    assert chosen["trainer.max_steps"] > 0
    assert [f"prediction.fusion.{name}" in chosen for name in names] == [True] * 4


def test_an_evaluation_does_not_need_the_file_of_the_choice(tmp_path, mini_config):
    path = tmp_path / "selection.json"
    path.write_text(json.dumps({"settings": {"prediction.calibration": 0.5}}))
    cfg = mini_config("prediction.calibration=0.5", f"protocol.selection={path}")
    train.run(cfg)
    path.unlink()
    words = [cfg.paths.run_dir, "--accelerator", "cpu", "--output"]
    evaluate.run([*words, str(tmp_path / "same")])
    evaluate.run([*words, str(tmp_path / "other"), "--calibration", "0.7"])
    stated = [result_of(tmp_path / name)["selection"] for name in ("same", "other")]
    assert stated == [{"settings": {"prediction.calibration": 0.5}}, None]


def test_the_choice_is_written_beside_the_runs(tmp_path, monkeypatch):
    one, two = tmp_path / "sweeps" / "one", tmp_path / "sweeps" / "two"
    one.mkdir(parents=True)
    assert select._default_output([one]) == one / "selection.json"
    assert select._default_output([one, two]) == tmp_path / "sweeps" / "selection.json"
    assert select._default_output([Path("/one"), Path("/two")]) == Path("selection.json")
    monkeypatch.setattr("os.access", lambda folder, mode: False)  # read-only
    assert select._default_output([one]) == Path("selection.json")


@pytest.mark.fault("records")
@pytest.mark.parametrize("change", [("benchmark", "CUB"), ("split", "0" * 64)])
def test_runs_of_other_data_are_not_compared(tuned, tmp_path, change):
    name, value = change
    path = sorted(tuned.rglob("result.json"))[0]
    result = json.loads(path.read_text())
    (result if name in result else result["data"])[name] = value
    path.write_text(json.dumps(result))
    with pytest.raises(ConfigError, match="several benchmarks or splits"):
        run_select(tuned, tmp_path / "chosen.json")


@pytest.mark.fault("records")
def test_a_choice_for_another_benchmark(tmp_path):
    path = tmp_path / "chosen.json"
    path.write_text(json.dumps({"benchmark": "CUB", "settings": {}}))
    assert read_selection(path, {"data": {"benchmark": "CUB"}})
    with pytest.raises(LeakError, match="was chosen on another benchmark: expected CUB, found SUN"):
        read_selection(path, {"data": {"benchmark": "SUN"}})


def test_nothing_to_choose_from(mini_config, tmp_path):
    cfg = mini_config()  # a run on test splits
    train.run(cfg)
    with pytest.raises(ConfigError, match="1 runs, none with scores of protocol=validation"):
        run_select(Path(cfg.paths.run_dir), tmp_path / "selection.json")
    assert not (tmp_path / "selection.json").exists()


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"settings": 5}'])
def test_a_damaged_record(tmp_path, content):
    path = tmp_path / "selection.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"selection.json is no record of msdn select"):
        read_selection(path, {})
