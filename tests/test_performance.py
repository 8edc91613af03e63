"""The benchmark of speed measures the same computation twice, and counts and times it correctly."""

import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.flop_counter import FlopCounterMode

from msdn_lit.commands.train import train
from msdn_lit.losses import MSDNLoss
from msdn_lit.models import MSDN
from tests.benchmarks.speed import __main__ as speed
from tests.benchmarks.speed import workload
from tests.benchmarks.speed.growth import Point, draw_growth, exponents
from tests.benchmarks.speed.methods import METHODS, TransZeroOrder, make_method, method_step
from tests.benchmarks.speed.release import ReleaseOrder
from tests.benchmarks.speed.timing import Comparison, TimedProcess, compare, interleave
from tests.benchmarks.speed.training import products, trainer_steps, training_step
from tests.benchmarks.speed.workload import Shape, make_batch, make_loss, make_net, make_store
from tests.counting import repetitions
from tests.helpers import weights_of

SMALL = Shape(B=6, R=5, D=16, K=7, C=9, E=4)
CPU = torch.device("cpu")
SECONDS = {"net": 1, "loss": 2, "backward": 4, "optimizer": 8, "loading": 16}
quiet_trainer = pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step`", "ignore:The number of training batches"
)


def test_the_order_of_transzero_computes_the_same_outputs_and_gradients():
    torch.manual_seed(0)
    shape = replace(SMALL, R=9)
    (net, loss), (regions_BRD, labels_B) = make_method("transzero", shape), make_batch(shape)
    net.eval()
    gradients = []
    for made, inputs in (
        (net, regions_BRD),
        (TransZeroOrder(net, (3, 3)).eval(), regions_BRD.float().transpose(1, 2)),
    ):
        net.zero_grad()
        (output,) = made(inputs)
        loss((output,), labels_B).loss.backward()
        gradients.append([output[:3], *(weight.grad.clone() for weight in net.parameters())])
    scale = max(float(gradient.abs().max()) for gradient in gradients[0][1:])
    torch.testing.assert_close(gradients[0][0], gradients[1][0], rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_of_every_method_is_measured(name):
    result = next(method_step(name, replace(SMALL, R=9), CPU))
    assert result["step"] > 0
    assert result["gb"] > 0


def test_the_release_order_computes_the_same_outputs_and_gradients():
    torch.manual_seed(0)
    net, (regions_BRD, labels_B), loss = make_net(SMALL), make_batch(SMALL), make_loss(SMALL)
    for parameter in net.parameters():
        parameter.data = torch.randn_like(parameter)
    release = ReleaseOrder(net)
    ours, theirs = net(regions_BRD), release(regions_BRD.float().transpose(1, 2))
    for output, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(output[:3], expected[:3])
    ours, theirs = (loss(outputs, labels_B).loss for outputs in (ours, theirs))
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    first, second = (subnet.weights_MED.grad for subnet in net.subnets.values())
    found = [*first, *second, net.attribute_vectors_KE.grad]
    expected = [
        release.value_1,
        release.attend_1,
        release.value_2,
        release.attend_2,
        release.attribute_vectors_KE,
    ]
    for ours, theirs in zip(found, expected, strict=True):
        gradient = theirs.grad if theirs.shape == ours.shape else theirs.grad.T
        torch.testing.assert_close(
            ours, gradient, rtol=1e-4, atol=1e-4 * float(gradient.abs().max())
        )


def counted_flops(shape):
    """FLOPs of a forward and of a backward pass, as PyTorch counts them, without class logits."""
    net, (regions_BRD, labels_B), loss = make_net(shape), make_batch(shape), make_loss(shape)
    logit_products = 2 * 2 * shape.B * shape.K * shape.C  # of both sub-nets, in each pass
    with FlopCounterMode(display=False) as forward:
        outputs = net(regions_BRD)
    with FlopCounterMode(display=False) as backward:
        loss(outputs, labels_B).loss.backward()
    return [counter.get_total_flops() - logit_products for counter in (forward, backward)]


def test_flops_are_those_that_pytorch_counts():
    shape = Shape(B=4, R=9, D=32, K=11, C=6, E=5)
    forward, backward = counted_flops(shape)
    assert shape.forward_flops() == forward
    assert shape.step_flops() == forward + backward


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_limit_is_the_time_of_all_products_at_the_rate_of_the_measured_ones(
    monkeypatch, precision
):
    shape, rate = Shape(B=4, R=9, D=32, K=11, C=6, E=5), 1e6
    with FlopCounterMode(display=False) as counter:
        monkeypatch.setattr(
            "tests.benchmarks.speed.timing.perf_counter", lambda: counter.get_total_flops() / rate
        )
        limit = next(products(shape, CPU, precision))
        measured = counter.get_total_flops()
    forward, backward = counted_flops(shape)
    assert 0.8 * (forward + backward) < measured < forward + backward
    assert limit == pytest.approx({"forward": forward / rate, "step": (forward + backward) / rate})


@pytest.fixture
def fake_clock(monkeypatch):
    """A clock that only the parts of a step advance, each by its `SECONDS`."""
    now = 0

    def advance(part):
        nonlocal now
        now += SECONDS[part]

    def advance_after(function, part):
        return lambda *args, **kwargs: (function(*args, **kwargs), advance(part))[0]

    def advance_after_forward(module, *_):
        if isinstance(module, MSDN | ReleaseOrder):
            advance("net")
        elif isinstance(module, MSDNLoss):
            advance("loss")

    def make_gather(*args):
        return advance_after(original_make_gather(*args), "loading")

    original_make_gather = workload.make_gather
    rmsprop = importlib.import_module("torch.optim.rmsprop")
    monkeypatch.setattr(workload, "make_gather", make_gather)
    monkeypatch.setattr(rmsprop, "rmsprop", advance_after(rmsprop.rmsprop, "optimizer"))
    monkeypatch.setattr(torch.Tensor, "backward", advance_after(torch.Tensor.backward, "backward"))
    monkeypatch.setattr("tests.benchmarks.speed.timing.perf_counter", lambda: now)
    hook = register_module_forward_hook(advance_after_forward)
    yield
    hook.remove()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("release", [False, True])
@pytest.mark.usefixtures("fake_clock")
def test_each_part_of_a_step_is_timed_as_that_part(precision, release):
    step = training_step(SMALL, CPU, precision, release)
    expected = {"step": 15, "forward": 1 + 2, "backward": 4, "optimizer": 8}
    assert [next(step), next(step)] == [expected, expected]


@quiet_trainer
@pytest.mark.usefixtures("fake_clock")
def test_the_rest_of_a_trainers_step_is_what_is_not_computed():
    steps = trainer_steps(SMALL, CPU, "fp32", num_images=200, num_steps=5)
    for _ in range(2):  # the hooks of the first trainer stay on the net
        result = next(steps)
        assert (result["interval"], result["rest"]) == (31, 16)
    steps.close()


@quiet_trainer
def test_a_trainers_step_holds_its_rest():
    steps = trainer_steps(SMALL, CPU, "fp32", num_images=200, num_steps=5)
    result = next(steps)
    steps.close()
    assert 0 < result["rest"] < result["interval"] < 1
    assert 0.05 < result["gb"] < 20


def test_a_sparse_store_takes_no_disk(tmp_path):
    store = make_store(tmp_path, SMALL, num_images=1_000_000, num_filled=3)
    size = store.path.stat()
    assert size.st_blocks * 512 < 1e6 < 1_000_000 * SMALL.R * SMALL.D * 2 < size.st_size
    assert store.gather(torch.tensor([0, 2, 999_999]).numpy()).any(axis=(1, 2)).tolist() == [
        True,
        True,
        False,
    ]


def test_processes_alternate_and_their_first_results_are_dropped(tmp_path):
    order = tmp_path / "order"
    processes = {name: TimedProcess(repetitions, name, order) for name in "ab"}
    assert interleave(processes, 3, consecutive=1) == {"a": [2, 3, 4], "b": [2, 3, 4]}
    assert order.read_text() == "abababab"
    assert interleave({"a": TimedProcess(repetitions, "a", order)}, 2) == {"a": [6, 9]}


def test_a_row_compares_each_repetition_with_its_neighbours():
    comparison = Comparison(
        "step", "ms", ours=[1.0, 2.0, 4.0], release=[3.0, 4.0, 4.0], limit=[1.0, 1.0, 1.0]
    )
    assert comparison.cells() == [
        "step",
        "2 ms",
        "4 ms",
        "1.00, **2.00**, 3.00",
        "1 ms",
        "1.00, **2.00**, 4.00",
    ]
    assert Comparison("start", "s", ours=[1234.0]).cells() == ["start", "1,234 s", "", "", "", ""]


def test_a_comparison_takes_one_part_of_the_results_that_have_it():
    results = {"ours": [{"step": 0.5, "gb": 2.0}], "limit": [{"step": 0.25}], "alone": [{}]}
    assert compare("step", "ms", results, "step") == ("step", "ms", [500.0], [], [250.0])
    assert compare("memory", "GB", results, "gb") == ("memory", "GB", [2.0], [], [])


def test_growth_is_measured_by_its_exponent(tmp_path):
    points = [
        Point(size, {"linear": 3.0 * size, "flat": 5.0, "root": math.sqrt(size)}, 1.0)
        for size in (1, 10, 100)
    ]
    assert exponents(points) == pytest.approx({"linear": 1, "flat": 0, "root": 0.5})
    draw_growth({"images": points, "regions": points}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 5000


FAULTS = """
import resource, sys
import numpy as np
from msdn_lit.training.process import retain_freed_memory
assert retain_freed_memory() if sys.argv[1] == "keep" else True
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_freed_memory_is_taken_again_without_new_pages():
    def faults(how):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults("keep") < 10 < 30 < faults("give back")  # 64 MB are 15,625 pages, or 31 huge ones


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cuda"], "--device cuda: PyTorch finds no GPU. Use --device cpu."),
        (["-C", "1"], "-C is too small: expected at least 2, found 1."),
        (["--repetitions", "0"], "--repetitions is too small: expected at least 1, found 0."),
        (["--test-images", "-3"], "--test-images is too small: expected at least 1, found -3."),
        (["--workers", "-1"], "--workers is too small: expected at least 0, found -1."),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_wrong_options_end_in_one_line(command, arguments, message):
    error = f"python -m tests.benchmarks.speed: {message}\n"
    assert command(speed, *arguments) == (2, "", error)


@pytest.mark.slow
def test_the_benchmark_prints_its_table_and_writes_its_numbers(tmp_path):
    sizes = [f"-{letter}={getattr(SMALL, letter)}" for letter in "BRDKC"]
    short = ["--repetitions=1", "--test-images=20", "--images=4"]
    backbone = ["--backbone=test_resnet", "--image-size=64", f"--out={tmp_path}"]
    command = [sys.executable, "-m", "tests.benchmarks.speed", *sizes, *short, *backbone]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((tmp_path / "bench.json").read_text())
    assert done.stdout.count("\n| ") == len(content["comparisons"]) + 1 > 20
    numbers = [number for comparison in content["comparisons"] for number in comparison["ours"]]
    assert all(number > 0 for number in numbers)
    assert content["environment"]["torch"] == torch.__version__.partition("+")[0]


def test_a_compiled_loss_trains_to_the_same_weights(mini_config, tmp_path):
    for name, overrides in {
        "as_it_is": [],
        "compiled": ["compile=default", "+compile.backend=eager"],
    }.items():
        train.run(mini_config(*overrides, "protocol=honest", f"paths.run_dir={tmp_path / name}"))
    expected, found = weights_of(tmp_path / "as_it_is"), weights_of(tmp_path / "compiled")
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], rtol=0, atol=1e-6) for name in expected)
