"""Batches of training steps: sets, counts, and exact continuation."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from msdn_lit.data.samplers import ClassBalancedBatches, ShuffledEpochs, StepSampler, UniformBatches

PLANS = [UniformBatches, ClassBalancedBatches, ShuffledEpochs]
LABELS = np.repeat([3, 0, 8, 5], [1, 4, 9, 6])
few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
every_plan = pytest.mark.parametrize("make", PLANS, ids=lambda make: make.__name__)


def batches(make, steps, labels=LABELS, batch_size=3, seed=0):
    plan = make(labels, batch_size, seed)
    return [plan(step).tolist() for step in steps]


@every_plan
def test_a_batch_is_a_pure_function_of_seed_and_step(make):
    plan = make(LABELS, 3, 0)
    forwards = [plan(step).tolist() for step in range(20)]
    np.random.seed(1)
    assert [plan(step).tolist() for step in reversed(range(20))] == forwards[::-1]
    assert batches(make, range(20)) == forwards


@every_plan
def test_another_seed_or_step_gives_another_sequence(make):
    sequence = batches(make, range(20))
    assert batches(make, range(20), seed=1) != sequence
    assert batches(make, range(1, 21)) != sequence
    # Seeds and steps must not be added: run 1 would repeat run 0, one step later.
    assert batches(make, range(19), seed=1) != sequence[1:]
    assert len({tuple(batch) for batch in sequence}) > 10


@pytest.mark.parametrize("make", [UniformBatches, ShuffledEpochs])
@few
@given(
    num_images=st.integers(1, 30),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 99),
    step=st.integers(0, 99),
)
def test_no_image_comes_twice_in_a_batch(make, num_images, batch_size, seed, step):
    [batch] = batches(make, [step], np.zeros(num_images), batch_size, seed)
    assert len(set(batch)) == len(batch) > 0
    assert set(batch) <= set(range(num_images))


@few
@given(batch_size=st.integers(1, 40), step=st.integers(0, 99))
def test_a_uniform_batch_is_full_or_has_all_images(batch_size, step):
    [batch] = batches(UniformBatches, [step], batch_size=batch_size)
    assert len(batch) == min(batch_size, len(LABELS))


@few
@given(batch_size=st.integers(1, 6), step=st.integers(0, 99), seed=st.integers(0, 99))
def test_a_class_balanced_batch_has_one_image_of_each_of_distinct_classes(batch_size, step, seed):
    [batch] = batches(ClassBalancedBatches, [step], batch_size=batch_size, seed=seed)
    classes = LABELS[batch]
    assert len(set(classes)) == len(batch) == min(batch_size, 4)


@few
@given(num_images=st.integers(1, 30), batch_size=st.integers(1, 40), first_epoch=st.integers(0, 5))
def test_an_epoch_has_every_image_once_and_ends_with_the_rest(num_images, batch_size, first_epoch):
    length = -(-num_images // batch_size)
    steps = range(first_epoch * length, (first_epoch + 1) * length)
    visited = batches(ShuffledEpochs, steps, np.zeros(num_images), batch_size)
    assert sorted(chain(*visited)) == list(range(num_images))
    assert [len(batch) for batch in visited[:-1]] == [batch_size] * (length - 1)
    assert len(visited[-1]) == num_images - batch_size * (length - 1)


def test_epochs_have_different_orders():
    first, second = batches(ShuffledEpochs, [0, 1], batch_size=len(LABELS))
    assert first != second
    assert first != sorted(first)


def assert_roughly_even(counts, expected, keys):
    """Each count is within five binomial standard deviations; seeds make the result constant."""
    assert set(counts) == set(keys)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values()), counts


@pytest.mark.parametrize("make", [UniformBatches, ShuffledEpochs])
def test_images_occur_equally_often_and_at_every_position(make):
    found = batches(make, range(2000), batch_size=4)
    assert_roughly_even(Counter(chain(*found)), 400, range(20))
    assert_roughly_even(Counter(batch[0] for batch in found), 100, range(20))


def test_class_balanced_batches_are_even_over_classes_and_within_each():
    found = np.array(batches(ClassBalancedBatches, range(2000), batch_size=2))
    assert_roughly_even(Counter(LABELS[found.ravel()].tolist()), 1000, [0, 3, 5, 8])
    for label in (0, 3, 5, 8):
        images = np.flatnonzero(label == LABELS).tolist()
        within = Counter(image for image in found.ravel().tolist() if LABELS[image] == label)
        assert_roughly_even(within, 1000 / len(images), images)


@every_plan
@pytest.mark.parametrize("first_step", [0, 1, 6, 9, 10])
def test_resuming_gives_the_tail_of_the_sequence(make, first_step):
    plan = make(LABELS, 3, 0)
    assert list(StepSampler(plan, first_step, 10)) == list(StepSampler(plan, 0, 10))[first_step:]


@every_plan
def test_a_sampler_repeats_itself_and_knows_the_length_of_the_run(make):
    sampler = StepSampler(make(LABELS, 3, 0), 0, 10)
    assert list(sampler) == list(sampler) == batches(make, range(10))
    assert len(sampler) == len(StepSampler(make(LABELS, 3, 0), 4, 10)) == 10


@every_plan
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_partition_each_batch(make, world_size):
    plan = make(LABELS, 4, 0)
    shares = [list(StepSampler(plan, 2, 12, rank, world_size)) for rank in range(world_size)]
    for step, parts in zip(range(2, 12), zip(*shares, strict=True), strict=True):
        assert sorted(chain(*parts)) == sorted(plan(step).tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_data_loader_takes_the_sampler():
    sampler = StepSampler(UniformBatches(LABELS, 3, 0), 0, 5)
    loader = DataLoader(list(range(len(LABELS))), batch_sampler=sampler)
    assert [batch.tolist() for batch in loader] == list(sampler)
