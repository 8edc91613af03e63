"""Weights of the released code: golden logits from its .pth file, and refused files."""

import json
from pathlib import Path

import pytest
import torch

import msdn_lit
from msdn_lit.commands.use import export
from msdn_lit.errors import CheckpointError
from msdn_lit.runs.checkpoint import load_checkpoint
from tests import miniature
from tests.golden import GOLDEN, Case
from tests.helpers import class_scores


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def released(request, tmp_path):
    """A .pth as the released code saves it, of a golden case's final weights, and the case."""
    case = Case(request.param)
    golden = case.golden
    weights = {name: golden[f"final.{name}"] for name in ("V", "W_1", "W_2", "W_1_1", "W_2_1")}
    weights |= {"W_3": weights["W_2"], "W_3_1": weights["W_1_1"]}
    C = len(golden["class_attributes"])
    weights |= {
        "att": torch.nn.functional.normalize(golden["class_attributes"]),
        "weight_ce": torch.eye(C),
    }
    weights |= {
        "bias": torch.tensor(1),
        "mask_bias": torch.ones(1, C),
        "prob_prune": torch.tensor(0),
    }
    return case, weights, tmp_path / "release.pth"


class TestRelease:
    def test_logits_are_the_golden_ones(self, released):
        case, weights, path = released
        torch.save(weights, path)
        module = torch.nn.ModuleDict({"net": case.net})
        module.load_state_dict(load_checkpoint(path, module)["state_dict"])
        regions_BRD = case.golden["eval.feature_maps"].flatten(2).transpose(1, 2)
        seen, unseen = case.golden["seen"], case.golden["unseen"]
        with torch.no_grad():
            logits = [output.logits_BC for output in case.net(regions_BRD)]
        margin = torch.zeros(logits[0].shape[1]).index_fill(0, unseen, 1).index_fill(0, seen, -1)
        fused = sum(a * (z + margin) for a, z in zip(case.golden["fusion"], logits, strict=True))
        torch.testing.assert_close(
            fused, case.golden["eval.fused_logits"].float(), rtol=1e-5, atol=1e-5
        )

    def test_becomes_a_bundle(self, tiny_run, command, pictures, tmp_path):
        """The run's own weights under the released names, from a file that stands elsewhere."""
        ours = torch.load(tiny_run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        W_1, W_2 = ours["net.subnets.attribute_to_visual.weights_MED"]
        W_1_1, W_2_1 = ours["net.subnets.visual_to_attribute.weights_MED"]
        theirs = {
            "V": ours["net.attribute_vectors_KE"],
            "W_1": W_1,
            "W_2": W_2,
            "W_1_1": W_1_1.T,
            "W_2_1": W_2_1,
        }
        torch.save(
            {name: value.contiguous() for name, value in theirs.items()}, tmp_path / "theirs.pth"
        )
        expected = class_scores(msdn_lit.load(tiny_run), pictures)
        (tiny_run / "checkpoints" / "last.ckpt").unlink()
        released = [
            f"{tiny_run}",
            f"--output={tmp_path / 'b'}",
            f"--checkpoint={tmp_path / 'theirs.pth'}",
        ]
        assert command(export, *released)[0] == 0
        assert class_scores(msdn_lit.load(tmp_path / "b"), pictures) == expected
        origin = json.loads((tmp_path / "b" / "bundle.json").read_text())["origin"]
        assert origin == {"checkpoint": "theirs.pth", "backbone_weights": "random"}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda w: w.pop("W_2_1"), "missing: W_2_1; foreign: none"),
            (lambda w: w.update(W_4=torch.zeros(1)), "missing: none; foreign: W_4"),
            (lambda w: w["att"].mul_(0.5), "are of other classes or attributes"),
            (lambda w: w.update(att=w["att"][:-1]), "are of other classes or attributes"),
            (lambda w: w.update(V=w["V"][:-1]), "Weight V has another shape"),
            (lambda w: w.update(W_2=w["W_2"][:, :-1]), "Weight W_2 has another shape"),
            (lambda w: w.update(W_1_1=w["W_1_1"].T), "Weight W_1_1 has another shape"),
            (
                lambda w: w.update(
                    {n: w[n][..., :-1] for n in ("W_1", "W_2", "W_2_1")}
                    | {"W_1_1": w["W_1_1"][:-1]}
                ),
                "is of another model: net.subnets",
            ),
            (lambda w: w["W_1"].fill_(float("inf")), "holds NaN or infinity"),
        ],
    )
    def test_is_strict(self, released, change, message):
        case, weights, path = released
        change(weights)
        torch.save(weights, path)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path, torch.nn.ModuleDict({"net": case.net}))

    def test_a_pickle_is_refused(self, released, tmp_path):
        case, _, path = released
        torch.save({"V": miniature.Exploit(tmp_path / "made")}, path)
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_checkpoint(path, torch.nn.ModuleDict({"net": case.net}))
        assert not Path(tmp_path / "made").exists()
