"""The Lightning data module of every benchmark: a benchmark is data, not a subclass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.data.batches import Batch, BatchLoader, SplitDataset, StepLoader
from msdn_lit.data.benchmarks.published import find_benchmark
from msdn_lit.data.feature_cache import (
    Gather,
    Regions,
    choose_cache,
    gather_from_disk,
    make_gather,
)
from msdn_lit.data.features.images import ImageTransform, open_image
from msdn_lit.data.features.opening import open_regions
from msdn_lit.data.features.pixels import ImagePixels, num_decoders
from msdn_lit.data.features.store import DECODING
from msdn_lit.data.samplers import BatchPlan, StepSampler, UniformBatches
from msdn_lit.data.semantics import Semantics, SemanticsConfig
from msdn_lit.data.splits.holdout import split_images, split_indices
from msdn_lit.data.splits.variants import with_train_and_val
from msdn_lit.data.splits.xlsa17 import IntArray, ProposedSplit
from msdn_lit.errors import ConfigError, DataError

_BATCHES_AHEAD = 2
UNSEEN_SPLIT = {"trainval": "test_unseen", "train": "val"}
EVAL_SPLITS = {"trainval": ("test_seen", "test_unseen"), "train": ("val_seen", "val")}
_RELEASE_BATCHES = partial(UniformBatches, batch_size=50, seed=0)
_FIFTH_OF_EACH_CLASS = partial(split_images, fraction=0.2, seed=0)


class ZSLDataModule(lightning.LightningDataModule):
    """Region features, labels and semantics of one benchmark under one protocol.

    `setup` reads and checks every file. `semantics`, `split`, `indices`, `store` and all that
    follows from them exist afterwards. `msdn_lit.open_dataset` makes a data module and calls
    `setup`.

    Args:
        benchmark: Name of the benchmark, e.g. "CUB".
        data_dir: Folder that holds xlsa17/, w2v/ and the images.
        store_dir: Feature store, or a published feature file (.hdf5).
        source: How the store must have been made (name, backbone, transform; or name, regions);
            None accepts any store of the benchmark's images.
        train_split: "trainval", with the classes of test_unseen as unseen; or "train", with those
            of val as unseen and the classes of test_unseen no candidates.
        eval_splits: Splits that are evaluated during and after training: test_seen, test_unseen; or
            val_seen, val.
        val_seen: Marks the images of train that are held out as val_seen, given their labels.
        semantics: Configuration of the classes' semantics.
        sampler: Makes the plan of training batches from the labels of the training images; see
            `samplers`.
        eval_batch_size: Images per evaluation step.
        feature_cache: Place of the features during training: "disk", "ram" or "gpu"; "auto"
            chooses by free memory.
        num_workers: Loader processes; 0 reads in the training process.
        allow_unknown_split: Accept split files that are not a known variant of the benchmark's.
        val_classes: `fraction` and `seed` with which the classes of val are drawn if the split file
            has none.
        folder: A user's own dataset.
        test_seen: `fraction` and `seed` with which the test_seen images of such a dataset are
            drawn.

    Attributes:
        open_pixels: Opens the images of a split in the place of the feature store, for training
            through the backbone; None, the default, opens the store.

    Raises:
        ConfigError: A setting is not valid.
        DataError: There is no such benchmark.
    """

    semantics: Semantics
    split: ProposedSplit
    indices: dict[str, IntArray]

    def __init__(
        self,
        *,
        benchmark: str,
        data_dir: str | Path,
        store_dir: str | Path,
        semantics: SemanticsConfig,
        source: dict[str, Any] | None = None,
        train_split: str = "trainval",
        eval_splits: Sequence[str] = EVAL_SPLITS["trainval"],
        val_seen: Callable[[IntArray], NDArray[np.bool_]] = _FIFTH_OF_EACH_CLASS,
        sampler: Callable[[IntArray], BatchPlan] = _RELEASE_BATCHES,
        eval_batch_size: int = 64,
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
            found = list(eval_splits)
            raise ConfigError("protocol.eval_splits is wrong", expected=expected, found=found)
        if eval_batch_size < 1 or num_workers < 0:
            raise ConfigError("data.eval_batch_size must be positive, data.num_workers at least 0")
        self.benchmark = find_benchmark(benchmark, folder, test_seen)
        self.data_dir = Path(data_dir)
        self.store_dir = Path(store_dir)
        self.source = source
        self.train_split = train_split
        self.eval_splits = tuple(eval_splits)
        self.val_seen = val_seen
        self.semantics_config = semantics
        self.sampler = sampler
        self.eval_batch_size = eval_batch_size
        self.feature_cache = feature_cache
        self.num_workers = num_workers
        self.allow_unknown_split = allow_unknown_split
        self.val_classes = val_classes
        self.open_pixels: Callable[[ProposedSplit], ImagePixels] | None = None
        self._store: Regions | None = None
        self._gather: Gather | None = None

    @property
    def store(self) -> Regions:
        """The opened region features."""
        assert self._store is not None, "call setup() first"
        return self._store

    @property
    def visual_dim(self) -> int:
        """D, the number of channels of a region."""
        return self.store.manifest.shape[2]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the regions."""
        return self.store.manifest.grid

    @property
    def seen(self) -> Tensor:
        """Ids of the seen classes, ascending."""
        return self.semantics.seen_tensor

    @property
    def unseen(self) -> Tensor:
        """Ids of the unseen classes, ascending."""
        return self.semantics.unseen_tensor

    @property
    def class_attributes(self) -> Tensor:
        """Class semantic vectors with unit rows, (C, K)."""
        return self.semantics.class_attributes_tensor

    @property
    def attribute_vectors(self) -> Tensor:
        """Word vectors of the attributes, (K, E); random ones if they are learned from scratch."""
        return self.semantics.initial_attribute_vectors()

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the K attributes."""
        K = self.semantics.class_attributes_CK.shape[1]
        return self.benchmark.attribute_names(self.data_dir, K)

    def image(self, row: int) -> NDArray[np.float32]:
        """Returns one image as the backbone saw it: pixels in [0, 1], (size, size, 3).

        Raises:
            DataError: The image is missing, or the features were not made from images.
        """
        source = self.store.manifest.source
        if "transform" not in source:
            raise DataError(f"{source['name']} features were not made from images")
        paths = self.benchmark.image_paths(self.split, self.data_dir)
        boxes = self.benchmark.image_boxes(self.split, self.data_dir)
        image = open_image(paths[row], boxes[row] if boxes else None, upright=DECODING in source)
        pixels = ImageTransform(**source["transform"]).crop(image)
        return np.asarray(pixels, dtype=np.float32) / np.float32(255)

    def setup(self, stage: str | None = None) -> None:
        """Reads and checks splits, semantics and store; a second call does nothing.

        Raises:
            DataError: A file is missing or damaged, or two files do not fit together.
        """
        if self._store is not None:
            return
        split = self.read_split()
        store = self._open(split)
        skipped = store.manifest.skipped
        needed = (self.train_split, *self.eval_splits)
        indices = split_indices(split, self.val_seen, needed)
        self.indices = {name: rows[~np.isin(rows, skipped)] for name, rows in indices.items()}
        self.semantics = self.read_semantics(split)
        self.split = split
        self._store = store

    def _open(self, split: ProposedSplit) -> Regions:
        if self.open_pixels is not None:
            return self.open_pixels(split)
        return open_regions(self.store_dir, self.source, split, self.benchmark, self.data_dir)

    def read_split(self) -> ProposedSplit:
        """Reads the split files alone. Missing train and val splits are drawn.

        Raises:
            DataError: A file is missing, damaged or unknown.
        """
        split = self.benchmark.read_split(self.data_dir, allow_unknown=self.allow_unknown_split)
        return split if self.val_classes is None else with_train_and_val(split, **self.val_classes)

    def read_semantics(self, split: ProposedSplit) -> Semantics:
        """Reads the semantics of the split's classes; needs no features.

        Raises:
            DataError: The word vectors are missing, damaged or of other attributes, or a class is
                both seen and unseen.
        """
        splits = self.train_split, UNSEEN_SPLIT[self.train_split]
        return self.semantics_config.load(split, self.benchmark, self.data_dir, *splits)

    def batches(
        self, splits: str | Sequence[str], *, size: int, steps: int | None = None, seed: int = 0
    ) -> Iterator[Batch]:
        """Returns batches without a Lightning trainer, on the CPU.

        Args:
            splits: Name of a split, or names of several.
            size: Images per batch.
            steps: Number of batches, each a random subset of the images (`UniformBatches`); None
                gives every image once, in order, split by split.
            seed: Seed of the random subsets.
        """
        names = [splits] if isinstance(splits, str) else list(splits)
        rows = np.concatenate([self.indices[name] for name in names])
        dataset = SplitDataset(gather_from_disk(self.store), rows, self.split.labels_N)
        plan = None if steps is None else UniformBatches(dataset.labels, size, seed)
        return dataset.batches(size, plan, steps or 0)

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
        return BatchLoader(dataset, batch_size=self.eval_batch_size, **self._loader_args())

    def val_dataloader(self) -> list[BatchLoader]:
        """One loader per evaluated split, in order. Ranks share the images without padding."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        loaders = []
        for name in self.eval_splits:
            dataset = self.dataset(name)
            shard = range(rank, len(dataset), world_size)
            arguments = self._loader_args() | {"batch_size": self.eval_batch_size}
            loaders.append(BatchLoader(dataset, sampler=shard, **arguments))
        return loaders

    def dataset(self, split_name: str) -> SplitDataset:
        """Returns the images of one split, read from the chosen feature cache."""
        if self._gather is None:
            is_first = not self.trainer or self.trainer.local_rank == 0  # on this machine
            cache, device = self.chosen_cache, self._device()
            self._gather = make_gather(self.store, cache, device, read_ahead=is_first)
        of_step = self.store.gather_augmented if isinstance(self.store, ImagePixels) else None
        return SplitDataset(self._gather, self.indices[split_name], self.split.labels_N, of_step)

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
        if self.num_workers or not isinstance(self.store, ImagePixels):
            return self.num_workers
        return num_decoders(self.trainer.num_devices if self.trainer else 1)

    @cached_property
    def chosen_cache(self) -> str:
        """Place of the features, once there is a trainer: "disk", "ram" or "gpu"; or "images"."""
        if isinstance(self.store, ImagePixels):
            return "images"
        num_bytes = 2 * int(np.prod(self.store.manifest.shape))
        return choose_cache(self.feature_cache, num_bytes, self._device())

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
