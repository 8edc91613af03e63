"""The images of a split, read a batch at a time."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from msdn_lit.data.feature_cache import Gather
from msdn_lit.data.splits.xlsa17 import IntArray

T = TypeVar("T")


class Batch(NamedTuple):
    """What a training or evaluation step gets.

    Attributes:
        regions_BRD: Region features as stored, fp16, (B, R, D).
        labels_B: Class ids among all C, (B,).
        rows_B: Which images these are, as rows of the feature store, (B,).
    """

    regions_BRD: Tensor
    labels_B: Tensor
    rows_B: Tensor


class SplitDataset(Dataset[Batch]):
    """The images of one split; reads a whole batch with one gather.

    Args:
        gather: Reads region features by row.
        rows: The split's images, as rows of the store.
        labels_N: Class of every image of the store.
    """

    def __init__(self, gather: Gather, rows: IntArray, labels_N: IntArray) -> None:
        self.gather = gather
        self.rows = rows
        self.labels = labels_N[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(values[0] for values in self.__getitems__([index])))

    def __getitems__(self, indices: list[int]) -> Batch:
        """Reads the given positions of the split as one batch."""
        rows = self.rows[indices]
        return Batch(
            self.gather(rows), torch.from_numpy(self.labels[indices]), torch.from_numpy(rows)
        )


class BatchLoader(DataLoader[Batch]):
    """Loader of batches that come complete.

    Args:
        dataset: Gives them.
        ahead: Batches that a thread reads while the last one is worked on; 0 reads when asked.
        **kwargs: As of a DataLoader.
    """

    def __init__(self, dataset: Dataset[Batch], *, ahead: int = 0, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(dataset, collate_fn=_as_it_is, **kwargs)
        self.ahead = ahead

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches: Iterator[Batch] = super().__iter__()
        return read_ahead(batches, self.ahead) if self.ahead else batches


class StepLoader(BatchLoader):
    """Loader of training steps; it resumes by itself, since its sampler begins at the trainer's step."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing to save."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


def read_ahead(batches: Iterator[T], number: int) -> Iterator[T]:
    """Gives the same batches; a thread has the next ones read by then."""
    end: Any = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        pending = deque(thread.submit(next, batches, end) for _ in range(number))
        while (batch := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, batches, end))
            yield batch


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401 - a DataLoader takes it for a list of samples
    """Collates a batch that has come complete."""
    return batch
