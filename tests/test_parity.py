"""The release form against golden numbers of the authors' code (shared/parity; float32)."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from msdn_lit.losses import MSDNLoss
from msdn_lit.losses import functional as terms
from msdn_lit.metrics.functional import fuse, predict
from msdn_lit.models import MSDN, AttributeToVisual, VisualToAttribute

GOLDEN = sorted((Path(__file__).parent / "data").glob("release_*_like.npz"))


class Case:
    """One golden case: our net and loss, with the release's weights."""

    def __init__(self, path):
        self.golden = {
            key: torch.from_numpy(np.asarray(value)) for key, value in np.load(path).items()
        }
        g = self.golden
        self.net = MSDN(
            g["word_vectors"],
            g["class_attributes"],
            visual_dim=g["feature_maps"].shape[2],
            subnets={
                "attribute_to_visual": AttributeToVisual,
                "visual_to_attribute": VisualToAttribute,
            },
            renormalize=bool(g["normalize_word_vectors"]),
        )
        self.load_weights("init")
        self.loss = MSDNLoss(
            g["seen"],
            g["unseen"],
            cross_entropy=terms.cross_entropy_release,
            self_calibration=terms.self_calibration_release,
            distillation=terms.distillation_release,
            lambda_cal=float(g["lambda_cal"]),
            lambda_distill=float(g["lambda_distill"]),
            calibration=1.0,
        )

    def net_weights(self):
        a_to_v, v_to_a = (subnet.weights_MED for subnet in self.net.subnets.values())
        return self.net.attribute_vectors_KE, a_to_v[0], a_to_v[1], v_to_a[0], v_to_a[1]

    def pair_weights(self, weights, prefix):
        """Ours beside theirs; their W_1_1 is (D, E), all of ours are (E, D)."""
        theirs = [self.golden[f"{prefix}.{name}"] for name in ("V", "W_1", "W_2", "W_1_1", "W_2_1")]
        theirs[3] = theirs[3].T
        return list(zip(weights, theirs, strict=True))

    @torch.no_grad()
    def load_weights(self, prefix):
        for ours, theirs in self.pair_weights(self.net_weights(), prefix):
            assert ours.shape == theirs.shape
            ours.copy_(theirs)

    def logits(self, outputs):
        return [output.logits_BC for output in outputs]

    def step(self, index):
        regions_BRD = self.golden["feature_maps"][index].flatten(2).transpose(1, 2)
        outputs = self.net(regions_BRD)
        return outputs, self.loss(self.logits(outputs), self.golden["labels"][index])

    @torch.no_grad()
    def fused(self):
        g = self.golden
        outputs = self.net(g["eval.feature_maps"].flatten(2).transpose(1, 2))
        return fuse(outputs, g["fusion"].tolist(), g["unseen"], calibration=1.0)

    def assert_predictions_equal(self, fused_BC):
        g = self.golden
        assert (
            predict(fused_BC, torch.cat([g["seen"], g["unseen"]])).tolist()
            == g["eval.gzsl_prediction"].tolist()
        )
        assert predict(fused_BC, g["unseen"]).tolist() == g["eval.czsl_prediction"].tolist()


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def case(request):
    torch.manual_seed(0)
    return Case(request.param)


close = partial(torch.testing.assert_close, rtol=1e-5, atol=0)
# Logits near zero are differences of terms of size 1; 1e-6 is 8 float32 steps at 1.
close_logits = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)


def close_to_scale(ours, theirs):
    """1e-5 of the largest component: small ones are sums over the batch that cancel."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())


def test_there_are_three_golden_cases():
    assert len(GOLDEN) == 3


def test_forward_and_losses_at_step_0(case):
    g = case.golden
    outputs, loss = case.step(0)
    margin_C = torch.full((len(g["class_attributes"]),), -1.0)
    margin_C[g["unseen"]] = 1.0
    logits = case.logits(outputs)
    close_logits(logits[0] + margin_C, g["step0.logits_attribute_to_visual"])
    close_logits(logits[1] + margin_C, g["step0.logits_visual_to_attribute"])
    close(outputs[0].attention_BKR, g["step0.attention_attribute_to_visual"])
    roles = g["seen"], g["unseen"]
    for index, logits_BC in enumerate(logits):
        close(
            terms.cross_entropy_release(logits_BC, g["labels"][0], *roles),
            g["step0.cross_entropy"][index],
        )
        close(
            terms.self_calibration_release(logits_BC + margin_C, *roles),
            g["step0.self_calibration"][index],
        )
    close(loss.cross_entropy, g["step0.cross_entropy"].sum())
    close(loss.self_calibration, g["step0.self_calibration"].sum())
    close(loss.distillation, g["step0.distillation"])
    close(loss.loss, g["step0.loss"])


def test_gradients_at_step_0(case):
    case.step(0)[1].loss.backward()
    V_KE, *_ = case.net_weights()
    a_to_v, v_to_a = (subnet.weights_MED.grad for subnet in case.net.subnets.values())
    for ours, theirs in case.pair_weights((V_KE.grad, *a_to_v, *v_to_a), "step0.grad"):
        close_to_scale(ours, theirs)


def test_prediction_with_the_final_weights_of_the_release(case):
    case.load_weights("final")
    fused_BC = case.fused()
    close_logits(fused_BC, case.golden["eval.fused_logits"])
    case.assert_predictions_equal(fused_BC)


def test_trajectory_and_prediction(case):
    g = case.golden
    optimizer = torch.optim.RMSprop(
        case.net.parameters(),
        lr=float(g["lr"]),
        momentum=float(g["momentum"]),
        weight_decay=float(g["weight_decay"]),
    )
    losses = []
    for index in range(len(g["labels"])):
        loss = case.step(index)[1].loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    torch.testing.assert_close(torch.stack(losses), g["trajectory.loss"], rtol=1e-4, atol=0)
    for ours, theirs in case.pair_weights(case.net_weights(), "final"):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-4, atol=1e-4)
    fused_BC = case.fused()
    torch.testing.assert_close(fused_BC, g["eval.fused_logits"], rtol=1e-4, atol=1e-4)
    case.assert_predictions_equal(fused_BC)
