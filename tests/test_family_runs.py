"""The methods of the family in the whole program, which does not know them."""

import ast
import re

import numpy as np
import pytest
import torch

import msdn_lit
from msdn_lit.build import task as build
from msdn_lit.build.load import write_bundle_of_run
from msdn_lit.commands.train import evaluate, train
from msdn_lit.errors import ConfigError
from msdn_lit.files import PACKAGE
from msdn_lit.inference.bundle import read_bundle
from msdn_lit.inference.graph import Graph
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.tasks.stacked import StackedNet
from tests import miniature
from tests.helpers import PulledPlug, PullPlug, add_callback, checkpoint_of, class_scores, result_of

SMALL = ["dim=8", "ffn_dim=8"]
FIRST = [f"model.subnets.attribute_to_visual.{size}" for size in SMALL]
FOUR = [
    f"+prediction.fusion.{expert}_{branch}={weight}"
    for expert, branch, weight in [
        *(("coarse", "region", 0.7), ("coarse", "channel", 0.1)),
        *(("fine", "region", 0.1), ("fine", "channel", 0.1)),
    ]
]
METHODS = {
    "transzero": ["model=transzero", "loss=transzero", "optimizer=adam", *FIRST],
    "transzero_pp": ["model=transzero_pp", "loss=transzero_pp", "optimizer=adam", *FIRST],
    "dedn": ["model=dedn", "loss=dedn", "model.groups={first: 0-1, second: rest}", *FOUR],
    "counterfactual": ["loss=counterfactual", "loss.intervention=random"],
}
OUTPUTS = {"transzero": 1, "transzero_pp": 2, "dedn": 4, "counterfactual": 2}
LEARN = ["optimizer.lr=0.01", "trainer.max_steps=60", "trainer.val_check_interval=30"]
each_method = pytest.mark.parametrize("method", METHODS)


@each_method
def test_trains_evaluates_and_shows_its_attention(command, mini_config, tmp_path, method):
    train.run(mini_config(*METHODS[method], *LEARN))
    result = result_of(tmp_path / "run")
    assert result["scores"]["last"]["acc_czsl"] > 1.2 * result["chance"]["acc_czsl"]
    cache = ScoreCache.load(tmp_path / "run" / "scores" / "last.npz")
    assert cache.logits_ONC.shape[0] == OUTPUTS[method]
    words = [str(tmp_path / "run"), "--output", str(tmp_path / "again"), "--accelerator", "cpu"]
    code, _, err = command(evaluate, *words)
    assert (code, err) == (0, "")
    assert result_of(tmp_path / "again")["scores"]["last"] == result["scores"]["last"]
    weights = ["1", *["0"] * (OUTPUTS[method] - 1)]
    words[2] = str(tmp_path / "first")
    code, _, err = command(evaluate, *words, "--fusion", *weights)
    assert (code, err) == (0, "")
    evaluated = ScoreCache.load(tmp_path / "first" / "scores" / "last.npz")
    assert evaluated.fusion == (1.0, *[0.0] * (OUTPUTS[method] - 1))


@each_method
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(
    mini_config, tmp_path, monkeypatch, method
):
    def config(name, *overrides):
        folder = f"paths.run_dir={tmp_path / name}"
        return mini_config(*METHODS[method], folder, *overrides)

    train.run(config("whole"))
    with monkeypatch.context() as patch:
        add_callback(patch, PullPlug(8))
        with pytest.raises(PulledPlug):
            train.run(config("interrupted"))
    train.run(config("interrupted", "ckpt_path=last"))
    expected, found = (checkpoint_of(tmp_path / name) for name in ("whole", "interrupted"))
    for name, value in found["state_dict"].items():
        assert torch.equal(expected["state_dict"][name], value), name


@pytest.mark.parametrize("method", ["transzero", "transzero_pp", "counterfactual"])
def test_a_stack_of_nets_computes_what_each_computes(mini_config, method):
    nets = [made_net(mini_config, method, seed).eval() for seed in (0, 1)]
    stack = StackedNet(nets).eval()
    regions_nBRD = torch.randn(2, 5, miniature.R, miniature.D)
    together = stack(regions_nBRD)
    for seed, net in enumerate(nets):
        for ours, alone in zip(together, net(regions_nBRD[seed]), strict=True):
            torch.testing.assert_close(ours.logits_BC[seed], alone.logits_BC)


def made_net(mini_config, method, seed):
    torch.manual_seed(seed)
    cfg = mini_config(*METHODS[method])
    data = build.datamodule(cfg)
    net = build.net(cfg, data.semantics, data.visual_dim, data.grid)
    for weight in net.parameters():
        weight.data.normal_()
    return net


def test_seeds_train_together(mini_config, tmp_path):
    train.run(mini_config(*METHODS["transzero"], "protocol.seeds_in_parallel=2", "seed=0"))
    scores = [result_of(tmp_path / "run" / f"seed_{seed}")["scores"]["last"] for seed in (0, 1)]
    assert scores[0]["step"] == scores[1]["step"] == 12


@pytest.mark.fault("settings")
def test_a_net_that_cannot_be_stacked_is_refused_in_one_line(mini_config):
    with pytest.raises(ConfigError, match="cannot train several seeds at once: expected 1"):
        train.run(mini_config(*METHODS["dedn"], "protocol.seeds_in_parallel=2"))


@pytest.fixture
def family_run(tiny_run, load_config, mini_overrides):
    """Makes a run folder of a method with random weights and a tiny backbone."""
    from omegaconf import OmegaConf

    from msdn_lit.build.predictor import predictor

    def make(method):
        tiny = ["model_name=test_resnet", "pretrained=false", "weights_file=null"]
        cfg = load_config(
            *mini_overrides,
            *(f"features.backbone.{name}" for name in tiny),
            "features.name=tiny",
            "features.transform.image_size=64",
            *METHODS[method],
        )
        made = predictor(cfg)
        torch.manual_seed(0)
        weights = {f"net.{name}": torch.randn_like(w) for name, w in made.net.state_dict().items()}
        OmegaConf.resolve(cfg.paths)
        content = {"state_dict": weights, "global_step": 3}
        torch.save(content, tiny_run / "checkpoints" / "last.ckpt")
        (tiny_run / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
        return tiny_run

    return make


@each_method
def test_predictions_bundle_and_graph_say_the_same(family_run, pictures, tmp_path, method):
    run = family_run(method)
    model = msdn_lit.load(run)
    write_bundle_of_run(run, tmp_path / "bundle")
    assert read_bundle(tmp_path / "bundle").content["has_attention"]
    bundled = msdn_lit.load(tmp_path / "bundle")
    assert class_scores(bundled, pictures) == class_scores(model, pictures)
    graph = Graph(model)
    with torch.no_grad():
        logits_BC, *_ = graph(torch.from_numpy(np.stack(pictures)))
    assert len(model.fusion) == OUTPUTS[method]
    for row, found in zip(logits_BC.tolist(), model.predict(pictures, top_k=8), strict=True):
        logits = dict(zip(model.classes.names, row, strict=True))
        assert {c.name: c.score for c in found.classes} == pytest.approx(logits, rel=1e-3, abs=1e-3)
        assert "<img" in found._repr_html_()


@pytest.mark.slow
@each_method
def test_onnx_says_the_same(family_run, pictures, tmp_path, method):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    from msdn_lit.inference.publish.programs import write_onnx

    model = msdn_lit.load(family_run(method))
    write_onnx(model, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    logits_BC, *_ = session.run(None, {"pixels": np.stack(pictures)})
    for row, found in zip(logits_BC.tolist(), model.predict(pictures, top_k=8), strict=True):
        logits = dict(zip(model.classes.names, row, strict=True))
        assert {c.name: c.score for c in found.classes} == pytest.approx(logits, rel=1e-3, abs=1e-2)


def test_no_other_package_knows_a_method():
    """Texts of data/ name the repository of TransZero, from which the word vectors are."""
    names = re.compile(r"TransZero|DEDN|CounterfactualLoss")
    for folder in ("tasks", "callbacks", "data", "training", "runs", "analysis", "sweeps"):
        for path in (PACKAGE / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            used = [getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)]
            assert not [name for name in used if names.search(str(name))], path
