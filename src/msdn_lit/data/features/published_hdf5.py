"""Published feature files feature_map_ResNet_101_*.hdf5 (TransZero, MSDN; DAZLE has the same name).

`feature_map` is (N, D, H, W) in float32, contiguous or gzip; `labels` and the `*_loc` lists are
0-based.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.features.extraction import RegionBatch
from msdn_lit.data.features.store import Manifest, all_finite
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.errors import READ_ERRORS, DataError, one_line

if TYPE_CHECKING:
    import h5py

PUBLISHED_SUFFIXES = (".hdf5", ".h5")
STRIDE = 32  # pixels per cell of ResNet's last feature map
SPLITS = ("trainval", "test_seen", "test_unseen")


class PublishedFeatures:
    """A published feature file with the interface of a feature store.

    Args:
        path: HDF5 file.
        source: Assumed origin of its features: name, backbone and transform; an empty
            mapping if it is not known.
        images_sha256: Hash of the image list that its rows are assumed to follow; `check_split`
            compares labels and splits.

    Attributes:
        manifest: Manifest of an equivalent store.
        rows_per_block: Number of images that are decoded together: 1, or up to hundreds in gzip
            files.

    Raises:
        DataError: The file is missing, damaged, of another layout, or of another image size than
            the source's.
    """

    def __init__(self, path: Path, source: dict[str, Any], images_sha256: str) -> None:
        self.path = path
        self._maps_NDHW: h5py.Dataset | None = None
        try:
            maps_NDHW = self._maps()
            N, D, H, W = maps_NDHW.shape
            dtype = maps_NDHW.dtype
            self.rows_per_block = (maps_NDHW.chunks or (1,))[0]
        except READ_ERRORS as error:
            raise DataError(
                f"{path} cannot be read as a published feature file ({one_line(error)})",
                expected="an HDF5 file with feature_map (N, D, H, W)",
            ) from error
        if dtype.kind != "f" or not min(N, D, H, W):
            raise DataError(
                f"{path}: feature_map is not a table of features",
                found=f"{dtype} {maps_NDHW.shape}",
            )
        if source:
            _check_source(path, source, (H, W))
        self.manifest = Manifest(
            source=source,
            images_sha256=images_sha256,
            shape=(N, H * W, D),
            grid=(H, W),
            weights_sha256="unknown",
            computation={"published_hdf5": path.name},
        )

    def check_split(self, split: ProposedSplit) -> None:
        """Raises DataError if number of images, labels or split lists differ from a split."""
        found_N, N = self.manifest.shape[0], len(split.labels_N)
        if found_N != N:
            raise DataError(
                f"{self.path} is of other images", expected=f"{N} feature maps", found=found_N
            )
        labels = self._list("labels")
        self._compare("labels", labels, split.labels_N, split)
        for name in SPLITS:
            found = np.sort(self._list(f"{name}_loc"))
            self._compare(f"{name}_loc", found, np.sort(split.indices[name]), split)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Reads images by row, (B, R, D).

        Raises:
            DataError: The file is damaged there, or a feature does not fit fp16.
        """
        order, positions = np.unique(rows, return_inverse=True)  # h5py requires ascending rows
        return self._read(order)[positions]

    def batches(self, claims: Iterator[range]) -> Iterator[RegionBatch]:
        """Yields the regions of the claimed batches, for conversion to a store."""
        for rows in claims:
            yield RegionBatch(rows, self._read(slice(rows.start, rows.stop)))

    def _compare(
        self, key: str, found: NDArray[Any], expected: NDArray[np.int64], split: ProposedSplit
    ) -> None:
        if not np.array_equal(found, expected):
            raise DataError(
                f"{self.path}: {key} differs from the split file's",
                expected=f"{len(expected)} values as in {split.folder}",
                found=f"{found.size} values",
                action="Use the feature file that was made with these splits, or extract.",
            )

    def _read(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float16]:
        try:
            maps_BDHW = self._maps()[rows]
        except READ_ERRORS as error:
            raise DataError(
                f"{self.path} is damaged ({one_line(error)})", action="Download it again."
            ) from error
        with np.errstate(over="ignore"):
            maps_BDR = maps_BDHW.reshape(*maps_BDHW.shape[:2], -1)
            regions_BRD: NDArray[np.float16] = maps_BDR.transpose(0, 2, 1).astype(
                np.float16, order="C"
            )
        if not all_finite(regions_BRD):
            raise DataError(
                f"{self.path}: NaN or a value beyond fp16 in the features",
                action="Download it again.",
            )
        return regions_BRD

    def _maps(self) -> h5py.Dataset:
        """Opens the file on first use, so each loader worker has its own handle."""
        import h5py  # which not every dataset needs

        if self._maps_NDHW is None:
            self._maps_NDHW = _array(h5py.File(self.path, "r"), "feature_map")
        return self._maps_NDHW

    def _list(self, key: str) -> NDArray[Any]:
        try:
            array = _array(self._maps().file, key)
            if array.dtype.kind not in "iuf":
                raise ValueError(f"it is {array.dtype} {array.shape}")
            return np.ravel(array[()])
        except READ_ERRORS as error:
            raise DataError(
                f"{self.path} lacks {key} ({one_line(error)})", action="Download it again."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps_NDHW": None}


def _array(file: h5py.File, key: str) -> h5py.Dataset:
    """Returns an array whose data are completely stored in the file.

    HDF5 reads zeros without an error for chunks that were never written, as in a file whose writer
    was interrupted, and for data in other files that are missing.

    Raises:
        KeyError, ValueError: There is no such array.
    """
    import h5py

    array = file[key]
    if not isinstance(array, h5py.Dataset):
        raise ValueError(f"{key} is not an array")
    if array.is_virtual or array.external:
        raise ValueError(f"the data of {key} are in other files")
    if not _is_complete(array):
        raise ValueError(f"{key} was never written completely")
    return array


def _is_complete(array: h5py.Dataset) -> bool:
    if array.chunks is None:
        return bool(array.id.get_storage_size() == array.nbytes)
    num_chunks = math.prod(math.ceil(n / c) for n, c in zip(array.shape, array.chunks, strict=True))
    return bool(array.id.get_num_chunks() == num_chunks)


def _check_source(path: Path, source: Mapping[str, Any], grid: tuple[int, int]) -> None:
    model_name = source.get("backbone", {}).get("model_name", source["name"])
    if not model_name.startswith("resnet101"):
        raise DataError(
            f"{path}: published feature files are ResNet-101's",
            found=f"{model_name}",
            action="Choose features=resnet101_448.",
        )
    size = source["transform"]["image_size"]
    expected = (size // STRIDE, size // STRIDE)
    if grid == expected:
        return
    action = f"Choose features=resnet101_{STRIDE * grid[0]}."
    if grid == (7, 7):
        action = f"It is DAZLE's file of 224 px images, which has the same name. {action}"
    raise DataError(
        f"{path} has another region grid",
        expected=f"{expected[0]}x{expected[1]} regions at {size} px",
        found=f"{grid[0]}x{grid[1]}",
        action=action,
    )
