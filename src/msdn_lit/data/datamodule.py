"""The Lightning data module of every benchmark: a benchmark is data, not a subclass."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray

from msdn_lit.data.batches import BatchLoader, SplitDataset, StepLoader
from msdn_lit.data.benchmarks.published import find_benchmark
from msdn_lit.data.feature_cache import (
    Gather,
    Regions,
    choose_cache,
    gather_from_disk,
    gather_from_gpu,
    gather_from_ram,
)
from msdn_lit.data.features.images import ImageTransform, open_image
from msdn_lit.data.features.published_hdf5 import PUBLISHED_SUFFIXES, PublishedFeatures
from msdn_lit.data.features.store import FeatureStore, hash_image_list
from msdn_lit.data.samplers import BatchPlan, StepSampler
from msdn_lit.data.semantics import Semantics, SemanticsConfig
from msdn_lit.data.splits.variants import with_train_and_val
from msdn_lit.data.splits.xlsa17 import IntArray, ProposedSplit
from msdn_lit.errors import ConfigError, DataError

_BATCHES_AHEAD = 2
UNSEEN_SPLIT = {"trainval": "test_unseen", "train": "val"}


class ZSLDataModule(lightning.LightningDataModule):
    """Region features, labels and semantics of one benchmark under one protocol.

    Call `setup` to read and check everything; `semantics`, `visual_dim` and `split` are there afterwards.

    Args:
        benchmark: Name, e.g. "CUB".
        data_dir: Holds xlsa17/, w2v/ and the images.
        store_dir: The feature store, or an official feature file (.hdf5).
        source: What the store must have been made from (name, backbone, transform; or name, regions).
        train_split: "trainval", with the classes of test_unseen as unseen; or "train", with those of val as unseen
            and the classes of test_unseen no candidates.
        eval_splits: Evaluated during and after training: test_seen, test_unseen; val_seen, val.
        val_seen: Marks the images of train that are held out as val_seen and not trained on, given their labels.
        semantics: Makes the semantics of the split's classes.
        sampler: Makes the training batches from the training images' labels; one of `samplers`.
        eval_batch_size: Images per evaluation step.
        feature_cache: Where the features are while training: "disk", "ram" or "gpu"; "auto" chooses by what is free.
        num_workers: Loader processes; 0 reads in the training process.
        allow_unknown_split: Take split files that are not a known variant of the benchmark's.
        val_classes: `fraction` and `seed` with which the classes of val are drawn where the split file has none.
        folder: A user's own dataset.
        test_seen: `fraction` and `seed` with which such a dataset's test_seen images are drawn.
    """

    semantics: Semantics
    split: ProposedSplit
    indices: dict[str, IntArray]

    def __init__(
        self,
        *,
        benchmark: str,
        data_dir: str,
        store_dir: str,
        source: dict[str, Any],
        train_split: str,
        eval_splits: Sequence[str],
        val_seen: Callable[[IntArray], NDArray[np.bool_]],
        semantics: SemanticsConfig,
        sampler: Callable[[IntArray], BatchPlan],
        eval_batch_size: int,
        feature_cache: str = "auto",
        num_workers: int = 0,
        allow_unknown_split: bool = False,
        val_classes: Mapping[str, Any] | None = None,
        folder: str | None = None,
        test_seen: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if train_split not in UNSEEN_SPLIT:
            expected = "one of " + ", ".join(UNSEEN_SPLIT)
            raise ConfigError("protocol.train_split is wrong", expected=expected, found=train_split)
        if UNSEEN_SPLIT[train_split] not in eval_splits or len(eval_splits) != 2:
            expected = f"one split of seen classes, and {UNSEEN_SPLIT[train_split]}"
            raise ConfigError(
                "protocol.eval_splits is wrong", expected=expected, found=list(eval_splits)
            )
        if eval_batch_size < 1 or num_workers < 0:
            raise ConfigError(
                "data.eval_batch_size must be at least 1, data.num_workers at least 0"
            )
        self.benchmark = find_benchmark(benchmark, folder, test_seen)
        self.allow_unknown_split = allow_unknown_split
        self.val_classes = val_classes
        self.data_dir = Path(data_dir)
        self.store_dir = Path(store_dir)
        self.source = source
        self.train_split = train_split
        self.eval_splits = tuple(eval_splits)
        self.val_seen = val_seen
        self.semantics_source = semantics
        self.sampler = sampler
        self.eval_batch_size = eval_batch_size
        self.feature_cache = feature_cache
        self.num_workers = num_workers
        self._store: Regions | None = None
        self._gather: Gather | None = None

    @property
    def store(self) -> Regions:
        """The opened region features; `setup` has been called."""
        assert self._store is not None, "call setup() first"
        return self._store

    @property
    def visual_dim(self) -> int:
        """D of the store."""
        return self.store.manifest.shape[2]

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the K attributes."""
        return self.benchmark.attribute_names(
            self.data_dir, self.semantics.class_attributes_CK.shape[1]
        )

    def picture(self, row: int) -> NDArray[np.float32]:
        """What the backbone saw of the image in one row of the store: pixels in [0, 1], (size, size, 3).

        Raises:
            DataError: The image is not there, or the features were not made from images.
        """
        if "transform" not in self.source:
            raise DataError(f"{self.source['name']} features were not made from images")
        paths = self.benchmark.image_paths(self.split, self.data_dir)
        boxes = self.benchmark.image_boxes(self.split, self.data_dir)
        image = open_image(paths[row], boxes[row] if boxes else None)
        pixels = ImageTransform(**self.source["transform"]).crop(image)
        return np.asarray(pixels, dtype=np.float32) / np.float32(255)

    def setup(self, stage: str | None = None) -> None:
        """Reads and checks splits, semantics and store; a second call does nothing.

        Raises:
            DataError: A file is missing or damaged, or two files do not fit together.
        """
        if self._store is not None:
            return
        split = self.read_split()
        store = self._open_store(split)
        self.indices = {
            name: rows[~np.isin(rows, store.manifest.skipped)]
            for name, rows in self._split_indices(split).items()
        }
        self.semantics = self.read_semantics(split)
        self.split = split
        self._store = store

    def read_split(self) -> ProposedSplit:
        """Reads the split files alone; a missing train and val are drawn.

        Raises:
            DataError: A file is missing, damaged or unknown.
        """
        split = self.benchmark.read_split(self.data_dir, allow_unknown=self.allow_unknown_split)
        return split if self.val_classes is None else with_train_and_val(split, **self.val_classes)

    def read_semantics(self, split: ProposedSplit) -> Semantics:
        """Reads what is known of the split's classes; needs no features.

        Raises:
            DataError: The word vectors are missing, damaged or of other attributes, or a class is both seen and unseen.
        """
        unseen_split = UNSEEN_SPLIT[self.train_split]
        return self.semantics_source.load(
            split, self.benchmark, self.data_dir, self.train_split, unseen_split
        )

    def train_dataloader(self) -> StepLoader:
        """Batches of the training split from the trainer's current step to its last."""
        dataset = self.dataset(self.train_split)
        assert self.trainer is not None
        if self.trainer.max_steps < 0:
            raise ConfigError("The length of training is not set", action="Set trainer.max_steps.")
        if self.trainer.accumulate_grad_batches != 1:
            raise ConfigError(
                "A step is one batch here",
                action="Set sampler.batch_size, not accumulate_grad_batches.",
            )
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
        return BatchLoader(
            self.dataset(self.train_split), batch_size=self.eval_batch_size, **self._loader_args()
        )

    def val_dataloader(self) -> list[BatchLoader]:
        """One loader per evaluated split, in order; ranks share the images without padding."""
        rank, world_size = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        loaders = []
        for name in self.eval_splits:
            dataset = self.dataset(name)
            shard = range(rank, len(dataset), world_size)
            loaders.append(
                BatchLoader(
                    dataset, batch_size=self.eval_batch_size, sampler=shard, **self._loader_args()
                )
            )
        return loaders

    def dataset(self, split_name: str) -> SplitDataset:
        """The images of one split."""
        self._gather = self._gather or self._settle()
        return SplitDataset(self._gather, self.indices[split_name], self.split.labels_N)

    def _loader_args(self) -> dict[str, Any]:
        # Its own generator: an iterator draws a seed when it begins, and a resumed run begins one more.
        is_resident, streams = self.chosen_cache == "gpu", self._device().type == "cuda"
        return {
            "generator": torch.Generator(),
            "num_workers": 0 if is_resident else self.num_workers,
            "pin_memory": streams and not is_resident,
            "ahead": _BATCHES_AHEAD
            if streams and not is_resident
            else 0,  # a CPU has no thread to spare
        }

    @cached_property
    def chosen_cache(self) -> str:
        """Where the features are, once a trainer is there: "disk", "ram" or "gpu"."""
        return choose_cache(
            self.feature_cache, 2 * int(np.prod(self.store.manifest.shape)), self._device()
        )

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _settle(self) -> Gather:
        if self.chosen_cache == "gpu":
            return gather_from_gpu(self.store, self._device())
        is_first_on_machine = not self.trainer or self.trainer.local_rank == 0
        if self.chosen_cache == "ram" and is_first_on_machine:
            return gather_from_ram(self.store)
        return gather_from_disk(self.store)

    def _open_store(self, split: ProposedSplit) -> Regions:
        images_sha256 = hash_image_list(self.benchmark.relative_paths(split))
        if self.store_dir.suffix in PUBLISHED_SUFFIXES:
            official = PublishedFeatures(self.store_dir, self.source, images_sha256)
            official.check_split(split)
            if official.rows_per_block > 1:
                warnings.warn(
                    f"{self.store_dir} is compressed, {official.rows_per_block} images to a block, and every batch "
                    f"decodes many of them. Convert it once: msdn-extract features.hdf5={self.store_dir}",
                    stacklevel=2,
                )
            return official
        store = FeatureStore(self.store_dir)
        store.check(source=self.source, images_sha256=images_sha256)
        return store

    def _split_indices(self, split: ProposedSplit) -> dict[str, IntArray]:
        """The split's images by name; `train` without the part that is held out as `val_seen`."""
        indices = dict(split.indices)
        if "train" in indices:
            train = indices["train"]
            held = self.val_seen(split.labels_N[train])
            indices |= {"train": train[~held], "val_seen": train[held]}
        for name in (self.train_split, *self.eval_splits):
            if name not in indices:
                raise DataError(
                    f"{split.folder} gives no split {name!r}",
                    expected="one of " + ", ".join(indices),
                    action="Set protocol.train_split and protocol.eval_splits.",
                )
        return indices
