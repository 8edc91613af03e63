"""What a step asks of the device: how many operations, compiled how often."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from msdn_lit.files import config_dir
from tests.methods import LOSSES, PAIRS, make_batch, make_task

OPERATIONS = {  # of a step without the optimizer, as counted with torch 2.15
    ("msdn", "msdn"): 150,
    ("msdn", "msdn_paper"): 101,
    ("msdn", "counterfactual"): 184,
    ("msdn_paper", "msdn_paper"): 106,
    ("attribute_to_visual", "msdn"): 57,
    ("visual_to_attribute", "msdn"): 57,
    ("dazle", "msdn"): 67,
    ("pooled", "msdn"): 46,
    ("pooled", "ale"): 47,
    ("pooled", "sje"): 39,
    ("pooled", "devise"): 35,
    ("pooled", "attributes"): 65,
    ("transzero", "transzero"): 304,
    ("transzero_pp", "transzero_pp"): 584,
    ("dedn", "dedn"): 358,
    ("dedn_cub", "dedn"): 458,
    ("dedn_sun", "dedn"): 441,
    ("dedn_sun_released", "dedn"): 441,
    ("dedn_awa2", "dedn"): 418,
}


class Operations(TorchDispatchMode):
    """Counts the operations that compute something; views compute nothing."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def test_every_net_and_loss_of_the_config_is_tried():
    for group, names in (("model", set(LOSSES)), ("loss", {loss for _, loss in PAIRS})):
        assert {path.stem for path in (config_dir() / group).glob("*.yaml")} == names


def test_the_operations_of_every_trained_method_are_counted():
    assert set(OPERATIONS) == {pair for pair in PAIRS if pair[0] != "eszsl"}


@pytest.mark.parametrize("pair", OPERATIONS, ids="-".join)
def test_a_step_takes_few_operations(load_config, pair):
    task, batch = make_task(load_config, *pair), make_batch(6)
    with Operations() as operations:
        task.loss_of_batch(*batch).loss.backward()
    assert operations.count <= 1.05 * OPERATIONS[pair]


def test_a_step_is_compiled_for_all_sizes_of_a_batch_at_once(load_config):
    torch._dynamo.reset()
    counters.clear()
    compile_step = partial(torch.compile, backend="eager", fullgraph=True)
    task = make_task(load_config, "msdn", "msdn", compile=compile_step)
    graphs = []
    for size in (7, 6, 5, 4):
        task.loss_of_batch(*make_batch(size)).loss.backward()
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs == [1, 2, 2, 2]  # the second is of any size


class OnlyOn(TorchDispatchMode):
    """Refuses operations that wait for a device, or use tensors that are not on it."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default
        result = function(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, result)) if isinstance(each, Tensor)]
        assert {each.device.type for each in tensors if each.ndim} <= {self.device}
        return result


def on_fake_gpu(tensor):
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")


def move_to_fake_gpu(task):
    """Replaces parameters, buffers and the metric's sums; call it in a FakeTensorMode."""
    for module in task.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(on_fake_gpu(weight))
        module._buffers.update(
            (name, on_fake_gpu(each)) for name, each in module._buffers.items() if each is not None
        )
    for name in task.metric._defaults:
        setattr(task.metric, name, on_fake_gpu(getattr(task.metric, name)))


@pytest.fixture
def fake_autocast():
    """Autocast of CUDA, which needs no GPU to be on."""
    before = torch.get_autocast_dtype("cuda")

    def set_autocast(precision):
        torch.set_autocast_enabled("cuda", precision is not None)
        torch.set_autocast_dtype("cuda", precision or before)

    yield set_autocast
    set_autocast(None)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_step_on_a_gpu_uses_no_other_device_and_waits_for_nothing(
    load_config, pair, fake_autocast
):
    task, batch = make_task(load_config, *pair), make_batch(6)
    with FakeTensorMode():
        move_to_fake_gpu(task)
        batch = tuple(map(on_fake_gpu, batch))
        for precision in (None, torch.bfloat16, torch.float16):
            fake_autocast(precision)
            with OnlyOn("cuda"):
                loss = task.loss_of_batch(*batch).loss
                with torch.no_grad():
                    logits_OBC = task.validation_step(batch, 0)
            assert (loss.device.type, loss.dtype) == ("cuda", torch.float32)
            assert (logits_OBC.device.type, logits_OBC.dtype) == ("cuda", torch.float32)


@pytest.mark.parametrize("pair", OPERATIONS, ids="-".join)
def test_gradients_and_updates_use_no_other_device_and_wait_for_nothing(
    load_config, pair, monkeypatch
):
    # The device without values: for "cuda", autograd asks a driver.
    task = make_task(load_config, *pair).to("meta")
    optimizer = task.configure_optimizers()
    optimizer = optimizer["optimizer"] if isinstance(optimizer, dict) else optimizer
    batch = [part.to("meta") for part in make_batch(6)]
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # has no "meta"
    with OnlyOn("meta"):
        for _ in range(2):
            optimizer.zero_grad()
            task.loss_of_batch(*batch).loss.backward()
            optimizer.step()
    assert {weight.grad.device.type for weight in task.parameters() if weight.requires_grad} == {
        "meta"
    }


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_logits_are_the_fp32_product_of_the_scores_in_bf16(load_config, pair):
    task, (regions_BRD, _) = make_task(load_config, *pair), make_batch(6)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        outputs = task.net(regions_BRD)
    for output in outputs:
        assert output.logits_BC.dtype == torch.float32
        expected = output.attribute_scores_BK.float() @ task.net.class_attributes_CK.T
        assert torch.equal(output.logits_BC, expected)
