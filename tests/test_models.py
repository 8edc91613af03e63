"""The nets against loops, limits and invariances."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from msdn_lit.errors import ConfigError
from msdn_lit.models import MSDN, AttributeToVisual, VisualToAttribute, VisualToAttributePaper
from msdn_lit.models.attention import over_attributes, over_regions
from msdn_lit.models.base import unit_regions
from msdn_lit.models.msdn import RegionDropout
from tests import reference


class Sizes(NamedTuple):
    B: int = 3
    R: int = 4
    D: int = 5
    K: int = 6
    E: int = 7
    C: int = 8


class Form(NamedTuple):
    subnets: dict
    axes: tuple[str, str]  # axis over which each sub-net's attention sums to one
    num_matrices: int


USUAL = Sizes()
SIZES = [
    USUAL,
    Sizes(B=1),
    Sizes(R=1),
    Sizes(K=1),
    Sizes(D=1, E=1),
    Sizes(1, 1, 1, 1, 1, 1),
    Sizes(2, 3, 9, 2, 2, 3),
]
FORMS = {
    "release": Form(
        {"attribute_to_visual": AttributeToVisual, "visual_to_attribute": VisualToAttribute},
        ("regions", "attributes"),
        4,
    ),
    "paper": Form(
        {"attribute_to_visual": AttributeToVisual, "visual_to_attribute": VisualToAttributePaper},
        ("regions", "attributes"),
        5,
    ),
    "paper_printed_axes": Form(
        {
            "attribute_to_visual": partial(AttributeToVisual, attention=over_attributes),
            "visual_to_attribute": partial(VisualToAttributePaper, attention=over_regions),
        },
        ("attributes", "regions"),
        5,
    ),
}
every_form = pytest.mark.parametrize("form", FORMS)
close = partial(torch.testing.assert_close, rtol=2e-5, atol=2e-6)


def make_net(form, sizes=USUAL, scale=1.0, renormalize=False, only=None):
    """Returns a net whose weights are all random, the same in each call."""
    generator = torch.Generator().manual_seed(7)
    subnets = {name: make for name, make in FORMS[form].subnets.items() if only in (None, name)}
    net = MSDN(
        torch.randn(sizes.K, sizes.E, generator=generator),
        torch.randn(sizes.C, sizes.K, generator=generator),
        visual_dim=sizes.D,
        subnets=subnets,
        renormalize=renormalize,
    )
    with torch.no_grad():
        # attribute vectors of other lengths than one, as after training
        net.attribute_vectors_KE.mul_(1 + torch.rand(sizes.K, 1, generator=generator))
        for name, make in FORMS[form].subnets.items():
            weights_MED = torch.empty_like(make(sizes.E, sizes.D).weights_MED).normal_(
                generator=generator
            )
            if name in net.subnets:
                net.subnets[name].weights_MED.copy_(scale * weights_MED)
    return net


def make_regions(sizes=USUAL, seed=3):
    return (
        torch.rand(sizes.B, sizes.R, sizes.D, generator=torch.Generator().manual_seed(seed)) + 0.01
    )


def double(tensor):
    return tensor.detach().double().numpy()


def reference_outputs(form, net, regions_BRD):
    """Computes (logits, scores, attention) of each sub-net in loops; our weights are (E, D)."""
    V = double(net.attribute_vectors_KE)
    V = reference.unit_rows(V) if net.renormalize else V
    F = np.array([reference.unit_rows(image) for image in double(regions_BRD)])
    first, second = (double(subnet.weights_MED) for subnet in net.subnets.values())
    if form == "release":
        pairs = [
            reference.release_attribute_to_visual(V, first[0], first[1], F),
            reference.release_visual_to_attribute(V, second[0].T, second[1], F),
        ]
    else:
        over_a, over_v = FORMS[form].axes
        pairs = [
            reference.paper_attribute_to_visual(V, first[1], first[0], F, over=over_a),
            reference.paper_visual_to_attribute(
                V, second[2].T, second[0].T, second[1], F, over=over_v
            ),
        ]
    Z = double(net.class_attributes_CK)
    return [(reference.class_logits(scores, Z), scores, attention) for scores, attention in pairs]


def assert_outputs_close(actual, expected):
    for ours, theirs in zip(actual, expected, strict=True):
        for tensor, other in zip(ours[:3], theirs[:3], strict=True):  # not the values
            close(tensor, torch.as_tensor(other, dtype=torch.float32))


@every_form
@pytest.mark.parametrize("renormalize", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_net_equals_loops(form, renormalize, sizes):
    net, regions_BRD = make_net(form, sizes, renormalize=renormalize), make_regions(sizes)
    outputs = net(regions_BRD)
    assert_outputs_close(outputs, reference_outputs(form, net, regions_BRD))


def test_class_and_attribute_vectors_are_normalised_at_construction():
    vectors_KE, classes_CK = torch.randn(6, 7) * 50, torch.randn(8, 6) * 50
    net = MSDN(vectors_KE, classes_CK, 5, subnets=FORMS["release"].subnets)
    close(
        net.attribute_vectors_KE.detach(),
        torch.tensor(reference.unit_rows(vectors_KE.numpy())).float(),
    )
    close(net.class_attributes_CK, torch.tensor(reference.unit_rows(classes_CK.numpy())).float())


@every_form
def test_attention_sums_to_one_over_its_axis_and_only_that(form):
    for output, axis in zip(make_net(form)(make_regions()), FORMS[form].axes, strict=True):
        over_R, over_K = output.attention_BKR.sum(dim=2), output.attention_BKR.sum(dim=1)
        right, wrong = (over_R, over_K) if axis == "regions" else (over_K, over_R)
        close(right, torch.ones_like(right))
        assert (wrong - 1).abs().max() > 0.01


@every_form
def test_permuting_regions_permutes_attention_and_nothing_else(form):
    net, regions_BRD = make_net(form), make_regions()
    order = [2, 0, 3, 1]
    expected = [
        (logits, scores, attention[:, :, order])
        for logits, scores, attention, _ in net(regions_BRD)
    ]
    assert_outputs_close(net(regions_BRD[:, order]), expected)


@every_form
def test_outputs_of_an_image_do_not_depend_on_its_batch(form):
    net, regions_BRD = make_net(form), make_regions()
    alone = [net(image_RD[None]) for image_RD in regions_BRD]
    for subnet, output in enumerate(net(regions_BRD)):
        for field, tensor in enumerate(output[:3]):
            close(tensor, torch.cat([outputs[subnet][field] for outputs in alone]))


@every_form
def test_outputs_do_not_depend_on_the_length_of_a_region(form):
    net, regions_BRD = make_net(form), make_regions()
    scales = torch.logspace(-5, 5, regions_BRD[..., 0].numel()).reshape(*regions_BRD.shape[:2], 1)
    assert_outputs_close(net(regions_BRD * scales), net(regions_BRD))


@every_form
@pytest.mark.parametrize("renormalize", [False, True])
def test_renormalize_keeps_only_the_direction_of_attribute_vectors(form, renormalize):
    net, regions_BRD = make_net(form, renormalize=renormalize), make_regions()
    before = net(regions_BRD)
    with torch.no_grad():
        net.attribute_vectors_KE.mul_(3.0)
    after = net(regions_BRD)
    same = [
        torch.allclose(a.logits_BC, b.logits_BC, rtol=1e-4)
        for a, b in zip(before, after, strict=True)
    ]
    assert same == [renormalize, renormalize]


@every_form
@pytest.mark.parametrize("index", [0, 1])
def test_a_subnet_alone_computes_the_same_as_in_the_pair(form, index):
    name = list(FORMS[form].subnets)[index]
    alone = make_net(form, only=name)(make_regions())
    assert_outputs_close(alone, [make_net(form)(make_regions())[index]])


def test_outputs_have_the_order_of_the_subnets():
    net = make_net("release")
    swapped = MSDN(
        torch.ones(6, 7),
        torch.ones(8, 6),
        5,
        subnets=dict(reversed(FORMS["release"].subnets.items())),
    )
    swapped.load_state_dict(net.state_dict())
    swapped.class_attributes_CK.copy_(net.class_attributes_CK)
    assert_outputs_close(swapped(make_regions()), net(make_regions())[::-1])


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("has_gradient", [False, True])
def test_unit_regions_equal_those_of_torch_and_leave_their_input(name, has_gradient):
    regions_BRD = torch.randn(3, 4, 5).to(getattr(torch, name))
    regions_BRD[0, 1] = 0
    before = regions_BRD.clone()
    wide = torch.float64 if name == "float64" else torch.float32
    expected_BRD = torch.nn.functional.normalize(before.to(wide), dim=2)

    unit_BRD = unit_regions(regions_BRD.requires_grad_(has_gradient))

    assert unit_BRD.dtype == wide
    assert torch.equal(unit_BRD, expected_BRD)
    assert torch.equal(regions_BRD, before)
    assert unit_BRD.requires_grad == has_gradient


@every_form
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_regions_are_computed_in_float32(form, dtype):
    net, halves_BRD = make_net(form), make_regions().to(dtype)
    outputs = net(halves_BRD)
    assert all(tensor.dtype == torch.float32 for output in outputs for tensor in output[:3])
    assert_outputs_close(outputs, net(halves_BRD.float()))


def assert_finite_with_gradients(net, outputs):
    sum(output.logits_BC.sum() for output in outputs).backward()
    tensors = [tensor for output in outputs for tensor in output[:3]] + [
        p.grad for p in net.parameters()
    ]
    assert all(tensor.isfinite().all() for tensor in tensors)


@every_form
@pytest.mark.parametrize("value", [0.0, 6e-8, 65504.0], ids=["zeros", "smallest", "largest"])
def test_extreme_float16_regions_stay_finite_with_their_gradients(form, value):
    net = make_net(form)
    outputs = net(torch.full(USUAL[:3], value, dtype=torch.float16))
    assert_finite_with_gradients(net, outputs)
    # a region of zeros contributes nothing; any other constant region contributes the same
    assert (outputs[0].logits_BC.abs().max() > 0.01) == (value > 0)


@every_form
def test_huge_weights_stay_finite_with_their_gradients(form):
    net = make_net(form, scale=1e4)
    outputs = net(make_regions())
    assert max(output.logits_BC.abs().max() for output in outputs) > 1e3
    assert_finite_with_gradients(net, outputs)


@every_form
def test_parameters_are_the_matrices_and_the_attribute_vectors(form):
    net = make_net(form)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == USUAL.K * USUAL.E + FORMS[form].num_matrices * USUAL.E * USUAL.D


@every_form
def test_every_single_weight_receives_a_gradient(form):
    net = make_net(form)
    sum(output.logits_BC.square().sum() for output in net(make_regions())).backward()
    assert all((parameter.grad != 0).all() for parameter in net.parameters())


@every_form
def test_every_matrix_leaves_its_initial_value_within_two_steps(form):
    torch.manual_seed(0)
    net = MSDN(torch.randn(6, 7), torch.randn(8, 6), 5, subnets=FORMS[form].subnets)
    initial = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(output.logits_BC.logsumexp(dim=1).sum() for output in net(make_regions())).backward()
        optimizer.step()
    for parameter, before in zip(net.parameters(), initial, strict=True):
        moved = (parameter - before).abs()
        assert (moved.amax(dim=(-2, -1)) > 1e-6).all()


@pytest.mark.parametrize("R", [1, 4, 9])
def test_region_scale_multiplies_the_mean_over_regions(R):
    net, regions_BRD = make_net("release"), make_regions(Sizes(R=R))
    expected = net(regions_BRD)[1]
    net.subnets["visual_to_attribute"].region_scale = 2.5
    found = net(regions_BRD)[1]
    close(found.attribute_scores_BK, expected.attribute_scores_BK * 2.5 / R)
    close(found.logits_BC, expected.logits_BC * 2.5 / R)
    close(found.attention_BKR, expected.attention_BKR)


class TestRegionDropout:
    REGIONS_BRD = torch.arange(64 * 10).reshape(64, 10, 1).expand(-1, -1, 3)  # all different

    @pytest.mark.parametrize(("dropped", "kept"), [(0.8, 2), (0.5, 5), (0.999, 1), (0.0, 10)])
    def test_regions_are_drawn_for_each_image_without_replacement(self, dropped, kept):
        found_BR = RegionDropout(dropped)(self.REGIONS_BRD)[:, :, 0]
        assert found_BR.shape == (64, kept)
        assert (found_BR // 10 == torch.arange(64)[:, None]).all()  # from the same image
        assert all(len(set(row)) == kept for row in found_BR.tolist())
        if 1 < kept < 10:
            assert len({tuple(sorted(row)) for row in (found_BR % 10).tolist()}) > 10

    def test_all_regions_are_kept_equally_often(self):
        torch.manual_seed(0)
        counts_R = torch.bincount(RegionDropout(0.7)(self.REGIONS_BRD)[:, :, 0].flatten() % 10)
        assert counts_R.sum() == 64 * 3
        assert stats.chisquare(counts_R.numpy()).pvalue > 1e-4

    def test_evaluation_keeps_every_region(self):
        assert RegionDropout(0.8).eval()(self.REGIONS_BRD) is self.REGIONS_BRD

    def test_the_net_drops_regions_in_training_mode_only(self):
        net, regions_BRD = make_net("release"), make_regions()
        expected = net(regions_BRD)
        net.region_dropout = RegionDropout(0.5)
        assert net(regions_BRD)[0].attention_BKR.shape[2] == 2
        assert_outputs_close(
            net.eval()(regions_BRD), [[t.detach() for t in output[:3]] for output in expected]
        )

    @pytest.mark.parametrize("dropped", [-0.1, 1.0, float("nan")])
    def test_a_share_outside_0_to_1_is_refused(self, dropped):
        with pytest.raises(ConfigError, match="region_dropout is wrong"):
            RegionDropout(dropped)


def test_initial_matrices_of_the_release_are_normal_or_zero():
    torch.manual_seed(0)
    first, second = (
        make(60, 70).weights_MED.detach() for make in FORMS["release"].subnets.values()
    )
    assert abs(first[0].mean()) < 0.05
    assert abs(first[0].std() - 1) < 0.05
    assert not first[1].any()
    assert not second.any()


def test_initial_attention_is_uniform():
    net = MSDN(torch.randn(6, 7), torch.randn(8, 6), 5, subnets=FORMS["release"].subnets)
    to_visual, to_attribute = (output.attention_BKR for output in net(make_regions()))
    close(to_visual, torch.full((3, 6, 4), 1 / 4))
    close(to_attribute, torch.full((3, 6, 4), 1 / 6))


class LargestOutput(TorchDispatchMode):
    """Records the size of the largest output of any operation, including views."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numel = max([self.numel, *sizes])
        return result


@every_form
def test_nothing_of_the_size_of_batch_by_attributes_by_channels_is_built(form):
    sizes = Sizes(B=10, R=2, D=20, K=10, E=3, C=4)
    M = FORMS[form].num_matrices
    largest_needed = max(
        sizes.B * sizes.R * sizes.D, M * sizes.K * sizes.B * sizes.R, M * sizes.K * sizes.D
    )
    forbidden = sizes.B * sizes.K * sizes.D
    assert largest_needed < forbidden
    net, regions_BRD = make_net(form, sizes), make_regions(sizes)
    with LargestOutput() as record:
        outputs = net(regions_BRD)
    assert 0 < record.numel < forbidden
    with LargestOutput() as record:
        sum(output.logits_BC.sum() for output in outputs).backward()
    assert 0 < record.numel < forbidden
    with LargestOutput() as record:
        torch.einsum("bkr,brd->bkd", outputs[0].attention_BKR, regions_BRD)
    assert record.numel == forbidden
