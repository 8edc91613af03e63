"""Region features on disk: a memory-mapped fp16 array (N, R, D) beside a manifest of how it was made.

A store is a folder with `regions.npy` and `manifest.json`. The manifest is written last and by renaming, so a folder
with a manifest is complete. Rows are contiguous: one image is one read. `store_writer` makes stores.
"""

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.errors import READ_ERRORS, DataError, one_line

FORMAT = 1
REGIONS, MANIFEST = "regions.npy", "manifest.json"
_MAX_BUFFERS = 4
_REFERENCES_TO_A_FREE_BUFFER = 3  # the list, the loop's variable, and getrefcount's own argument


@dataclass(frozen=True)
class Manifest:
    """How a store was made.

    Attributes:
        source: Name, backbone and transform, as the features config states them, or name and regions where there are
            no images; a store serves only its own source.
        images_sha256: Hash of the image list, in order.
        shape: (N, R, D).
        grid: (H, W), with H * W = R.
        weights_sha256: Hash of the backbone's weights, or of the class attributes and labels that regions show.
        versions: Versions of the libraries that computed it.
        computation: What else can change the last digits: device, precision and batch size, or the file it came from.
        regions_sha256: Hash of the features.
        skipped: Rows of images that did not decode and were left out at the user's request; they hold zeros.
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
    """Hash of image paths below their root, in order."""
    return sha256("\n".join(relative_paths).encode()).hexdigest()


class FeatureStore:
    """A finished store, opened for reading.

    Args:
        folder: The store's folder.

    Raises:
        DataError: The store is absent, unfinished, truncated, or of a format that this version does not know.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / REGIONS
        self.manifest = _read_manifest(folder)
        self._buffers: list[NDArray[np.float16]] = []
        self._regions: Tensor | None = None
        self._is_checked = np.zeros(len(self._map()), dtype=bool)  # fails here, not in a worker

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a finished store is there."""
        return (folder / MANIFEST).is_file()

    def check(self, *, source: dict[str, Any], images_sha256: str) -> None:
        """Raises DataError unless the store was made from this source and this image list."""
        remedy = f"Remove {self.folder} and run msdn-extract again with the same overrides."
        if self.manifest.source != source:
            differing = sorted(
                k
                for k in {*source, *self.manifest.source}
                if source.get(k) != self.manifest.source.get(k)
            )
            wanted = {key: source.get(key) for key in differing}
            found = {key: self.manifest.source.get(key) for key in differing}
            raise DataError(
                f"{self.folder} was made in another way",
                expected=wanted,
                found=found,
                action=remedy,
            )
        if self.manifest.images_sha256 != images_sha256:
            raise DataError(
                f"{self.folder} was made from another image list than the split file's",
                action=remedy,
            )

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Reads images by row into memory, (B, R, D).

        Raises:
            DataError: A feature is NaN or infinite; looked for when an image is read for the first time.
        """
        assert len(rows) == 0 or (rows.min() >= 0 and rows.max() < len(self._is_checked)), rows
        regions_BRD = self._buffer(len(rows))
        torch.index_select(
            self._map(), 0, torch.from_numpy(rows), out=torch.from_numpy(regions_BRD)
        )
        for position in np.flatnonzero(~self._is_checked[rows]):
            if not all_finite(regions_BRD[position]):
                raise DataError(
                    f"{self.path}: NaN or infinity in the features of image {rows[position]}",
                    action=f"Remove {self.folder} and run msdn-extract again.",
                )
        self._is_checked[rows] = True
        return regions_BRD

    def _buffer(self, num_images: int) -> NDArray[np.float16]:
        """Memory for one batch: of an earlier batch that nobody holds any more, since fresh pages cost a third copy."""
        for buffer in self._buffers:
            is_free = sys.getrefcount(buffer) <= _REFERENCES_TO_A_FREE_BUFFER
            if is_free and len(buffer) >= num_images:
                return buffer[:num_images]
        self._buffers = self._buffers[
            -_MAX_BUFFERS + 1 :
        ]  # what is still held elsewhere lives on there
        self._buffers.append(np.empty((num_images, *self.manifest.shape[1:]), dtype=np.float16))
        return self._buffers[-1][:]

    def _map(self) -> Tensor:
        """Opens the map on first use, so that each loader worker has a handle of its own."""
        if self._regions is None:
            try:
                with np.errstate(over="ignore"):  # of the product of false dimensions
                    regions = np.lib.format.open_memmap(self.path, mode="r")
            except READ_ERRORS as error:
                raise DataError(
                    f"{self.path} is missing or truncated ({one_line(error)})",
                    action=f"Remove {self.folder} and run msdn-extract again.",
                ) from error
            if regions.shape != self.manifest.shape or regions.dtype != np.float16:
                expected, found = (
                    f"float16 {self.manifest.shape}",
                    f"{regions.dtype} {regions.shape}",
                )
                raise DataError(
                    f"{self.path} is not what its manifest says", expected=expected, found=found
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch knows no memory that must not be written
                self._regions = torch.from_numpy(np.asarray(regions))
        return self._regions

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_regions": None, "_buffers": []}


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    remedy = f"Remove {folder} and run msdn-extract again."
    try:
        content = json.loads(path.read_text())
        manifest = Manifest(**content)
        lists = {name: tuple(getattr(manifest, name)) for name in ("shape", "grid", "skipped")}
        manifest = Manifest(**content | lists)
    except FileNotFoundError:
        raise DataError(
            f"No region features at {folder}", action="Run msdn-extract with the same overrides."
        ) from None
    except READ_ERRORS as error:
        raise DataError(f"{path} is damaged ({one_line(error)})", action=remedy) from error
    if manifest.format != FORMAT:
        raise DataError(
            f"{path} has another format", expected=FORMAT, found=manifest.format, action=remedy
        )
    if not _is_sound(manifest):
        raise DataError(
            f"{path} is damaged (a value is of another kind than all stores have)", action=remedy
        )
    return manifest


def _is_sound(manifest: Manifest) -> bool:
    """Whether the values are of the types and within the limits that Manifest states."""
    N, R, _ = manifest.shape if len(manifest.shape) == 3 else (0, 0, 0)
    whole = (*manifest.shape, *manifest.grid, *manifest.skipped)
    texts = (manifest.images_sha256, manifest.weights_sha256, manifest.regions_sha256)
    return (
        all(type(number) is int and number >= 0 for number in whole)
        and all(type(text) is str for text in texts)
        and all(
            type(entries) is dict
            for entries in (manifest.source, manifest.versions, manifest.computation)
        )
        and len(manifest.grid) == 2
        and manifest.grid[0] * manifest.grid[1] == R
        and all(row < N for row in manifest.skipped)
    )


def all_finite(values: NDArray[np.float16]) -> bool:
    """True if no value is NaN or infinite; 12 times as fast as np.isfinite."""
    # behind the sign, the bits of infinity are 0x7C00 and those of NaN are more
    return int(values.view(np.int16).max()) < 0x7C00 and int(values.view(np.uint16).max()) < 0xFC00
