"""The loss and its terms against loops, limits and finite differences."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msdn_lit.losses import MSDNLoss
from msdn_lit.losses import functional as terms
from tests import reference
from tests.helpers import numeric_gradient, outputs_of

B, C = 4, 9
SEEN, UNSEEN, NEITHER = [5, 0, 2, 7], [6, 1, 8], [3, 4]
LABELS = [0, 7, 5, 0]
ROLES = torch.tensor(SEEN), torch.tensor(UNSEEN)
WEIGHTS = {"lambda_cal": 0.3, "lambda_distill": 0.07}
few = settings(max_examples=20, deadline=None, derandomize=True, database=None)

# name: (number of sub-nets whose logits it takes, our function, the reference's function)
TERMS = {
    f"{kind}_{form}": (
        count,
        getattr(terms, f"{kind}_{form}"),
        getattr(reference, f"{kind}_{form}"),
    )
    for kind, count in [("cross_entropy", 1), ("self_calibration", 1), ("distillation", 2)]
    for form in ("release", "paper")
}
every_term = pytest.mark.parametrize("name", TERMS)
every_form = pytest.mark.parametrize("form", ["release", "paper"])
EXTREMES = {
    "equal": lambda logits: (logits, logits),
    "zeros": lambda logits: (0 * logits, 0 * logits),
    "differing_by_1e-20": lambda logits: (0 * logits, 1e-20 * logits.sign()),
    "differing_by_1e-12": lambda logits: (0 * logits, 1e-12 * logits),
    "differing_by_1e-6": lambda logits: (logits, logits + 1e-6 * logits.sign()),
    "opposite_1e4": lambda logits: (1e4 * logits.sign(), -1e4 * logits.sign()),
    "all_on_seen": lambda logits: (
        logits + one_hot_rows(SEEN[0], 1e4),
        logits + one_hot_rows(SEEN[1], 1e4),
    ),
    "all_on_unseen": lambda logits: (
        logits + one_hot_rows(UNSEEN[0], 1e4),
        logits - one_hot_rows(UNSEEN[0], 1e4),
    ),
}


def random_logits(scale=1.0, seed=0, count=2):
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(B, C, generator=generator) for _ in range(count)]


def one_hot_rows(c, value):
    return value * torch.eye(C)[c].expand(B, C)


def call(name, logits, roles=ROLES):
    """Computes our term from as many of the logits as it takes."""
    count, ours, _ = TERMS[name]
    labels = (torch.tensor(LABELS),) if name.startswith("cross_entropy") else ()
    return ours(*logits[:count], *labels, *roles)


def call_reference(name, logits):
    """Computes the term of the reference from as many of the logits as it takes."""
    count, _, theirs = TERMS[name]
    labels = (LABELS,) if name.startswith("cross_entropy") else ()
    return theirs(*logits[:count], *labels, SEEN, UNSEEN)


def make_loss(form, **changes):
    functions = {
        kind: getattr(terms, f"{kind}_{form}")
        for kind in ("cross_entropy", "self_calibration", "distillation")
    }
    return MSDNLoss(*ROLES, **{**functions, **WEIGHTS, "calibration": 1.0, **changes})


def assert_gradients_close(logits, numeric):
    """Compares float32 gradients with float64 differences, to 1e-4 of the largest component."""
    for ours, theirs in zip(logits, numeric, strict=True):
        gradient = ours.grad if ours.grad is not None else torch.zeros_like(ours)
        atol = 1e-4 * max(np.abs(theirs).max(), 1e-3)
        torch.testing.assert_close(gradient.double(), torch.tensor(theirs), rtol=1e-4, atol=atol)


def doubles(logits):
    return [L.detach().double().numpy().copy() for L in logits]


@every_term
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0, 300.0])
def test_term_equals_loops(name, scale):
    logits = random_logits(scale)
    # the error of float32 log-probabilities is relative to their size, and tiny logits are close
    assert call(name, logits).item() == pytest.approx(
        call_reference(name, doubles(logits)), rel=2e-5, abs=2e-7
    )


@every_term
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_term_has_the_gradient_of_the_loops(name, scale):
    logits = [L.requires_grad_() for L in random_logits(scale)]
    call(name, logits).backward()
    assert_gradients_close(logits, numeric_gradient(partial(call_reference, name), doubles(logits)))


@every_term
@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_value_and_gradient_are_finite_at_extremes(name, extreme, dtype):
    logits = [L.to(dtype).requires_grad_() for L in EXTREMES[extreme](random_logits()[0])]
    value = call(name, logits)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    # every formula would fail here if a gradient exceeded 65504, float16's largest number
    for L in logits[: TERMS[name][0]]:
        assert L.grad.isfinite().all()


@every_term
@pytest.mark.parametrize("extreme", EXTREMES)
def test_value_at_extremes_equals_loops(name, extreme):
    logits = EXTREMES[extreme](random_logits()[0])
    expected = call_reference(name, doubles(logits))
    assert call(name, logits).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@every_term
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(name, dtype):
    halves = [L.to(dtype) for L in random_logits(10.0)]
    assert torch.equal(call(name, halves), call(name, [L.float() for L in halves]))


@every_term
def test_classes_that_are_neither_seen_nor_unseen_have_no_effect(name):
    logits = [L.requires_grad_() for L in random_logits()]
    changed = [L.detach().clone() for L in logits]
    for L in changed:
        L[:, NEITHER] += torch.tensor([1e3, -50.0])
    value = call(name, logits)
    value.backward()
    assert torch.equal(value, call(name, changed))
    assert not any(L.grad[:, NEITHER].any() for L in logits if L.grad is not None)


@every_term
def test_masks_are_taken_like_ids_and_stacked_logits_one_by_one(name):
    logits, num_ids = random_logits(), max(*SEEN, *UNSEEN) + 1
    masks = [terms.class_mask(ids, num_ids) for ids in ROLES]
    swapped = [torch.stack([first, second]) for first, second in (logits, logits[::-1])]
    stacked = call(name, swapped, masks)
    alone = [call(name, each).item() for each in (logits, logits[::-1])]
    assert stacked.tolist() == pytest.approx(alone, rel=1e-6)


def test_classes_beyond_the_last_candidate_have_no_effect():
    seen, unseen, labels = [2, 0], [1], torch.tensor([0, 2, 2, 0])
    logits = random_logits()
    found = MSDNLoss(seen, unseen)(outputs_of(*logits), labels)
    expected = MSDNLoss(seen, unseen)(outputs_of(*(L[:, :3] for L in logits)), labels)
    assert [value.item() for value in found] == pytest.approx([value.item() for value in expected])


@every_term
def test_order_of_class_ids_does_not_matter(name):
    logits, reversed_roles = random_logits(), [ids.flip(0) for ids in ROLES]
    assert call(name, logits, reversed_roles).item() == pytest.approx(
        call(name, logits).item(), rel=1e-6
    )


@pytest.mark.parametrize("name", [name for name in TERMS if name != "distillation_release"])
def test_softmax_terms_ignore_a_shift_of_each_row(name):
    logits = random_logits()
    shifted = [L + torch.tensor([[3.0], [-7.0], [0.5], [11.0]]) for L in logits]
    assert call(name, shifted).item() == pytest.approx(call(name, logits).item(), rel=1e-5)


def test_logit_distance_depends_on_a_shift_of_one_subnets_logits():
    first, second = random_logits()
    assert terms.logit_distance(first + 1, second) != pytest.approx(
        terms.logit_distance(first, second).item(), rel=0.01
    )
    torch.testing.assert_close(
        terms.logit_distance(first + 1, second + 1), terms.logit_distance(first, second)
    )


@pytest.mark.parametrize("form", ["release", "paper"])
def test_self_calibration_falls_when_unseen_logits_rise(form):
    rises = torch.zeros(C)
    rises[UNSEEN] = 1.0
    values = [
        call(f"self_calibration_{form}", [random_logits()[0] + t * rises]).item()
        for t in range(-3, 4)
    ]
    assert all(later < earlier for earlier, later in pairwise(values))


def test_self_calibration_of_the_release_is_zero_when_all_probability_is_unseen():
    rises = torch.zeros(C)
    rises[UNSEEN] = 60.0
    assert call("self_calibration_release", [random_logits()[0] + rises]).item() == pytest.approx(
        0, abs=1e-6
    )


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes():
    zeros = [torch.zeros(B, C)]
    assert call("cross_entropy_release", zeros).item() == pytest.approx(
        math.log(len(SEEN) + len(UNSEEN))
    )
    assert call("cross_entropy_paper", zeros).item() == pytest.approx(math.log(len(SEEN)))


def jensen_shannon(first, second):
    return terms.jensen_shannon(first.log_softmax(dim=1), second.log_softmax(dim=1)).item()


@few
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e4))
def test_jensen_shannon_is_symmetric_and_between_0_and_log_2(seed, scale):
    first, second = random_logits(scale, seed)
    value = jensen_shannon(first, second)
    assert -1e-6 <= value <= math.log(2) + 1e-6
    assert jensen_shannon(second, first) == pytest.approx(value, abs=1e-6)
    assert value == pytest.approx(
        reference.jensen_shannon(*doubles([first, second]), range(C)), rel=1e-4, abs=1e-6
    )
    assert jensen_shannon(first, first) == pytest.approx(0, abs=1e-6)


def test_jensen_shannon_of_disjoint_distributions_is_log_2():
    assert jensen_shannon(one_hot_rows(0, 1e4), one_hot_rows(1, 1e4)) == pytest.approx(math.log(2))


@few
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_distillation_is_symmetric_and_not_negative(seed, scale):
    first, second = random_logits(scale, seed)
    for name in ("distillation_release", "distillation_paper"):
        value = call(name, (first, second)).item()
        assert value > -1e-6
        assert call(name, (second, first)).item() == pytest.approx(value, rel=1e-5, abs=1e-6)


@every_form
def test_distillation_of_equal_logits_is_zero_and_so_is_its_gradient(form):
    first = random_logits()[0].requires_grad_()
    second = first.detach().clone().requires_grad_()
    value = call(f"distillation_{form}", (first, second))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert max(first.grad.abs().max(), second.grad.abs().max()) < 1e-6


def test_logit_distance_grows_with_the_square_of_the_scale():
    first, second = random_logits()
    assert terms.logit_distance(5 * first, 5 * second) == pytest.approx(
        25 * terms.logit_distance(first, second).item()
    )


@every_form
def test_distillation_has_a_gradient_for_both_subnets(form):
    logits = [L.requires_grad_() for L in random_logits()]
    call(f"distillation_{form}", logits).backward()
    candidates = SEEN + UNSEEN
    assert all((L.grad[:, candidates].abs().amax(dim=1) > 1e-4).all() for L in logits)


@every_form
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_loss_equals_loops(form, count, gamma):
    logits = random_logits(count=count)
    actual = make_loss(form, calibration=gamma)(outputs_of(*logits), torch.tensor(LABELS))
    expected = reference.total_loss(
        form, doubles(logits), LABELS, SEEN, UNSEEN, gamma=gamma, **WEIGHTS
    )
    assert [value.item() for value in actual] == pytest.approx(expected, rel=1e-5)
    assert actual._fields == ("loss", "cross_entropy", "self_calibration", "distillation")


@every_form
def test_loss_has_the_gradient_of_the_loops(form):
    logits = [L.requires_grad_() for L in random_logits()]
    make_loss(form)(outputs_of(*logits), torch.tensor(LABELS)).loss.backward()

    def total(arrays):
        return reference.total_loss(form, arrays, LABELS, SEEN, UNSEEN, **WEIGHTS)[0]

    assert_gradients_close(logits, numeric_gradient(total, doubles(logits)))


@every_form
def test_distillation_of_one_subnet_is_zero(form):
    logits = random_logits(count=1)
    assert make_loss(form)(outputs_of(*logits), torch.tensor(LABELS)).distillation == 0


@every_form
def test_loss_does_not_change_the_logits(form):
    logits = random_logits()
    make_loss(form)(outputs_of(*logits), torch.tensor(LABELS))
    assert all(torch.equal(a, b) for a, b in zip(logits, random_logits(), strict=True))


@every_form
def test_margin_changes_self_calibration_but_not_cross_entropy(form):
    labels = torch.tensor(LABELS)
    without, calibrated = (
        make_loss(form, calibration=gamma)(outputs_of(*random_logits()), labels)
        for gamma in (0.0, 1.0)
    )
    assert torch.equal(without.cross_entropy, calibrated.cross_entropy)
    assert calibrated.self_calibration < without.self_calibration


@every_form
def test_classes_and_margins_are_buffers_that_are_not_saved(form):
    loss = make_loss(form)
    names = {"seen", "unseen", "seen_C", "unseen_C", "margin_C"}
    assert {name for name, _ in loss.named_buffers()} == names
    assert not loss.state_dict()
