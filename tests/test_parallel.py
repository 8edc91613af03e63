"""Seeds that train at once on stacked weights: each is what it would be alone."""

import csv

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

from msdn_lit.build import task as build
from msdn_lit.commands.train import evaluate, train
from msdn_lit.data.samplers import StackedBatches, UniformBatches
from msdn_lit.errors import ConfigError
from msdn_lit.runs.reader import find_runs
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.tasks.stacked import StackedNet
from msdn_lit.training import fit
from tests import miniature
from tests.helpers import PulledPlug, PullPlug, add_callback, result_of, weights_of

SEEDS = (4, 5, 6)
TOGETHER = ("seed=4", "protocol.seeds_in_parallel=3")
HUNDRED = ("trainer.max_steps=100", "trainer.val_check_interval=30")


@pytest.fixture
def make_net(mini_config):
    def make(seed, *overrides):
        torch.manual_seed(seed)
        cfg = mini_config(*overrides)
        module = build.datamodule(cfg)
        net = build.task(cfg, module.semantics, module.visual_dim, module.grid).net
        for parameter in net.parameters():
            parameter.data = torch.randn_like(parameter)
        return net

    return make


@pytest.mark.parametrize("model", ["msdn", "msdn_paper", "attribute_to_visual", "pooled", "dazle"])
def test_a_stack_of_nets_computes_what_each_computes(make_net, model):
    nets = [make_net(seed, f"model={model}") for seed in SEEDS]
    stack, alone = StackedNet(nets), [make_net(seed, f"model={model}") for seed in SEEDS]
    regions_nBRD = torch.randn(3, 7, miniature.R, miniature.D)
    together = [output.logits_BC for output in stack(regions_nBRD)]
    apart = [[output.logits_BC for output in net(regions_nBRD[s])] for s, net in enumerate(alone)]
    for index, logits_nBC in enumerate(together):
        torch.testing.assert_close(logits_nBC, torch.stack([logits[index] for logits in apart]))
    sum(logits.square().sum() for logits in together).backward()
    sum(logits.square().sum() for each in apart for logits in each).backward()
    for name, weight in zip(stack.names, stack.weights, strict=True):
        gradients = torch.stack([net.get_parameter(name).grad for net in alone])
        torch.testing.assert_close(
            weight.grad, gradients, rtol=1e-4, atol=1e-5 * float(gradients.abs().max())
        )


class Products(TorchDispatchMode):
    """Counts the matrix products."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", ["msdn", "msdn_paper", "attribute_to_visual", "pooled", "dazle"])
def test_a_stack_is_evaluated_in_the_products_of_one_net(make_net, model):
    nets = [make_net(seed, f"model={model}").eval() for seed in SEEDS]
    stack, regions_BRD = StackedNet(nets), torch.randn(7, miniature.R, miniature.D)
    with torch.no_grad():
        with Products() as of_one:
            nets[0](regions_BRD)
        with Products() as of_all:
            logits_nOBC = stack.logits(regions_BRD)
        alone = [torch.stack([output.logits_BC for output in net(regions_BRD)]) for net in nets]
    torch.testing.assert_close(logits_nOBC, torch.stack(alone))
    assert of_all.count == of_one.count > 0


def test_the_nets_of_a_stack_learn_with_it(make_net):
    nets = [make_net(seed) for seed in SEEDS]
    stack = StackedNet(nets)
    stack.share()
    with torch.no_grad():
        for weight in stack.weights:
            weight.mul_(2)
    for name, weight in zip(stack.names, stack.weights, strict=True):
        for net, slice_of_net in zip(nets, weight, strict=True):
            assert torch.equal(net.get_parameter(name), slice_of_net)
    stack.eval()
    assert not any(net.training for net in nets)


def test_batches_of_several_runs_are_their_own():
    draws = [UniformBatches(np.zeros(50), 5, seed) for seed in SEEDS]
    assert StackedBatches(draws)(3).tolist() == [image for draw in draws for image in draw(3)]


@pytest.mark.parametrize("protocol", ["paper", "honest"])
@pytest.mark.parametrize("sampler", ["class_balanced", "epoch"])
def test_runs_together_equal_runs_alone(mini_config, tmp_path, protocol, sampler):
    common = (*HUNDRED, f"protocol={protocol}", f"sampler={sampler}", "scheduler=cosine")
    train.run(mini_config(*common, *TOGETHER))
    for seed in SEEDS:
        together, alone = tmp_path / "run" / f"seed_{seed}", tmp_path / f"alone_{seed}"
        train.run(mini_config(*common, f"seed={seed}", f"paths.run_dir={alone}"))
        assert {p.name for p in together.glob("checkpoints/*")} == {
            p.name for p in alone.glob("checkpoints/*")
        }
        for name in (path.stem for path in alone.glob("checkpoints/*")):
            found, expected = weights_of(together, name), weights_of(alone, name)
            assert found.keys() == expected.keys()
            assert all(
                torch.allclose(found[key], expected[key], rtol=0, atol=1e-4) for key in expected
            )
            caches = [
                ScoreCache.load(folder / "scores" / f"{name}.npz") for folder in (together, alone)
            ]
            np.testing.assert_allclose(caches[0].logits_ONC, caches[1].logits_ONC, atol=1e-3)
        results = [result_of(folder) for folder in (together, alone)]
        assert results[0]["scores"] == results[1]["scores"]
        configs = [OmegaConf.load(folder / "config.yaml") for folder in (together, alone)]
        configs[0].paths.run_dir, configs[0].sweep_name = (
            configs[1].paths.run_dir,
            configs[1].sweep_name,
        )  # the time
        assert configs[0] == configs[1]
        assert_same_numbers(
            *(folder / "metrics" / "version_0" / "metrics.csv" for folder in (together, alone))
        )


def assert_same_numbers(*files):
    tables = []
    for file in files:
        rows = list(csv.DictReader(file.read_text().splitlines()))
        values = {
            (row["step"], key): float(value) for row in rows for key, value in row.items() if value
        }
        tables.append(
            {pair: value for pair, value in values.items() if pair[1] not in ("step", "epoch")}
        )
    assert tables[0].keys() == tables[1].keys()
    for pair, value in tables[0].items():
        assert value == pytest.approx(tables[1][pair], abs=1e-3)


def test_every_seed_leaves_a_run_that_other_commands_read(mini_config, load_config, tmp_path):
    objective = train.run(
        mini_config(*HUNDRED, *TOGETHER, "protocol=validation", "objective=val/harmonic_mean")
    )
    found = find_runs([tmp_path / "run"])
    assert ([run.seed for run in found.runs], found.unfinished, found.faults) == ([4, 5, 6], [], [])
    summary = result_of(tmp_path / "run")
    assert summary["seeds"] == [4, 5, 6]
    assert (
        objective
        == summary["objective"]
        == pytest.approx(np.mean([run.result["objective"] for run in found.runs]))
    )
    means = np.mean([run.scores["last"]["acc_seen"] for run in found.runs])
    assert summary["scores"]["last"]["acc_seen"] == pytest.approx(means)
    folder = found.runs[1].folder
    words = ["--output", str(tmp_path / "again"), "--accelerator", "cpu"]
    evaluate.run([str(folder), *words])
    again = result_of(tmp_path / "again")
    assert again["scores"]["last"] == pytest.approx(dict(found.runs[1].scores["last"]))


def test_a_warning_knows_the_loss_of_each_seed(mini_config, tmp_path, monkeypatch):
    losses = []
    monkeypatch.setattr(fit, "warning", lambda scores, data, task, loss: losses.append(loss) or "")
    train.run(mini_config(*TOGETHER))
    logged = []
    for seed in (4, 5, 6):
        path = tmp_path / "run" / f"seed_{seed}" / "metrics" / "version_0" / "metrics.csv"
        rows = csv.DictReader(path.read_text().splitlines())
        logged.append([float(row["train/cross_entropy"]) for row in rows if row["train/loss"]][-1])
    assert losses == pytest.approx(logged, rel=1e-6)
    assert min(losses) > 0


def test_seeds_that_were_interrupted_go_on_together(mini_config, tmp_path, monkeypatch):
    def config(name, *overrides):
        return mini_config(*TOGETHER, f"paths.run_dir={tmp_path / name}", *overrides)

    train.run(config("whole"))
    with monkeypatch.context() as patch:
        add_callback(patch, PullPlug(7))
        with pytest.raises(PulledPlug):
            train.run(config("parts"))
    train.run(config("parts", "ckpt_path=last"))
    for seed in SEEDS:
        whole, parts = (tmp_path / name / f"seed_{seed}" for name in ("whole", "parts"))
        expected, found = weights_of(whole), weights_of(parts)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        results = [result_of(folder) for folder in (whole, parts)]
        assert results[0]["scores"] == results[1]["scores"]


NOT_OF_ADAFACTOR = [f"~optimizer.{name}" for name in ("alpha", "eps", "momentum")]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["protocol.seeds_in_parallel=0"],
            "seeds_in_parallel is wrong: expected a whole number from 1",
        ),
        (["protocol.seeds_in_parallel=many"], "seeds_in_parallel is wrong"),
        ([*TOGETHER, "logger=wandb"], "one run in a process"),
        ([*TOGETHER, "callbacks=figures"], "sees one model"),
        ([*TOGETHER, "model=eszsl"], "closed form"),
        ([*TOGETHER, "+trainer.gradient_clip_val=1"], "gradient_clip_val would mix"),
        ([*TOGETHER, "trainer.precision=16-mixed"], "16-mixed"),
        (
            [*TOGETHER, "optimizer._target_=torch.optim.Adafactor", *NOT_OF_ADAFACTOR],
            "optimizer Adafactor would mix",
        ),
    ],
)
def test_what_belongs_to_one_model_is_refused(mini_config, overrides, message):
    with pytest.raises(ConfigError, match=message):
        train.run(mini_config(*overrides))


def test_dropout_also_after_an_evaluation(mini_config, tmp_path):
    """A training with evaluations on its way has the masks of one without."""
    weights = []
    for every in (2, 12):
        words = (*TOGETHER, "model.region_dropout=0.5", f"trainer.val_check_interval={every}")
        folder = f"paths.run_dir={tmp_path / str(every)}"
        train.run(mini_config(*words, folder))
        weights.append(weights_of(tmp_path / str(every) / "seed_5"))
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
