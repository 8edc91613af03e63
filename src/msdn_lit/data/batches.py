"""The images of a split, read a batch at a time."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from msdn_lit.data.feature_cache import Gather
from msdn_lit.data.samplers import BatchPlan, StepShare
from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import DataError

AUTO = "auto"
T = TypeVar("T")


class Batch(NamedTuple):
    """Input of a training or evaluation step.

    Attributes:
        regions: Region features as stored, fp16, (B, R, D); or, for training through the backbone,
            the bytes of the cropped images, (B, size, size, 3).
        labels: Class ids among all C classes, (B,).
        rows: Rows of the images in the feature store, (B,).
    """

    regions: Tensor
    labels: Tensor
    rows: Tensor


class BatchShare(NamedTuple):
    """Input of a training step that several processes share: a `Batch` of the images of one.

    Attributes:
        regions: Region features or bytes of images, as in `Batch`.
        labels: Class ids among all C classes, (B,).
        rows: Rows of the images in the feature store, (B,).
        total: Images of all processes. A process without any has one that does not count.
    """

    regions: Tensor
    labels: Tensor
    rows: Tensor
    total: int


class SplitDataset(Dataset[Batch]):
    """The images of one split. A whole batch is read with one gather.

    Args:
        gather: Reads region features by row of the store.
        rows: Rows of the split's images in the store.
        labels_N: Class of every image of the store, (N,).
        gather_of_step: Reads the images of a training step by row and step, with augmentation; None
            reads them with `gather`.
    """

    def __init__(
        self,
        gather: Gather,
        rows: IntArray,
        labels_N: IntArray,
        gather_of_step: Callable[[IntArray, int], Tensor] | None = None,
    ) -> None:
        self.gather = gather
        self.rows = rows
        self.labels = labels_N[rows]
        self.gather_of_step = gather_of_step

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(values[0] for values in self.read([index])))

    def __getitems__(self, indices: list[int]) -> Batch | BatchShare:
        """Reads the given positions of the split as one batch."""
        batch = self.read(indices)
        if isinstance(indices, StepShare) and indices.total is not None:
            return BatchShare(*batch, indices.total)
        return batch

    def read(self, indices: list[int]) -> Batch:
        """Reads the given positions of the split."""
        rows = self.rows[indices]
        labels = torch.from_numpy(self.labels[indices])
        return Batch(self._read(rows, indices), labels, torch.from_numpy(rows))

    def _read(self, rows: IntArray, indices: list[int]) -> Tensor:
        if self.gather_of_step is None or not isinstance(indices, StepShare):
            return self.gather(rows)
        return self.gather_of_step(rows, indices.step)

    def batches(self, size: int, plan: BatchPlan | None = None, steps: int = 0) -> Iterator[Batch]:
        """Yields batches without a loader.

        Args:
            size: Images per batch, without a plan.
            plan: Plan of random batches; None yields every image once, in order.
            steps: Number of batches of the plan.
        """
        if plan is None:
            positions = list(range(len(self)))
            for start in range(0, len(self), size):
                yield self.read(positions[start : start + size])
        else:
            for step in range(steps):
                yield self.read(plan(step).tolist())


class BatchLoader(DataLoader[Batch]):
    """Loader of a dataset that reads whole batches.

    Args:
        dataset: Dataset with `__getitems__`.
        ahead: Number of batches that a thread reads in advance; 0 reads a batch when it is asked
            for.
        **kwargs: Further arguments of a DataLoader.
    """

    def __init__(self, dataset: Dataset[Batch], *, ahead: int = 0, **kwargs: Any) -> None:  # noqa: ANN401
        if kwargs.get("num_workers") and isinstance(dataset, SplitDataset):
            dataset = _Caught(dataset)
        super().__init__(dataset, collate_fn=_unchanged, **kwargs)
        self.ahead = ahead

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches: Iterator[Batch] = map(_raised, super().__iter__())
        return read_ahead(batches, self.ahead) if self.ahead else batches


class _Caught(SplitDataset):
    """A dataset in the process of a loader: it returns an error of the data instead of raising it.

    A loader would add the traceback of its process to the message.
    """

    def __init__(self, dataset: SplitDataset) -> None:
        self.__dict__.update(vars(dataset))
        self.dataset = dataset

    def __getitems__(self, indices: list[int]) -> Any:  # noqa: ANN401 - a batch, or an error
        try:
            return self.dataset.__getitems__(indices)
        except DataError as error:
            return error


def _raised(batch: Any) -> Any:  # noqa: ANN401 - a batch, or an error
    if isinstance(batch, DataError):
        raise batch
    return batch


class StepLoader(BatchLoader):
    """Loader of training steps without saved state: its sampler starts at the trainer's step."""

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Ignores a saved state."""


def read_ahead(batches: Iterator[T], number: int) -> Iterator[T]:
    """Yields the same batches; a thread reads the next `number` of them in advance."""
    end: Any = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        pending = deque(thread.submit(next, batches, end) for _ in range(number))
        while (batch := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, batches, end))
            yield batch


def is_size(eval_batch_size: int | str) -> bool:
    """Whether this is a number of images, or "auto"."""
    return eval_batch_size == AUTO or (isinstance(eval_batch_size, int) and eval_batch_size > 0)


def batch_size_on(device: torch.device, eval_batch_size: int | str) -> int:
    """Returns the images of an evaluation step: many on a GPU, where each step waits for Python."""
    if isinstance(eval_batch_size, int):
        return eval_batch_size
    return 512 if device.type == "cuda" else 64


def _unchanged(batch: Any) -> Any:  # noqa: ANN401 - a DataLoader expects a list of samples
    """Collates a batch that was read as a whole."""
    return batch
