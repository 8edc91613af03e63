"""compile=cuda_graph: what is recorded, and that a training stays what it is without it.

Without a GPU a stand-in records nothing and calls the module as the graphs would run it.
"""

import pytest
import torch
from torch.utils._pytree import tree_flatten

from msdn_lit.commands.train import train
from msdn_lit.errors import ConfigError
from msdn_lit.tasks import CUDAGraph, cuda_graph
from tests.helpers import weights_of
from tests.methods import PAIRS, make_batch, make_task

HAS_GPU = torch.cuda.is_available()
TRAINED = [pair for pair in PAIRS if pair[0] != "eszsl"]


def stand_in(module, inputs, *, allow_unused_input):
    """As `torch.cuda.make_graphed_callables`: warms up, then computes with its own inputs."""
    assert allow_unused_input
    assert not torch.is_autocast_cache_enabled()
    assert all(isinstance(part, torch.Tensor) for part in inputs)
    forward, parameters = module.forward, tuple(module.parameters())
    assert not any(buffer.requires_grad for buffer in module.buffers())
    for _ in range(3):
        outputs = [each for each in forward(*inputs) if each.requires_grad]
        torch.autograd.grad(outputs, parameters, outputs, allow_unused=True)

    def replay(*batch):
        for own, part in zip(inputs, batch, strict=True):
            own.copy_(part)
        return forward(*inputs)

    module.forward = replay
    return module


@pytest.fixture
def recorded(monkeypatch):
    """Counts the recordings of the stand-in."""
    recordings = []

    def record(*arguments, **options):
        recordings.append(arguments)
        return stand_in(*arguments, **options)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    monkeypatch.setattr(cuda_graph, "_check_device", lambda device: None)
    return recordings


@pytest.mark.parametrize(
    "settings",
    [
        ["model.region_dropout=0.5"],
        ["seed=4", "protocol.seeds_in_parallel=3"],
        ["sampler=epoch", "sampler.batch_size=7"],  # the last batch of an epoch is shorter
    ],
)
def test_a_training_has_the_weights_that_it_has_without(mini_config, tmp_path, recorded, settings):
    folders = [tmp_path / "without", tmp_path / "with"]
    for folder, chosen in zip(folders, ([], ["compile=cuda_graph"]), strict=True):
        words = [*chosen, *settings, "protocol=honest", f"paths.run_dir={folder}"]
        train.run(mini_config(*words))
    if "seed=4" in settings:
        folders = [folder / "seed_4" for folder in folders]
    expected, found = map(weights_of, folders)
    assert all(torch.equal(found[name], expected[name]) for name in expected | found)
    assert len(recorded) == 1


@pytest.mark.parametrize("pair", TRAINED, ids="-".join)
def test_the_terms_and_gradients_of_every_method_are_those_without(load_config, pair, recorded):
    alone, graphed = (make_task(load_config, *pair, compile=c) for c in (None, CUDAGraph))
    for task in (alone, graphed):  # without dropout
        task.eval()
    for size in (6, 4):  # the second one is not of the recorded size
        terms = [task.loss_of_batch(*make_batch(size)) for task in (alone, graphed)]
        assert type(terms[0]) is type(terms[1])
        assert all(map(torch.equal, *(tree_flatten(each)[0] for each in terms)))
        for each in terms:
            each.loss.backward()
    assert not any(term.requires_grad for term in graphed.loss_of_batch(*make_batch(6))[1:])
    for expected, found in zip(alone.parameters(), graphed.parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None)
        assert found.grad is None or torch.equal(found.grad, expected.grad)
    assert alone.state_dict().keys() == graphed.state_dict().keys()
    assert len(recorded) == 1


def frozen_batch(replay, first, *batch):
    """A recording that computes the first batch again."""
    return replay(*first)


def halved_gradient(replay, first, *batch):
    """A recording whose gradient is wrong, and whose loss is right."""
    loss, *terms = replay(*batch)
    return loss.detach() + (loss - loss.detach()) / 2, *terms


def nan(replay, first, *batch):
    loss, *terms = replay(*batch)
    return loss * torch.nan, *terms


@pytest.mark.parametrize(
    ("fault", "first_wrong", "difference"),
    [(frozen_batch, 1, r"\d+"), (halved_gradient, 0, "50"), (nan, 0, "nan")],
)
def test_graphs_that_compute_another_gradient_are_refused(
    load_config, recorded, monkeypatch, fault, first_wrong, difference
):
    record = torch.cuda.make_graphed_callables

    def record_wrongly(module, inputs, **options):
        first = tuple(part.clone() for part in inputs)
        replay = record(module, inputs, **options).forward
        module.forward = lambda *batch: fault(replay, first, *batch)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record_wrongly)
    task = make_task(load_config, "msdn", "msdn", compile=CUDAGraph)
    regions_BRD, labels_B = make_batch(6)
    batches = [(regions_BRD, labels_B), (regions_BRD.flip(0), labels_B)]
    for batch in batches[:first_wrong]:
        task.loss_of_batch(*batch)
    message = rf"another gradient than without it: .* found {difference}(\.\d)?% of net\."
    with pytest.raises(ConfigError, match=message):
        task.loss_of_batch(*batches[first_wrong])


def test_a_cpu_and_several_processes_are_refused(mini_config, load_config, monkeypatch):
    with pytest.raises(
        ConfigError,
        match="CUDA graphs need a CUDA GPU: found cpu",
    ):
        train.run(mini_config("compile=cuda_graph"))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(ConfigError, match="several train one model"):
        cuda_graph._check_device(torch.device("cuda"))


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
@pytest.mark.parametrize("pair", TRAINED, ids="-".join)
def test_graphs_of_a_gpu_compute_the_same_gradients(load_config, pair):
    task = make_task(load_config, *pair, compile=CUDAGraph).cuda()
    for _ in range(2):  # each compares, and raises if they differ
        loss = task.loss_of_batch(*(part.cuda() for part in make_batch(6))).loss
        loss.backward()
        with torch.no_grad():
            for weight in task.parameters():
                weight.sub_(0.01)


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
@pytest.mark.xfail(reason="on an H200, attribute vectors differ by 8 %; the cause is not found")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_graphs_of_a_gpu_train_to_the_same_weights(mini_config, tmp_path, precision):
    folders = [tmp_path / "without", tmp_path / "with"]
    for folder, chosen in zip(folders, ([], ["compile=cuda_graph"]), strict=True):
        settings = ["trainer=gpu", f"trainer.precision={precision}", f"paths.run_dir={folder}"]
        train.run(mini_config(*chosen, *settings))
    expected, found = map(weights_of, folders)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
