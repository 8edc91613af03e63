"""A batch on three processes: loss and gradients are those of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from msdn_lit.errors import ConfigError
from msdn_lit.tasks.whole_batch import Shares, WholeBatch, own_random_numbers
from tests import shares

ROOT = Path(__file__).resolve().parents[1]
EXACT = [case for case in shares.CASES if case != "dropout"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of three processes computes, by case."""
    folder = tmp_path_factory.mktemp("shares")
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.shares", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in range(shares.PROCESSES)]


@pytest.mark.parametrize("case", EXACT)
def test_loss_and_gradients_are_those_of_one_process(found, case):
    alone = shares.step(case, 1, 0)
    for process in found:
        torch.testing.assert_close(process[case]["loss"], alone["loss"], rtol=1e-6, atol=0)
        gradients = process[case]["gradients"]
        assert gradients.keys() == alone["gradients"].keys()
        largest = max(float(expected.abs().max()) for expected in alone["gradients"].values())
        for name, expected in alone["gradients"].items():
            torch.testing.assert_close(
                gradients[name], expected, rtol=1e-6, atol=1e-7 * largest, msg=f"{case}: {name}"
            )


def test_what_processes_draw_in_common_is_what_one_draws(found):
    for case in EXACT:
        alone = shares.step(case, 1, 0)["next"]
        assert all(torch.equal(process[case]["next"], alone) for process in found), case


def test_dropout_differs_by_process(found):
    masks = [process["dropout"]["mask"] for process in found]
    assert all(mask.shape == masks[0].shape for mask in masks)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == shares.PROCESSES


def test_a_repeated_step_draws_the_same_and_leaves_the_generators_alone():
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    drawn = []
    for rank, step in ((0, 5), (1, 5), (0, 6), (0, 5)):
        with own_random_numbers(torch.device("cpu"), rank, step):
            drawn.append(tuple(torch.rand(3).tolist()))
    assert drawn[0] == drawn[3]
    assert len({*drawn}) == 3
    assert torch.equal(torch.rand(3), expected)


def test_each_process_continues_with_its_own_random_numbers(found):
    drawn = [process["resumed"] for process in found]
    assert all(before == after for before, after in drawn)
    assert len({tuple(before) for before, _ in drawn}) == shares.PROCESSES


def test_outputs_that_are_no_named_tuples_are_refused():
    with pytest.raises(ConfigError, match="NamedTuples: found dict"):
        WholeBatch(torch.nn.Identity()).outputs([{}], torch.zeros(1), Shares(0, (1, 1)))
