"""The dataset of every benchmark, read and checked: a benchmark is data, not a subclass.

Nothing here needs Lightning, whose import takes seconds: a model is opened with it, too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.data.batches import Batch, SplitDataset, is_size
from msdn_lit.data.benchmarks.published import find_benchmark
from msdn_lit.data.feature_cache import Regions, gather_from_disk
from msdn_lit.data.features.images import ImageTransform, open_image
from msdn_lit.data.features.opening import open_regions
from msdn_lit.data.features.store import DECODING
from msdn_lit.data.samplers import BatchPlan, UniformBatches
from msdn_lit.data.semantics import Semantics, SemanticsConfig
from msdn_lit.data.splits.holdout import split_images, split_indices
from msdn_lit.data.splits.variants import with_train_and_val
from msdn_lit.data.splits.xlsa17 import IntArray, ProposedSplit
from msdn_lit.errors import ConfigError, DataError

UNSEEN_SPLIT = {"trainval": "test_unseen", "train": "val"}
EVAL_SPLITS = {"trainval": ("test_seen", "test_unseen"), "train": ("val_seen", "val")}
_RELEASE_BATCHES = partial(UniformBatches, batch_size=50, seed=0)
_FIFTH_OF_EACH_CLASS = partial(split_images, fraction=0.2, seed=0)


class ZSLDataset:
    """Region features, labels and semantics of one benchmark under one protocol.

    `setup` reads and checks every file. `semantics`, `split`, `indices`, `store` and all that
    follows from them exist afterwards. `ZSLDataModule` adds the loaders of a Lightning trainer.

    Args:
        benchmark: Name of the benchmark, e.g. "CUB".
        data_dir: Folder that holds xlsa17/, w2v/ and the images.
        store_dir: Feature store, or a published feature file (.hdf5).
        source: Required origin of the store (name, backbone, transform; or name, regions);
            None accepts any store of the benchmark's images.
        train_split: "trainval", with the classes of test_unseen as unseen; or "train", with those
            of val as unseen and the classes of test_unseen no candidates.
        eval_splits: Splits that are evaluated during and after training: test_seen, test_unseen; or
            val_seen, val.
        val_seen: Marks the images of train that are held out as val_seen, given their labels.
        semantics: Configuration of the classes' semantics.
        sampler: Makes the plan of training batches from the labels of the training images; see
            `samplers`.
        eval_batch_size: Images per evaluation step; "auto" is 512 on a GPU and 64 elsewhere.
        feature_cache: Place of the features during training: "disk", "ram" or "gpu"; "auto"
            chooses by free memory.
        num_workers: Loader processes; 0 reads in the training process.
        allow_unknown_split: Accept split files that are not a known variant of the benchmark's.
        val_classes: `fraction` and `seed` with which the classes of val are drawn if the split file
            has none.
        folder: A user's own dataset.
        test_seen: `fraction` and `seed` with which the test_seen images of such a dataset are
            drawn.
        train_fraction: Fraction of the training images of each class that are used, at least one;
            the choice is the same in every run.

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
        eval_batch_size: int | str = "auto",
        feature_cache: str = "auto",
        num_workers: int = 0,
        allow_unknown_split: bool = False,
        val_classes: Mapping[str, Any] | None = None,
        folder: str | None = None,
        test_seen: Mapping[str, Any] | None = None,
        train_fraction: float = 1.0,
    ) -> None:
        super().__init__()
        if train_split not in UNSEEN_SPLIT:
            expected = "one of " + ", ".join(UNSEEN_SPLIT)
            raise ConfigError("protocol.train_split is wrong", expected=expected, found=train_split)
        if UNSEEN_SPLIT[train_split] not in eval_splits or len(eval_splits) != 2:
            problem = "protocol.eval_splits is wrong"
            expected = f"one split of seen classes, and {UNSEEN_SPLIT[train_split]}"
            raise ConfigError(problem, expected=expected, found=list(eval_splits))
        if not is_size(eval_batch_size) or num_workers < 0:
            problem = "data.eval_batch_size must be positive or auto, num_workers 0 or more"
            raise ConfigError(problem)
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
        self.train_fraction = train_fraction
        self.open_pixels: Callable[[ProposedSplit], Regions] | None = None
        self._store: Regions | None = None

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
        rows = self.indices[self.train_split]
        self.indices[self.train_split] = _some_of_each(rows, split.labels_N, self.train_fraction)
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


def _some_of_each(rows: IntArray, labels_N: IntArray, fraction: float) -> IntArray:
    """Returns a fraction of the training images of each class.

    Raises:
        ConfigError: The fraction is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        expected = "above 0, at most 1"
        raise ConfigError("data.train_fraction is wrong", expected=expected, found=fraction)
    if fraction == 1:
        return rows
    labels = labels_N[rows]
    chosen = split_images(labels, fraction, seed=0, keep_some=True)
    is_only = np.bincount(labels)[labels] == 1  # which `keep_some` does not choose
    kept: IntArray = rows[chosen | is_only]
    return kept
