"""How training batches are drawn: batch number `step` is a pure function of (seed, step).

Nothing has to be saved to continue exactly: a resumed run asks for the steps that are left.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from torch.utils.data import Sampler

from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import ConfigError


class BatchPlan(Protocol):
    """Chooses the images of one training step."""

    def __call__(self, step: int) -> IntArray:
        """Returns positions within the training split, (B,)."""


class UniformBatches:
    """A fresh random subset at each step, without replacement (the release on CUB).

    Args:
        labels_N: Class of each training image; only its length matters here.
        batch_size: Images per step.
        seed: Of the whole sequence.
    """

    def __init__(self, labels_N: IntArray, batch_size: int, seed: int) -> None:
        self.num_images = len(labels_N)
        self.seed = seed
        self.batch_size = min(_positive(batch_size), self.num_images)

    def __call__(self, step: int) -> IntArray:
        """Positions within the training split, (B,)."""
        return _generator(self.seed, step).choice(self.num_images, self.batch_size, replace=False)


class ClassBalancedBatches:
    """One random image of each of `batch_size` random classes (the release on SUN; on AWA2 all 40 seen classes).

    Args:
        labels_N: Class of each training image.
        batch_size: Classes per step; at most as many as occur.
        seed: Of the whole sequence.
    """

    def __init__(self, labels_N: IntArray, batch_size: int, seed: int) -> None:
        self.images_of = [np.flatnonzero(labels_N == label) for label in np.unique(labels_N)]
        self.seed = seed
        self.batch_size = min(_positive(batch_size), len(self.images_of))

    def __call__(self, step: int) -> IntArray:
        """Positions within the training split, (B,)."""
        generator = _generator(self.seed, step)
        classes = generator.choice(len(self.images_of), self.batch_size, replace=False)
        return np.array([generator.choice(self.images_of[c]) for c in classes])


class ShuffledEpochs:
    """Shuffled passes over all images, as most of today's training; the last batch of a pass may be smaller.

    Args:
        labels_N: Class of each training image; only its length matters here.
        batch_size: Images per step.
        seed: Of the whole sequence.
    """

    def __init__(self, labels_N: IntArray, batch_size: int, seed: int) -> None:
        self.num_images = len(labels_N)
        self.batch_size = _positive(batch_size)
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)  # of the pass that was drawn from last

    def __call__(self, step: int) -> IntArray:
        """Positions within the training split, (B,)."""
        epoch, position = divmod(step, -(-self.num_images // self.batch_size))
        if self._epoch != epoch:
            self._epoch, self._order = (
                epoch,
                _generator(self.seed, epoch).permutation(self.num_images),
            )
        return self._order[position * self.batch_size :][: self.batch_size]


class StackedBatches:
    """The batches of several runs, one after the other.

    Args:
        draws: One for each run; all give batches of one size.
    """

    def __init__(self, draws: Sequence[BatchPlan]) -> None:
        self.draws = tuple(draws)

    def __call__(self, step: int) -> IntArray:
        """Positions within the training split, (number of runs * B,)."""
        return np.concatenate([draw(step) for draw in self.draws])


class StepSampler(Sampler[list[int]]):
    """Batch sampler over the steps of one run.

    Args:
        draw: Chooses the images of a step.
        first_step: Where to begin: 0, or the step of the checkpoint that is resumed.
        num_steps: Steps of the whole run; this is the length, wherever it begins.
        rank: Of this process; it takes every `world_size`-th image of each batch (of a batch with fewer images than
            processes, a rank without a share takes the first).
        world_size: Number of processes that share each batch.
    """

    def __init__(
        self, draw: BatchPlan, first_step: int, num_steps: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.draw = draw
        self.first_step = first_step
        self.num_steps = num_steps
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.num_steps):
            batch = self.draw(step)
            share = batch[self.rank :: self.world_size]
            yield (share if len(share) else batch[:1]).tolist()


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, index])


def _positive(batch_size: int) -> int:
    if batch_size < 1:
        raise ConfigError("sampler.batch_size is wrong", expected="at least 1", found=batch_size)
    return batch_size
