"""Region features on disk: a memory-mapped fp16 array (N, R, D) beside a manifest of how it was made.

A store is a folder with `regions.npy` and `manifest.json`. The manifest is written last and by renaming, so a folder
with a manifest is complete. Rows are contiguous: one image is one read.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.errors import DataError

FORMAT = 1
REGIONS, MANIFEST, PARTIAL = "regions.npy", "manifest.json", "regions.npy.partial"


@dataclass(frozen=True)
class Manifest:
    """How a store was made.

    Attributes:
        source: Name, backbone and transform, as the features config states them; a store serves only its own source.
        images_sha256: Hash of the image list, in order.
        shape: (N, R, D).
        grid: (H, W), with H * W = R.
        weights_sha256: Hash of the backbone's weights.
        versions: Versions of the libraries that computed it.
        format: Version of this layout.
    """

    source: dict[str, Any]
    images_sha256: str
    shape: tuple[int, int, int]
    grid: tuple[int, int]
    weights_sha256: str
    versions: dict[str, str] = field(default_factory=dict)
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
        self.manifest = _read_manifest(folder)
        self._regions: np.memmap[Any, np.dtype[np.float16]] | None = None
        self._map()  # fail here, not in a worker

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a finished store is there."""
        return (folder / MANIFEST).is_file()

    def check(self, *, source: dict[str, Any], images_sha256: str) -> None:
        """Raises DataError unless the store was made from this source and this image list."""
        remedy = f"Remove {self.folder} and run msdn-extract again with the same overrides."
        if self.manifest.source != source:
            differing = sorted(
                k for k in {*source, *self.manifest.source} if source.get(k) != self.manifest.source.get(k)
            )
            wanted = {key: source.get(key) for key in differing}
            found = {key: self.manifest.source.get(key) for key in differing}
            raise DataError(f"{self.folder} was made in another way", expected=wanted, found=found, action=remedy)
        if self.manifest.images_sha256 != images_sha256:
            raise DataError(f"{self.folder} was made from another image list than the split file's", action=remedy)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Reads images by row into memory, (B, R, D).

        Raises:
            DataError: A feature is NaN or infinite.
        """
        regions_BRD: NDArray[np.float16] = self._map()[rows]
        if not _all_finite(regions_BRD):
            bad = [int(row) for row, image in zip(rows, regions_BRD, strict=True) if not _all_finite(image)]
            raise DataError(
                f"{self.folder / REGIONS}: NaN or infinity in the features of image {bad[0]}",
                action=f"Remove {self.folder} and run msdn-extract again.",
            )
        return regions_BRD

    def _map(self) -> "np.memmap[Any, np.dtype[np.float16]]":
        """Opens the map on first use, so that each loader worker has a handle of its own."""
        if self._regions is None:
            path = self.folder / REGIONS
            try:
                regions = np.lib.format.open_memmap(path, mode="r")
            except (OSError, ValueError, EOFError) as error:
                raise DataError(
                    f"{path} is missing or truncated ({error})",
                    action=f"Remove {self.folder} and run msdn-extract again.",
                ) from error
            if regions.shape != self.manifest.shape or regions.dtype != np.float16:
                expected, found = f"float16 {self.manifest.shape}", f"{regions.dtype} {regions.shape}"
                raise DataError(f"{path} is not what its manifest says", expected=expected, found=found)
            self._regions = regions
        return self._regions

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_regions": None}


class FeatureStoreWriter:
    """Writes a store; used as a context manager, it leaves either a finished store or nothing.

    Args:
        folder: Where the store shall be.
        manifest: How it is made.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.rows_written = 0

    def __enter__(self) -> "FeatureStoreWriter":
        needed = 2 * int(np.prod(self.manifest.shape))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise DataError(
                    f"Not enough room for {self.folder}",
                    expected=f"{needed / 1e9:.1f} GB free",
                    found=f"{free / 1e9:.1f} GB",
                    action="Name a folder on another disk with paths.feature_dir=...",
                )
            (self.folder / MANIFEST).unlink(missing_ok=True)
            path = self.folder / PARTIAL
            self._regions = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=self.manifest.shape)
        except OSError as error:
            action = "Name a folder that you may write with paths.feature_dir=..."
            raise DataError(f"{self.folder} cannot be written ({error})", action=action) from error
        return self

    def append(self, regions_BRD: NDArray[np.float16]) -> None:
        """Writes the next images' regions, (B, R, D).

        Raises:
            DataError: A feature is NaN or beyond fp16.
        """
        if not _all_finite(regions_BRD):
            raise DataError(
                f"The backbone gave NaN or a value beyond fp16 near image {self.rows_written}",
                action="Check the weights file, or choose features whose activations fit fp16.",
            )
        end = self.rows_written + len(regions_BRD)
        self._regions[self.rows_written : end] = regions_BRD
        self.rows_written = end

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._regions.flush()
        del self._regions
        if failure is None:
            assert self.rows_written == self.manifest.shape[0], (self.rows_written, self.manifest.shape)
            os.replace(self.folder / PARTIAL, self.folder / REGIONS)
            _write_atomically(self.folder / MANIFEST, json.dumps(asdict(self.manifest), indent=2) + "\n")
        else:
            (self.folder / PARTIAL).unlink()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    remedy = f"Remove {folder} and run msdn-extract again."
    try:
        content = json.loads(path.read_text())
        manifest = Manifest(**content)
        manifest = Manifest(**content | {"shape": tuple(manifest.shape), "grid": tuple(manifest.grid)})
    except FileNotFoundError:
        raise DataError(f"No region features at {folder}", action="Run msdn-extract with the same overrides.") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error})", action=remedy) from error
    if manifest.format != FORMAT:
        raise DataError(f"{path} has another format", expected=FORMAT, found=manifest.format, action=remedy)
    return manifest


def _all_finite(values: NDArray[np.float16]) -> bool:
    """True if no value is NaN or infinite; 12 times as fast as np.isfinite."""
    # behind the sign, the bits of infinity are 0x7C00 and those of NaN are more
    return int(values.view(np.int16).max()) < 0x7C00 and int(values.view(np.uint16).max()) < 0xFC00


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text)
    os.replace(temporary, path)
