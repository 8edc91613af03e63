"""The release form against golden numbers of the authors' code; MSDN_GOLDEN names their folder."""

from functools import partial

import pytest
import torch

from msdn_lit.losses import functional as terms
from tests.golden import GOLDEN, Case


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
    logits = [output.logits_BC for output in outputs]
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
