"""Plans of training batches: the batch of a step is a pure function of (seed, step).

Nothing has to be saved for an exact continuation: a resumed run computes the batches of the
remaining steps.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from torch.utils.data import Sampler

from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import ConfigError


class BatchPlan(Protocol):
    """Chooses the images of each training step."""

    def __call__(self, step: int) -> IntArray:
        """Returns positions within the training split, (B,)."""


class UniformBatches:
    """A new random subset in each step, without replacement (the release on CUB).

    Args:
        labels_N: Class of each training image; only its length matters.
        batch_size: Images per step; at most all images.
        seed: Random seed of the whole sequence.
    """

    def __init__(self, labels_N: IntArray, batch_size: int, seed: int) -> None:
        self.num_images = len(labels_N)
        self.seed = seed
        self.batch_size = min(_positive(batch_size), self.num_images)

    def __call__(self, step: int) -> IntArray:
        """Returns positions within the training split, (B,)."""
        return _generator(self.seed, step).choice(self.num_images, self.batch_size, replace=False)


class ClassBalancedBatches:
    """One random image of each of `batch_size` random classes (the release on SUN and AWA2).

    Args:
        labels_N: Class of each training image.
        batch_size: Classes per step; at most all classes, as on AWA2.
        seed: Random seed of the whole sequence.
    """

    def __init__(self, labels_N: IntArray, batch_size: int, seed: int) -> None:
        self.images_of = [np.flatnonzero(labels_N == label) for label in np.unique(labels_N)]
        self.seed = seed
        self.batch_size = min(_positive(batch_size), len(self.images_of))

    def __call__(self, step: int) -> IntArray:
        """Returns positions within the training split, (B,)."""
        generator = _generator(self.seed, step)
        classes = generator.choice(len(self.images_of), self.batch_size, replace=False)
        return np.array([generator.choice(self.images_of[c]) for c in classes])


class ShuffledEpochs:
    """Shuffled epochs over all images; the last batch of an epoch may be smaller.

    Args:
        labels_N: Class of each training image; only its length matters.
        batch_size: Images per step.
        seed: Random seed of the whole sequence.
    """

    def __init__(self, labels_N: IntArray, batch_size: int, seed: int) -> None:
        self.num_images = len(labels_N)
        self.batch_size = _positive(batch_size)
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)  # order of the images in epoch `_epoch`

    def __call__(self, step: int) -> IntArray:
        """Returns positions within the training split, (B,)."""
        epoch, position = divmod(step, -(-self.num_images // self.batch_size))
        if self._epoch != epoch:
            self._epoch = epoch
            self._order = _generator(self.seed, epoch).permutation(self.num_images)
        return self._order[position * self.batch_size :][: self.batch_size]


class StackedBatches:
    """Concatenation of the batches of several runs.

    Args:
        plans: Plan of each run; all have the same batch size.
    """

    def __init__(self, plans: Sequence[BatchPlan]) -> None:
        self.plans = tuple(plans)

    def __call__(self, step: int) -> IntArray:
        """Returns positions within the training split, (number of runs * B,)."""
        return np.concatenate([plan(step) for plan in self.plans])


class StepShare(list[int]):
    """The positions of one process in a step.

    Attributes:
        step: Number of the step.
        total: Images of the step on all processes; None for one process.
    """

    def __init__(self, positions: Iterable[int], step: int, total: int | None = None) -> None:
        super().__init__(positions)
        self.step = step
        self.total = total

    def __reduce__(self) -> tuple[type["StepShare"], tuple[list[int], int, int | None]]:
        return StepShare, (list(self), self.step, self.total)  # to the workers of a loader


class StepSampler(Sampler[list[int]]):
    """Batch sampler over the steps of one run.

    Args:
        plan: Plan of the batches.
        first_step: First step: 0, or the step of the checkpoint that is resumed.
        num_steps: Number of steps of the whole run; this is the length, whatever the first step.
        rank: Rank of this process. It takes every `world_size`-th image of each batch; if a batch
            has fewer images than processes, a rank without any takes the first image, which does
            not count.
        world_size: Number of processes that share each batch.
    """

    def __init__(
        self, plan: BatchPlan, first_step: int, num_steps: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.plan = plan
        self.first_step = first_step
        self.num_steps = num_steps
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.num_steps):
            batch = self.plan(step)
            if self.world_size == 1:
                yield StepShare(batch.tolist(), step)
            else:
                share = batch[self.rank :: self.world_size]
                yield StepShare((share if len(share) else batch[:1]).tolist(), step, len(batch))


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, index])


def _positive(batch_size: int) -> int:
    if batch_size < 1:
        raise ConfigError("sampler.batch_size is wrong", expected="at least 1", found=batch_size)
    return batch_size
