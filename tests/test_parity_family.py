"""TransZero, TransZero++ and DEDN against golden numbers of their released code.

`MSDN_GOLDEN` names another folder of such files. Errors are relative to the largest value of an
array, and of gradients to the largest gradient of the model.
"""

import pytest
import torch

from tests.golden_family import DEDNS, TRANSZERO, DEDNCase, TransZeroCase

CASES = {path.stem: (TransZeroCase, path) for path in TRANSZERO}
CASES |= {path.stem: (DEDNCase, path) for path in DEDNS}
WITH_DROPOUT = [path.stem for path in TRANSZERO]
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-6}


@pytest.fixture(params=TOLERANCES, ids=["float32", "float64"])
def dtype(request):
    return request.param


def opened(name, dtype):
    kind, path = CASES[name]
    return kind(path, dtype)


@pytest.fixture(params=CASES)
def case(request, dtype):
    return opened(request.param, dtype)


def assert_near(ours, theirs, tolerance, scale=None, least=0.0):
    ours, theirs = ours.detach().double(), torch.as_tensor(theirs).double()
    assert ours.shape == theirs.shape
    scale = theirs.abs().max() if scale is None else scale
    error = (ours - theirs).abs().max()
    assert error <= max(tolerance * scale, least), f"{error / scale:.1e} of the largest value"


def test_there_are_three_golden_cases_of_each_method():
    assert len(TRANSZERO) == 6
    assert len(DEDNS) == 3


def test_outputs_at_step_0(case, dtype):
    g, near = case.golden, TOLERANCES[dtype]
    outputs, _ = case.step(0)
    for key, logits_BC, scores_BK in named_outputs(case, outputs):
        assert_near(logits_BC + case.margin_C(), g[f"step0.logits{key}"], near)
        assert_near(scores_BK, g[f"step0.attribute_scores{key}"], near)
    for name, output in zip(case.net.output_names, outputs, strict=True):
        for key in ("step0.attention", f"step0.{name}.attention"):
            if key in g:
                wanted = g[key].transpose(1, 2) if "visual_to_attribute" in key else g[key]
                assert_near(output.attention_BKR, wanted, near)


def named_outputs(case, outputs):
    """Golden suffix, logits and scores: DEDN's golden numbers are sums of both branches."""
    if isinstance(case, DEDNCase):
        for name, pair in (("_coarse", outputs[:2]), ("_fine", outputs[2:])):
            logits = sum(output.logits_BC for output in pair)
            yield name, logits, sum(output.attribute_scores_BK for output in pair)
    else:
        for name, output in zip(case.net.output_names, outputs, strict=True):
            suffix = f"_{name}" if len(outputs) > 1 else ""
            yield suffix, output.logits_BC, output.attribute_scores_BK


def test_loss_at_step_0(case, dtype):
    g, near = case.golden, TOLERANCES[dtype]
    _, terms = case.step(0)
    weights = torch.tensor([1.0, case.number("lambda_v2a")] if "lambda_v2a" in g else [1.0, 1.0])
    for term in ("cross_entropy", "self_calibration", "regression", "alignment", "distillation"):
        if f"step0.{term}" in g:
            theirs = g[f"step0.{term}"].double()
            theirs = (theirs * weights).sum() if theirs.ndim else theirs
            assert_near(getattr(terms, term), theirs, near, least=1e-6)
    for term in ("score_agreement", "logit_agreement"):
        if f"step0.{term}" in g:
            assert_near(getattr(terms, term), g[f"step0.{term}"], near)
    assert_near(terms.loss, g["step0.loss"], near)


def test_gradients_at_step_0(case, dtype):
    case.step(0)[1].loss.backward()
    ours = case.weights(lambda parameter: parameter.grad)
    scale = max(case.golden[f"step0.grad.{name}"].abs().max() for name in ours)
    for name, gradient in ours.items():
        theirs = case.golden[f"step0.grad.{name}"].reshape(gradient.shape)
        assert_near(gradient, theirs, TOLERANCES[dtype], scale)


def test_trajectory_and_prediction(case):
    g, losses = case.golden, []
    for index in range(len(g["labels"])):
        loss = case.step(index)[1].loss
        case.optimizer.zero_grad()
        loss.backward()
        case.optimizer.step()
        losses.append(loss.detach())
    assert_near(torch.stack(losses), g["trajectory.loss"], 1e-4)
    for name, weight in case.weights(lambda parameter: parameter.data).items():
        theirs = g[f"final.{name}"].reshape(weight.shape)
        rows = [row for row in range(len(weight)) if not is_key_bias(name, row, len(weight))]
        if rows:
            assert_near(weight[rows], theirs[rows], 1e-4)
    assert_predictions(case, 1e-4)


def is_key_bias(name, row, rows):
    """Whether it is a bias of keys, to which softmax is blind: Adam turns its noise into steps."""
    if name.endswith("encoder.key.bias"):
        return True
    return name.endswith("in_bias") and rows // 3 <= row < 2 * rows // 3


def test_prediction_with_the_final_weights_of_the_release(case, dtype):
    case.load_weights("final")
    assert_predictions(case, TOLERANCES[dtype])


def assert_predictions(case, tolerance):
    g = case.golden
    fused_BC = case.fused(g["eval.feature_maps"])
    theirs = g["eval.fused_logits"] if "eval.fused_logits" in g else g["eval.logits"]
    assert_near(fused_BC, theirs, tolerance)
    wanted = g["eval.gzsl_prediction"].tolist(), g["eval.czsl_prediction"].tolist()
    assert case.predictions(fused_BC) == wanted


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_a_training_forward_with_the_recorded_dropout(name, dtype):
    case = opened(name, dtype)
    sites = case.install_masks()
    per_subnet = 11 if case.golden["self_attention"] else 9
    assert len(sites) == per_subnet * len(case.net.subnets)
    outputs, terms = case.step(0)
    g, near = case.golden, TOLERANCES[dtype]
    assert_near(terms.loss, g["dropout.loss"], near)
    for key, logits_BC, scores_BK in named_outputs(case, outputs):
        assert_near(logits_BC + case.margin_C(), g[f"dropout.logits{key}"], near)
        assert_near(scores_BK, g[f"dropout.attribute_scores{key}"], near)


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_the_geometry_code(name, dtype):
    case = opened(name, dtype)
    code_HWP = case.golden["geometry.code"]
    for subnet in case.net.subnets.values():
        ours_HWP = subnet.encoder.geometry_RRP[:, 0].reshape(code_HWP.shape)
        assert_near(ours_HWP, code_HWP, TOLERANCES[dtype])
