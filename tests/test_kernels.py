"""What a step asks of the device: how many operations, compiled how often."""

from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

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
