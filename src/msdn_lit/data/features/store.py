"""Region features on disk: a memory-mapped fp16 array (N, R, D) and a manifest of its origin.

A store is a folder with `regions.npy`, `manifest.json` and, if it was made of image files,
`images.npy` (`image_table.py`). The manifest is written last and atomically, so a folder with a
manifest is complete. The rows are contiguous: one image is one read. `writer.py` creates stores.
"""

import json
import os
import shutil
import sys
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.errors import READ_ERRORS, DataError, one_line

FORMAT = 1
REGIONS = "regions.npy"
MANIFEST = "manifest.json"
# Key of a store's source: how the images of the user's own dataset are decoded, as in prediction.
# Stores of published benchmarks, and of version 0.1, do not have it: their images are not rotated.
DECODING = "decoding"
AS_IN_PREDICTION = "rotated by EXIF, transparency on white"
_MAX_BUFFERS = 4
_REFERENCES_TO_A_FREE_BUFFER = 3  # the list, the loop's variable, and getrefcount's own argument


@dataclass(frozen=True)
class Manifest:
    """Origin and shape of a store.

    Attributes:
        source: Name, backbone and transform as in the features config, or name and regions if there
            are no images, and for the user's own dataset how images are decoded; a store is only
            accepted for its own source.
        images_sha256: Hash of the list of image names, in order; not of what the files contain.
        shape: (N, R, D).
        grid: (H, W), with H * W = R.
        weights_sha256: Hash of the backbone's weights, or of the class attributes and labels from
            which regions were generated.
        versions: Versions of the libraries that computed the features.
        computation: Everything else that can change the last digits: device, precision and batch
            size, or the name of the converted file.
        regions_sha256: Hash of the features.
        skipped: Rows of images that did not decode and were skipped on request; they are zeros.
        format: Version of this layout.
    """

    source: dict[str, Any]
    images_sha256: str
    shape: tuple[int, int, int]
    grid: tuple[int, int]
    weights_sha256: str
    versions: dict[str, str] = field(default_factory=dict)
    computation: dict[str, Any] = field(default_factory=dict)
    regions_sha256: str = ""
    skipped: tuple[int, ...] = ()
    format: int = FORMAT


def hash_image_list(relative_paths: Sequence[str]) -> str:
    """Hashes the image paths below their folder, in order; not what the files contain."""
    return sha256("\n".join(relative_paths).encode()).hexdigest()


class FeatureStore:
    """A complete store, opened for reading.

    Args:
        folder: Folder of the store.

    Raises:
        DataError: The store is missing, incomplete, truncated, or of an unknown format.

    Example:
        >>> store = FeatureStore("data/features/CUB_resnet101_448")  # doctest: +SKIP
        >>> len(store)  # doctest: +SKIP
        11788
        >>> store[3].shape, store[3].dtype  # doctest: +SKIP
        (torch.Size([196, 2048]), torch.float16)
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / REGIONS
        self.manifest = read_manifest(self.folder)
        self._buffers: list[NDArray[np.float16]] = []
        self._regions: Tensor | None = None
        self._file: int | None = None  # descriptor of the mapped file, to ask for its size
        self._size = 0  # of that file when it was mapped
        # Maps the file now, so that an error is raised here and not in a loader worker.
        self._is_checked = np.zeros(len(self._map()), dtype=bool)

    def __len__(self) -> int:
        """Returns the number of images N."""
        return self.manifest.shape[0]

    def __getitem__(self, row: int) -> Tensor:
        """Reads the region features of one image, fp16, (R, D).

        Args:
            row: Row of the image list; negative rows count from the end.

        Raises:
            IndexError: The row is out of range.
            DataError: A feature is NaN or infinite.
        """
        index = range(len(self))[row]
        return torch.from_numpy(self.gather(np.array([index]))[0])

    @staticmethod
    def exists(folder: Path) -> bool:
        """Returns True if a folder contains a complete store."""
        return (folder / MANIFEST).is_file()

    def check(self, *, source: dict[str, Any], images_sha256: str) -> None:
        """Raises DataError unless the store was made from this source and this image list."""
        remedy = f"Remove {self.folder} and run msdn extract again with the same overrides."
        if self.manifest.source != source:
            differing = sorted(
                k
                for k in {*source, *self.manifest.source}
                if source.get(k) != self.manifest.source.get(k)
            )
            raise DataError(
                f"{self.folder} was made with other settings",
                expected={key: source.get(key) for key in differing},
                found={key: self.manifest.source.get(key) for key in differing},
                action=remedy,
            )
        if self.manifest.images_sha256 != images_sha256:
            raise DataError(
                f"{self.folder} was made from another image list than that of the dataset now",
                action=remedy,
            )

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Reads images by row into memory, (B, R, D).

        Raises:
            DataError: The file has become shorter; or a feature is NaN or infinite, which is
                checked when an image is read for the first time.
        """
        regions_BRD = self._buffer(len(rows))
        self.read_into(torch.from_numpy(regions_BRD), rows)
        for position in np.flatnonzero(~self._is_checked[rows]):
            if not all_finite(regions_BRD[position]):
                raise DataError(
                    f"{self.path}: NaN or infinity in the features of image {rows[position]}",
                    action=f"Remove {self.folder} and run msdn extract again.",
                )
        self._is_checked[rows] = True
        return regions_BRD

    def read_into(self, regions_BRD: Tensor, rows: NDArray[np.int64]) -> None:
        """Reads images by row into a tensor on the CPU; whoever reads checks the values."""
        assert len(rows) == 0 or (rows.min() >= 0 and rows.max() < len(self._is_checked)), rows
        regions_NRD = self._map()
        self._check_size()
        torch.index_select(regions_NRD, 0, torch.from_numpy(rows), out=regions_BRD)

    def _buffer(self, num_images: int) -> NDArray[np.float16]:
        """Returns memory for one batch.

        The memory of an earlier batch is used again if nothing refers to it any more, because the
        first access to new memory costs a third of the copy.
        """
        for buffer in self._buffers:
            is_free = sys.getrefcount(buffer) <= _REFERENCES_TO_A_FREE_BUFFER
            if is_free and len(buffer) >= num_images:
                return buffer[:num_images]
        # A buffer that is dropped here stays valid for the code that still refers to it.
        self._buffers = self._buffers[-_MAX_BUFFERS + 1 :]
        self._buffers.append(np.empty((num_images, *self.manifest.shape[1:]), dtype=np.float16))
        return self._buffers[-1][:]

    def _check_size(self) -> None:
        """Raises DataError if the file has lost bytes; reading them would end the process."""
        assert self._file is not None
        found = os.fstat(self._file).st_size
        if found < self._size:
            raise DataError(
                f"{self.path} was truncated while it was read",
                expected=f"{self._size:,} bytes",
                found=f"{found:,}",
                action=f"Remove {self.folder} and run msdn extract again.",
            )

    def _map(self) -> Tensor:
        """Opens the memory map on first use, so each loader worker has its own handle."""
        if self._regions is None:
            try:
                self._file = self._open()
                with np.errstate(over="ignore"):  # product of false dimensions
                    regions = np.lib.format.open_memmap(self.path, mode="r")
            except READ_ERRORS as error:
                raise DataError(
                    f"{self.path} is missing or truncated ({one_line(error)})",
                    action=f"Remove {self.folder} and run msdn extract again.",
                ) from error
            if regions.shape != self.manifest.shape or regions.dtype != np.float16:
                wanted, found = f"float16 {self.manifest.shape}", f"{regions.dtype} {regions.shape}"
                problem = f"{self.path} does not match its manifest"
                raise DataError(problem, expected=wanted, found=found)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch has no read-only memory
                self._regions = torch.from_numpy(np.asarray(regions))
        return self._regions

    def _open(self) -> int:
        """Opens the file until this store is garbage; returns the descriptor."""
        file = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, file)
        self._size = os.fstat(file).st_size
        return file

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_regions": None, "_file": None, "_buffers": []}


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks the manifest of a complete store.

    Raises:
        DataError: It is missing, damaged, or of an unknown format.
    """
    path = folder / MANIFEST
    remedy = f"Remove {folder} and run msdn extract again."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**content)
        lists = {name: tuple(getattr(manifest, name)) for name in ("shape", "grid", "skipped")}
        manifest = Manifest(**content | lists)
    except FileNotFoundError:
        raise DataError(
            f"No region features at {folder}", action="Run msdn extract with the same overrides."
        ) from None
    except READ_ERRORS as error:
        raise DataError(f"{path} is damaged ({one_line(error)})", action=remedy) from error
    if manifest.format != FORMAT:
        raise DataError(
            f"{path} has another format", expected=FORMAT, found=manifest.format, action=remedy
        )
    if not _is_sound(manifest):
        raise DataError(f"{path} is damaged (a value has a wrong type or range)", action=remedy)
    return manifest


def _is_sound(manifest: Manifest) -> bool:
    """Returns True if the values have the types and ranges that Manifest states."""
    N, R, _ = manifest.shape if len(manifest.shape) == 3 else (0, 0, 0)
    whole = (*manifest.shape, *manifest.grid, *manifest.skipped)
    texts = (manifest.images_sha256, manifest.weights_sha256, manifest.regions_sha256)
    mappings = (manifest.source, manifest.versions, manifest.computation)
    return (
        all(type(number) is int and number >= 0 for number in whole)
        and all(type(text) is str for text in texts)
        and all(type(mapping) is dict for mapping in mappings)
        and len(manifest.grid) == 2
        and manifest.grid[0] * manifest.grid[1] == R
        and all(row < N for row in manifest.skipped)
    )


def manifest_json(manifest: Manifest) -> bytes:
    """Returns the content of a manifest's file."""
    return (json.dumps(asdict(manifest), indent=2) + "\n").encode()


def check_room(folder: Path, manifest: Manifest) -> None:
    """Raises DataError if the disk has no room for a store's features."""
    needed, free = 2 * int(np.prod(manifest.shape)), shutil.disk_usage(folder).free
    if free < needed:
        action = "Choose a folder on another disk with paths.feature_dir=..."
        wanted, found = f"{needed / 1e9:.1f} GB free", f"{free / 1e9:.1f} GB"
        raise DataError(
            f"Not enough room for {folder}", expected=wanted, found=found, action=action
        )


def hash_regions(folder: Path) -> str:
    """Hashes a store's features; reads all of them."""
    return sha256(np.load(folder / REGIONS, mmap_mode="r")).hexdigest()


def all_finite(values: NDArray[np.float16]) -> bool:
    """Returns True if no value is NaN or infinite; 12 times as fast as np.isfinite."""
    # Without the sign bit, infinity is 0x7C00 and NaN is larger.
    return int(values.view(np.int16).max()) < 0x7C00 and int(values.view(np.uint16).max()) < 0xFC00
