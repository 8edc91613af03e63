"""The Lightning data module of every benchmark: a dataset with the loaders of a trainer."""

import logging
from functools import cached_property
from typing import Any

import lightning
import numpy as np
import torch

from msdn_lit.data.batches import BatchLoader, SplitDataset, StepLoader, batch_size_on
from msdn_lit.data.dataset import ZSLDataset
from msdn_lit.data.feature_cache import (
    Gather,
    OutOfMemory,
    choose_cache,
    gather_from_disk,
    make_gather,
)
from msdn_lit.data.features.pixels import ImagePixels, num_decoders
from msdn_lit.data.samplers import StepSampler
from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import ConfigError

_BATCHES_AHEAD = 2
log = logging.getLogger(__name__)


class ZSLDataModule(ZSLDataset, lightning.LightningDataModule):
    """A dataset with loaders for training and evaluation; settings as of `ZSLDataset`.

    `msdn_lit.open_dataset` makes a data module and calls `setup`.
    """

    _gather: Gather | None = None

    def train_dataloader(self) -> StepLoader:
        """Batches of the training split from the trainer's current step to its last."""
        dataset = self.dataset(self.train_split)
        assert self.trainer is not None
        if self.trainer.accumulate_grad_batches != 1:
            action = "Set sampler.batch_size, not accumulate_grad_batches."
            raise ConfigError("A step is one batch here", action=action)
        sampler = StepSampler(
            self.sampler(dataset.labels),
            first_step=self.trainer.global_step,
            num_steps=self.trainer.max_steps,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return StepLoader(dataset, batch_sampler=sampler, **self._loader_args())

    def train_eval_dataloader(self) -> BatchLoader:
        """Every image of the training split once, in order, on every rank."""
        dataset = self.dataset(self.train_split)
        return BatchLoader(dataset, batch_size=self._eval_size(), **self._loader_args())

    def val_dataloader(self) -> list[BatchLoader]:
        """One loader per evaluated split, in order. Ranks share the images without padding."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        loaders = []
        for name in self.eval_splits:
            dataset = self.dataset(name)
            shard = range(rank, len(dataset), world_size)
            arguments = self._loader_args() | {"batch_size": self._eval_size()}
            loaders.append(BatchLoader(dataset, sampler=shard, **arguments))
        return loaders

    def dataset(self, split_name: str) -> SplitDataset:
        """Returns the images of one split, read from the chosen feature cache."""
        if self._gather is None:
            self._gather = self._make_gather()
        is_used = split_name in (self.train_split, *self.eval_splits)
        gather = self._gather if is_used else gather_from_disk(self.store)
        of_step = self.store.gather_augmented if isinstance(self.store, ImagePixels) else None
        return SplitDataset(gather, self.indices[split_name], self.split.labels_N, of_step)

    def _make_gather(self) -> Gather:
        is_first = not self.trainer or self.trainer.local_rank == 0  # on this machine
        rows, device = self._used_rows, self._device()
        try:
            return make_gather(self.store, rows, self.chosen_cache, device, read_ahead=is_first)
        except OutOfMemory as error:
            if self.feature_cache != "auto":
                raise
            self.chosen_cache = choose_cache("auto", self._num_bytes, torch.device("cpu"))
            taken = "and another program uses it: they stay in"
            log.info("%s, %s %s", error.problem, taken, self.chosen_cache)
            return make_gather(self.store, rows, self.chosen_cache, device, read_ahead=is_first)

    def _loader_args(self) -> dict[str, Any]:
        # Its own generator, since each iterator draws a seed, and a resumed run starts one more.
        is_on_gpu = self.chosen_cache == "gpu"
        streams = self._device().type == "cuda" and not is_on_gpu
        return {
            "generator": torch.Generator(),
            "num_workers": 0 if is_on_gpu else self._num_workers(),
            "pin_memory": streams,
            "ahead": _BATCHES_AHEAD if streams else 0,  # a CPU has no thread to spare
        }

    def _num_workers(self) -> int:
        if not isinstance(self.store, ImagePixels):
            return self.num_workers
        if self.store.num_workers is not None:
            return self.store.num_workers
        return num_decoders(self.trainer.num_devices if self.trainer else 1)

    def _eval_size(self) -> int:
        return batch_size_on(self._device(), self.eval_batch_size)

    @cached_property
    def chosen_cache(self) -> str:
        """Place of the features, once there is a trainer: "disk", "ram" or "gpu"; or "images"."""
        if isinstance(self.store, ImagePixels):
            return "images"
        return choose_cache(self.feature_cache, self._num_bytes, self._device())

    @cached_property
    def _used_rows(self) -> IntArray:
        """Rows of the images of the protocol."""
        splits = (self.train_split, *self.eval_splits)
        return np.unique(np.concatenate([self.indices[name] for name in splits]))

    @property
    def _num_bytes(self) -> int:
        return 2 * len(self._used_rows) * int(np.prod(self.store.manifest.shape[1:]))

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
