"""The ranking losses of ALE, SJE and DeViSE against loops, finite differences and limits."""

from functools import partial

import pytest
import torch

from msdn_lit.losses import ranking
from tests.helpers import numeric_gradient, outputs_of

B, C = 4, 9
SEEN, UNSEEN = [5, 0, 2, 7], [6, 1, 8]  # 3 and 4 are neither
ROLES = torch.tensor(SEEN), torch.tensor(UNSEEN)
LABELS = [0, 7, 5, 0]
every_ranking = pytest.mark.parametrize("name", ["ale", "sje", "devise"])


def make_logits(seed=0):
    return torch.randn(B, C, generator=torch.Generator().manual_seed(seed))


def loop_hinges(row, label, margin):
    return [max(0.0, margin + row[c] - row[label]) for c in SEEN if c != label]


def loop_devise(row, label, margin):
    return sum(loop_hinges(row, label, margin))


def loop_sje(row, label, margin):
    return max(loop_hinges(row, label, margin))


def loop_ale(row, label, margin):
    hinges = loop_hinges(row, label, margin)
    rank = sum(hinge > 0 for hinge in hinges)
    return sum(1 / i for i in range(1, rank + 1)) / rank * sum(hinges) if rank else 0.0


LOOPS = {"ale": loop_ale, "sje": loop_sje, "devise": loop_devise}


def loop_ranking(name, logits, margin):
    return (
        sum(LOOPS[name](row, label, margin) for row, label in zip(logits, LABELS, strict=True)) / B
    )


def call_ranking(name, logits_BC, margin=1.0):
    return getattr(ranking, name)(logits_BC, torch.tensor(LABELS), ROLES[0], margin=margin)


@every_ranking
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("margin", [0.1, 1.0, 4.0])
def test_ranking_loss_equals_loops(name, scale, margin):
    logits_BC = scale * make_logits()
    assert call_ranking(name, logits_BC, margin).item() == pytest.approx(
        loop_ranking(name, logits_BC.detach().double().numpy(), margin)
    )


@every_ranking
def test_ranking_loss_has_the_gradient_of_the_loops(name):
    logits_BC = make_logits().requires_grad_()
    call_ranking(name, logits_BC).backward()
    (expected,) = numeric_gradient(
        lambda arrays: loop_ranking(name, arrays[0], 1.0),
        [logits_BC.detach().double().numpy().copy()],
    )
    torch.testing.assert_close(
        logits_BC.grad.double(), torch.tensor(expected), rtol=1e-4, atol=1e-5
    )


@every_ranking
def test_only_seen_classes_have_an_effect(name):
    logits_BC = make_logits().requires_grad_()
    not_seen = [c for c in range(C) if c not in SEEN]
    changed_BC = logits_BC.detach().clone()
    changed_BC[:, not_seen] += 1e3
    value = call_ranking(name, logits_BC)
    value.backward()
    assert torch.equal(value, call_ranking(name, changed_BC))
    assert not logits_BC.grad[:, not_seen].any()


@every_ranking
def test_the_loss_is_zero_when_the_label_leads_by_the_margin(name):
    logits_BC = (2 * torch.eye(C)[LABELS]).requires_grad_()
    value = call_ranking(name, logits_BC)
    value.backward()
    assert value == 0
    assert not logits_BC.grad.any()


def test_ranking_losses_of_equal_logits():
    zeros = torch.zeros(B, C)  # each of the three other seen classes violates the whole margin
    assert call_ranking("devise", zeros, 2.0).item() == pytest.approx(3 * 2)
    assert call_ranking("sje", zeros, 2.0).item() == pytest.approx(2)
    assert call_ranking("ale", zeros, 2.0).item() == pytest.approx((1 + 1 / 2 + 1 / 3) / 3 * 3 * 2)


@every_ranking
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ranking_loss_of_half_precision_and_extreme_logits_is_finite(name, dtype):
    logits_BC = (1e4 * make_logits().sign()).to(dtype).requires_grad_()
    value = call_ranking(name, logits_BC)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert logits_BC.grad.isfinite().all()


def test_ranking_loss_module_sums_over_subnets():
    loss = ranking.RankingLoss(*ROLES, ranking=partial(ranking.ale, margin=1.0))
    logits = [make_logits(), make_logits(1)]
    terms = loss(outputs_of(*logits), torch.tensor(LABELS))
    assert terms._fields == ("loss",)
    assert terms.loss == sum(call_ranking("ale", logits_BC) for logits_BC in logits)
    assert not loss.state_dict()
