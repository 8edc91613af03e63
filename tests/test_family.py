"""TransZero, TransZero++, DEDN and counterfactual attention: formulas against loops."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from msdn_lit.errors import ConfigError
from msdn_lit.losses import (
    CounterfactualLoss,
    DEDNLoss,
    MSDNLoss,
    TransZeroLoss,
    agreement,
    attribute_regression,
    cross_entropy_with_margins,
    mutual_distillation,
)
from msdn_lit.losses.counterfactual import INTERVENTIONS
from msdn_lit.models import (
    DEDN,
    MSDN,
    AttributeToVisualTransformer,
    BilinearCompatibility,
    TransZero,
    VisualToAttributeTransformer,
)
from msdn_lit.models.groups import attribute_groups
from msdn_lit.models.transformer import Attention, geometry_code

B, H, W, D, K, E, C = 4, 2, 3, 5, 6, 4, 7
R = H * W
SEEN, UNSEEN = torch.tensor([0, 2, 3, 5]), torch.tensor([1, 4, 6])
GROUPS = {"first": "0-1, 4", "second": "rest"}
close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def semantics():
    return torch.randn(K, E), torch.rand(C, K)


def regions():
    return torch.rand(B, R, D)


def labels():
    return SEEN[torch.randint(0, len(SEEN), (B,))]


def dedn(**settings):
    net = DEDN(*semantics(), D, grid=(H, W), **settings)
    for weight in net.parameters():
        weight.data.normal_()
    return net


def transzero(both=False, dropout=0.4):
    def make(kind):
        return lambda *sizes: kind(*sizes, dim=8, ffn_dim=8, dropout=dropout)

    subnets = {"attribute_to_visual": make(AttributeToVisualTransformer)}
    if both:
        subnets["visual_to_attribute"] = make(VisualToAttributeTransformer)
    net = TransZero(*semantics(), D, grid=(H, W), subnets=subnets)
    for weight in net.parameters():
        weight.data.normal_()
    return net


class TestLosses:
    def test_attribute_regression_is_the_mean_over_images_and_attributes(self):
        scores_BK, labels_B, values_CK = torch.randn(B, K), labels(), torch.rand(C, K)
        total = sum(
            float(scores_BK[b, k] - values_CK[labels_B[b], k]) ** 2
            for b in range(B)
            for k in range(K)
        )
        found = attribute_regression(scores_BK, labels_B, values_CK)
        assert float(found) == pytest.approx(total / (B * K), rel=1e-5)

    def test_agreement_is_the_mean_squared_difference(self):
        first, second = torch.randn(2, B, C)
        total = sum(float(first[b, c] - second[b, c]) ** 2 for b in range(B) for c in range(C))
        assert float(agreement(first, second)) == pytest.approx(total / (B * C), rel=1e-5)

    def test_cross_entropy_with_margins(self):
        logits_BC, labels_B = torch.randn(B, C), labels()
        total = 0.0
        for b in range(B):
            shifted = logits_BC[b].tolist()
            for c in SEEN.tolist():
                shifted[c] += 1.5
            shifted[labels_B[b]] -= 4.0
            total -= shifted[labels_B[b]] - math.log(sum(map(math.exp, shifted)))
        margins = {"seen_margin": 1.5, "label_margin": 4.0}
        found = cross_entropy_with_margins(logits_BC, labels_B, SEEN, UNSEEN, **margins)
        assert float(found) == pytest.approx(total / B, rel=1e-5)

    def test_terms_of_transzero_pp_are_weighted_sums(self):
        outputs, labels_B = transzero(both=True).eval()(regions()), labels()
        values_CK = torch.rand(C, K)
        weights = {"lambda_cal": 0.2, "lambda_reg": 0.3, "lambda_score": 0.4, "lambda_logit": 0.5}

        def loss(outputs, **more):
            made = TransZeroLoss(SEEN, UNSEEN, class_attributes=values_CK, **(weights | more))
            return made(outputs, labels_B)

        both = loss(outputs, subnet_weights=(1.0, 0.25))
        alone = [loss([output]).loss for output in outputs]
        close(both.score_agreement, agreement(*(o.attribute_scores_BK for o in outputs)))
        close(both.logit_agreement, agreement(*(o.logits_BC for o in outputs)))
        wanted = (
            alone[0] + 0.25 * alone[1] + 0.4 * both.score_agreement + 0.5 * both.logit_agreement
        )
        close(both.loss, wanted)

    def test_alignment_of_dedn_compares_the_branches_of_each_expert(self):
        outputs, labels_B = dedn(groups=GROUPS)(regions()), labels()
        terms = DEDNLoss(SEEN, UNSEEN, lambda_cal=0.7)(outputs, labels_B)
        scores = [output.attribute_scores_BK for output in outputs]
        wanted = mutual_distillation(*scores[:2]) + mutual_distillation(*scores[2:])
        close(terms.alignment, wanted)
        swapped = [outputs[1], outputs[0], outputs[3], outputs[2]]  # sums do not see the order
        close(DEDNLoss(SEEN, UNSEEN, lambda_cal=0.7)(swapped, labels_B).loss, terms.loss)

    def test_dedn_is_finite_where_both_experts_agree(self):
        output = MSDN(*semantics(), D)(regions())[0]
        terms = DEDNLoss(SEEN, UNSEEN)([output] * 4, labels())
        terms.loss.backward()
        assert terms.distillation.item() == 0
        assert torch.isfinite(terms.loss)

    @pytest.mark.fault("settings")
    def test_a_loss_that_does_not_fit_the_net(self):
        outputs = MSDN(*semantics(), D)(regions())
        with pytest.raises(ConfigError, match="two experts"):
            DEDNLoss(SEEN, UNSEEN)(outputs, labels())
        loss = TransZeroLoss(SEEN, UNSEEN, class_attributes=torch.rand(C, K))
        with pytest.raises(ConfigError, match=r"subnet_weights is wrong: expected 2 numbers"):
            loss(outputs, labels())


class TestTransformers:
    def test_the_geometry_code_of_a_grid_that_is_not_square(self):
        code = geometry_code(H, W).reshape(H, W, H, W, 64)
        for place in ((0, 0, 1, 2), (1, 0, 0, 0), (0, 1, 0, 1)):
            row, column, other_row, other_column = place
            offsets = [
                math.log(max(abs(row - other_row) / (H + 1), 1e-3)),
                math.log(max(abs(column - other_column) / (W + 1), 1e-3)),
                0.0,
                0.0,
            ]
            phases = [100 * u * 1000 ** (-j / 8) for u in offsets for j in range(8)]
            wanted = [*map(math.sin, phases), *map(math.cos, phases)]
            close(code[place], torch.tensor(wanted), rtol=0, atol=1e-6)

    def test_attention_equals_loops(self):
        layer, queries, tokens = Attention(4, 0.0, stacked=True), torch.randn(2, 3, 4), None
        for weight in layer.parameters():
            weight.data.normal_()
        tokens, bias = torch.randn(2, 5, 4), torch.rand(3, 5)
        found, attention = layer.eval()(queries, tokens, 2, bias)
        for b in range(2):
            for q in range(3):
                query = layer.query(queries[b, q])
                keys = [layer.key(tokens[b, t]) for t in range(5)]
                products = [(query @ keys[t] / 2 - bias[q, t]).item() for t in range(5)]
                weights = torch.tensor(products).softmax(dim=0)
                mixed = sum(weights[t] * layer.value(tokens[b, t]) for t in range(5))
                close(attention[b, q], weights)
                close(found[b, q], layer.output(mixed), rtol=1e-4, atol=1e-5)

    def test_tokens_that_all_images_share_are_computed_once_to_the_same_result(self):
        layer, tokens = Attention(4, 0.0, stacked=True).eval(), torch.randn(1, 5, 4)
        queries = torch.randn(3, 2, 4)
        shared, _ = layer(queries, tokens, 3)
        repeated, _ = layer(queries, tokens.expand(3, -1, -1).contiguous(), 3)
        close(shared, repeated)

    def test_dropout_differs_between_images_and_is_off_in_evaluation(self):
        net, image_1RD = transzero(both=True), torch.rand(1, R, D).expand(2, -1, -1)
        for output in net.train()(image_1RD):
            assert not torch.equal(*output.attribute_scores_BK)
        for output in net.eval()(image_1RD):
            close(*output.attribute_scores_BK)

    def test_attention_sums_to_one(self):
        first, second = transzero(both=True).eval()(regions())
        assert first.attention_BKR.shape == second.attention_BKR.shape == (B, K, R)
        close(first.attention_BKR.sum(dim=2), torch.ones(B, K))
        close(second.attention_BKR.sum(dim=1), torch.ones(B, R))

    def test_the_second_subnet_starts_at_zero(self):
        kind = VisualToAttributeTransformer
        net = TransZero(*semantics(), D, grid=(H, W), subnets={"visual_to_attribute": kind})
        (output,) = net.eval()(regions())
        assert not output.attribute_scores_BK.any()


class TestDEDN:
    @pytest.mark.parametrize("inner", [None, 3])
    def test_outputs_equal_loops(self, inner):
        net, regions_BRD = dedn(groups=GROUPS, inner_dim=inner), regions()
        outputs = net(regions_BRD)
        unit_BRD = normalize(regions_BRD, dim=2)
        tables = ([range(K)], attribute_groups(GROUPS, K))
        for e, (expert, groups) in enumerate(zip(net.experts, tables, strict=True)):
            for j, group in enumerate(groups):
                W_1 = expert.region_values[0][j]
                W_1 = W_1 @ expert.region_values[1][j] if inner else W_1
                matrices = (W_1, expert.region_keys_JED[j])
                channel = (expert.channel_values_JER[j], expert.channel_keys_JER[j])
                for b in range(B):
                    for k in group:
                        a_E = expert.attribute_vectors_KE[k]
                        region = self.attended(a_E, matrices, unit_BRD[b])
                        close(
                            outputs[2 * e].attribute_scores_BK[b, k], region, rtol=1e-4, atol=1e-5
                        )
                        channels = self.attended(a_E, channel, unit_BRD[b].T)
                        found = outputs[2 * e + 1].attribute_scores_BK[b, k]
                        close(found, channels, rtol=1e-4, atol=1e-5)

    def attended(self, a_E, matrices, places):
        values, keys = ([a_E @ matrix @ place for place in places] for matrix in matrices)
        weights = torch.stack(keys).softmax(dim=0)
        return (weights * torch.stack(values)).sum()

    def test_each_expert_has_its_own_attribute_vectors(self):
        net = DEDN(*semantics(), D, grid=(H, W), groups=GROUPS)
        coarse, fine = net.experts
        assert coarse.attribute_vectors_KE is not fine.attribute_vectors_KE
        close(coarse.attribute_vectors_KE, fine.attribute_vectors_KE)

    @pytest.mark.fault("settings")
    @pytest.mark.parametrize(
        "table",
        [
            {"a": "0-4"},
            {"a": "0-5", "b": "5"},
            {"a": "0-6"},
            {"a": "x", "b": "rest"},
            {"a": "5-0"},
            {"a": "0-9-5"},
        ],
    )
    def test_wrong_groups(self, table):
        with pytest.raises(ConfigError, match=r"model\.groups is wrong"):
            attribute_groups(table, 6)

    def test_groups_of_indices_ranges_and_the_rest(self):
        assert attribute_groups({"a": "rest", "b": "1-2, 5"}, 6) == [[0, 3, 4], [1, 2, 5]]


class TestCounterfactual:
    def test_without_weight_it_is_the_loss_of_msdn(self):
        outputs, labels_B = MSDN(*semantics(), D)(regions()), labels()
        classes_CK = torch.rand(C, K)
        made = CounterfactualLoss(SEEN, UNSEEN, class_attributes=classes_CK, lambda_causal=0.0)
        plain = MSDNLoss(SEEN, UNSEEN)(outputs, labels_B)
        close(made(outputs, labels_B)[:4], plain)

    def test_uniform_attention_has_no_effect_against_the_uniform_intervention(self):
        net, labels_B = MSDN(*semantics(), D), labels()
        outputs = net(regions())  # a new net attends uniformly
        made = CounterfactualLoss(SEEN, UNSEEN, class_attributes=torch.rand(C, K))
        effects = [made._effect(output) for output in outputs]
        for effect_BK in effects:
            close(effect_BK, torch.zeros(B, K), rtol=0, atol=1e-5)
        close(made(outputs, labels_B).effect, torch.tensor(2 * math.log(C)))

    @pytest.mark.parametrize("name", INTERVENTIONS)
    @pytest.mark.parametrize("axis", [1, 2])
    def test_interventions_are_normalised_as_the_attention_is(self, name, axis):
        attention_BKR = torch.rand(B, K, R).softmax(dim=axis)
        sums = INTERVENTIONS[name](attention_BKR).expand(B, K, R).sum(dim=axis)
        close(sums, torch.ones_like(sums))

    def test_interventions_are_what_their_names_say(self):
        attention_BKR = torch.rand(B, K, R).softmax(dim=2)
        uniform = INTERVENTIONS["uniform"](attention_BKR)
        close(uniform.expand(B, K, R), torch.full((B, K, R), 1 / R))
        over_attributes = torch.rand(B, K, R).softmax(dim=1)
        uniform = INTERVENTIONS["uniform"](over_attributes)
        close(uniform.expand(B, K, R), torch.full((B, K, R), 1 / K))
        close(INTERVENTIONS["shuffled"](attention_BKR)[1], attention_BKR[0])
        reversed_BKR = INTERVENTIONS["reversed"](attention_BKR)
        assert (reversed_BKR.argmax(dim=2) == attention_BKR.argmin(dim=2)).all()

    @pytest.mark.parametrize("name", ["uniform", "shuffled", "reversed"])
    def test_effect_equals_loops_and_the_counterfactual_has_no_gradient(self, name):
        net = MSDN(*semantics(), D)
        for weight in net.parameters():
            weight.data.normal_()
        made = CounterfactualLoss(
            SEEN, UNSEEN, class_attributes=torch.rand(C, K), intervention=name
        )
        for output in net(regions()):
            attention, values = output.attention_BKR, output.values_BKR
            other = INTERVENTIONS[name](attention.detach()).expand(B, K, R)
            wanted = torch.stack(
                [
                    torch.stack(
                        [
                            sum(
                                (attention[b, k, r] - other[b, k, r]) * values[b, k, r]
                                for r in range(R)
                            )
                            for k in range(K)
                        ]
                    )
                    for b in range(B)
                ]
            )
            close(made._effect(output), wanted, rtol=1e-4, atol=1e-4)
            found, loops = (
                torch.autograd.grad(effect.sum(), net.attribute_vectors_KE, retain_graph=True)[0]
                for effect in (made._effect(output), wanted)
            )
            close(found, loops, rtol=1e-3, atol=1e-3)

    @pytest.mark.fault("settings")
    def test_wrong_intervention_and_nets_without_weighted_sums(self):
        with pytest.raises(ConfigError, match="expected uniform, random, shuffled, reversed"):
            CounterfactualLoss(SEEN, UNSEEN, class_attributes=torch.rand(C, K), intervention="x")
        made = CounterfactualLoss(SEEN, UNSEEN, class_attributes=torch.rand(C, K))
        pooled = BilinearCompatibility(*semantics(), D, unit_length=False)
        for net in (pooled, transzero().eval()):
            with pytest.raises(ConfigError, match="no scores are sums weighted by attention"):
                made(net(regions()), labels())


def test_scores_with_values_are_sums_weighted_by_attention():
    for net in (MSDN(*semantics(), D), dedn(groups=GROUPS)):
        for weight in net.parameters():
            weight.data.normal_()
        for output in net(regions()):
            if output.values_BKR is not None:
                sums_BK = (output.attention_BKR * output.values_BKR).sum(dim=2)
                close(sums_BK, output.attribute_scores_BK)
