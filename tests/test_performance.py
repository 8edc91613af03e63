"""What the bench measures is what it says: the same values in both orders, true counts, and memory that is kept."""

import json
import math
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from msdn_lit.commands.train import train
from tests.benchmarks.speed import bench
from tests.benchmarks.speed.contenders import TimedProcess, interleave
from tests.benchmarks.speed.growth import Point, draw_growth, exponents
from tests.benchmarks.speed.limits import Products
from tests.benchmarks.speed.outcome import Comparison
from tests.benchmarks.speed.release import ReleaseOrder
from tests.benchmarks.speed.shape import Shape
from tests.benchmarks.speed.training import TrainerSteps, TrainingStep
from tests.benchmarks.speed.workload import make_batch, make_loss, make_net, make_store
from tests.counting import Counter
from tests.test_parallel import weights_of

SMALL = Shape(B=6, R=5, D=16, K=7, C=9, E=4)
CPU = torch.device("cpu")


def test_the_release_order_computes_the_same_loss_and_gradients():
    torch.manual_seed(0)
    net, (regions_BRD, labels_B), loss = make_net(SMALL), make_batch(SMALL), make_loss(SMALL)
    for parameter in net.parameters():
        parameter.data = torch.randn_like(parameter)
    release = ReleaseOrder(net)
    ours = loss([output.logits_BC for output in net(regions_BRD)], labels_B).loss
    theirs = loss(release(regions_BRD.float().transpose(1, 2)), labels_B).loss
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


def test_counted_operations_are_those_of_the_products():
    shape = Shape(B=4, R=9, D=32, K=11, C=6, E=5)
    net, (regions_BRD, labels_B), loss = make_net(shape), make_batch(shape), make_loss(shape)
    classes = (
        2 * 2 * shape.B * shape.K * shape.C
    )  # attribute scores to logits in both sub-nets; not counted by us
    with FlopCounterMode(display=False) as counter:
        logits = [output.logits_BC for output in net(regions_BRD)]
    assert counter.get_total_flops() == shape.forward_flops() + classes
    with FlopCounterMode(display=False) as counter:
        loss(logits, labels_B).loss.backward()
    assert counter.get_total_flops() == shape.step_flops() - shape.forward_flops() + classes


def test_the_limit_of_a_step_follows_from_the_rate_of_its_products():
    seconds = Products(SMALL, CPU, "fp32")()
    assert seconds["step"] / seconds["forward"] > 1
    large = 2 * 4 * SMALL.K * SMALL.D * SMALL.B * SMALL.R
    assert seconds["forward"] == pytest.approx(SMALL.forward_flops() / seconds["rate"])
    assert SMALL.forward_flops() > large


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("release", [False, True])
def test_parts_of_a_step_make_the_step(precision, release):
    seconds = TrainingStep(SMALL, CPU, precision, release)()
    assert seconds["step"] == pytest.approx(
        seconds["forward"] + seconds["backward"] + seconds["optimizer"]
    )


@pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step`", "ignore:The number of training batches"
)
def test_a_trainers_step_holds_its_rest():
    steps = TrainerSteps(SMALL, CPU, "fp32", num_steps=5)
    seconds = steps()
    steps.folder.cleanup()
    assert 0 < seconds["rest"] < seconds["interval"] < 1
    assert 0.05 < seconds["gb"] < 20


def test_a_sparse_store_takes_no_disk(tmp_path):
    store = make_store(tmp_path, SMALL, num_images=1_000_000, num_filled=3)
    size = store.path.stat()
    assert size.st_blocks * 512 < 1e6 < 1_000_000 * SMALL.R * SMALL.D * 2 < size.st_size
    assert store.gather(torch.tensor([0, 2, 999_999]).numpy()).any(axis=(1, 2)).tolist() == [
        True,
        True,
        False,
    ]


def test_contenders_take_turns_and_the_first_time_does_not_count(tmp_path):
    order = tmp_path / "order"
    results = interleave(
        {"a": TimedProcess(Counter, "a", order), "b": TimedProcess(Counter, "b", order)}, 3
    )
    assert results == {"a": [2, 3, 4], "b": [2, 3, 4]}
    assert order.read_text() == "abababab"
    assert interleave({"a": TimedProcess(Counter, "a", order)}, 2, consecutive=3) == {"a": [6, 9]}


def test_a_line_compares_each_repetition_with_its_own():
    outcome = Comparison(
        "step", "ms", ours=[1.0, 2.0, 4.0], release=[3.0, 4.0, 4.0], limit=[1.0, 1.0, 1.0]
    )
    assert outcome.cells() == [
        "step",
        "2 ms",
        "4 ms",
        "1.00, **2.00**, 3.00",
        "1 ms",
        "1.00, **2.00**, 4.00",
    ]
    assert Comparison("start", "s", ours=[1234.0]).cells() == ["start", "1,234 s", "", "", "", ""]


def test_growth_is_told_by_its_exponent(tmp_path):
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
        (["--device", "cuda"], "there is no GPU here"),
        (["-C", "1"], "A size is wrong"),
        (["--repetitions", "0"], "A size is wrong"),
        (["--images", "-3"], "A size is wrong"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_wrong_options_end_in_one_line(command, arguments, message):
    code, out, error = command(bench, *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error


@pytest.mark.slow
def test_the_bench_writes_its_table_and_its_numbers(tmp_path):
    sizes = [f"-{letter}={getattr(SMALL, letter)}" for letter in "BRDKC"]
    short = [
        "--repetitions=1",
        "--test-images=20",
        "--images=4",
        "--backbone=test_resnet",
        "--image-size=64",
    ]
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.speed.bench",
        *sizes,
        *short,
        f"--out={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((tmp_path / "bench.json").read_text())
    assert done.stdout.count("\n| ") == len(content["outcomes"]) + 1 > 20
    assert all(number > 0 for outcome in content["outcomes"] for number in outcome["ours"])
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
