"""Extraction: from image files to a feature store."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from msdn_lit.data.features.image_table import Records, read_records
from msdn_lit.data.features.images import ImageFiles
from msdn_lit.data.features.store import Manifest
from msdn_lit.data.features.writer import FeatureStoreWriter
from msdn_lit.errors import DataError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MAX_SHOWN_FAILURES = 5
POLL_SECONDS = 0.5  # between checks whether other processes have finished their batches


class Backbone(Protocol):
    """Interface of a backbone."""

    def feature_map(self, images_B3HW: Tensor) -> Tensor:
        """Computes feature maps, (B, D, H, W)."""

    def weights_sha256(self) -> str:
        """Returns a hash of the weights."""


@dataclass(frozen=True)
class RegionBatch:
    """Regions of consecutive images.

    Attributes:
        rows: Rows of the store.
        regions_BRD: Region features, fp16, (B, R, D).
        skipped: Rows whose image was skipped; their regions are zeros.
        records: Records of the image files; None if the features are not of image files.
    """

    rows: range
    regions_BRD: NDArray[np.float16]
    skipped: tuple[int, ...] = ()
    records: Records | None = None


class RegionSource(Protocol):
    """Source of region features: a backbone on images, a feature file, or a generator."""

    def batches(self, claims: Iterator[range]) -> Iterable[RegionBatch]:
        """Yields the regions of the claimed batches, in order."""


def write_store(
    folder: Path,
    manifest: Manifest,
    source: RegionSource,
    batch_size: int,
    on_progress: Callable[[int], None] = lambda num_done: None,
    images: Sequence[Path] = (),
) -> None:
    """Creates or completes a store; other processes may work on the same store.

    Args:
        folder: Folder of the store.
        manifest: Manifest of the store; the work of an earlier run with the same manifest is kept.
        source: Source of the features.
        batch_size: Images per batch.
        on_progress: Callback for the number of finished images.
        images: Image file of each row; the store notices later that one was replaced.

    Raises:
        DataError: An image does not decode, a feature does not fit fp16, or the disk is full. The
            finished batches are kept.
    """
    with FeatureStoreWriter(folder, manifest, batch_size, images) as store:
        while not store.publish():
            num_before = store.num_done
            on_progress(num_before)
            for batch in source.batches(store.claims()):
                store.write(batch.rows, batch.regions_BRD, batch.skipped, batch.records)
                on_progress(store.num_done)
            if store.num_done == num_before:
                time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class BackboneRegions:
    """Source of region features of images: processes decode while the backbone computes.

    Attributes:
        images: Images.
        backbone: Backbone on `device`.
        device: Device of the computation.
        precision: "fp32", or "bf16" or "fp16" under autocast.
        num_workers: Number of decoding processes.
        skip_undecodable: If True, images that do not decode are skipped; otherwise they raise.
    """

    images: ImageFiles
    backbone: Backbone
    device: torch.device
    precision: str
    num_workers: int
    skip_undecodable: bool

    def grid(self) -> tuple[int, int, int]:
        """Returns D, H and W of the feature map, found by running one blank image."""
        size = self.images.transform.image_size
        _, D, H, W = self._feature_map(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape
        return D, H, W

    def batches(self, claims: Iterator[range]) -> Iterator[RegionBatch]:
        """Computes the claimed batches, in order.

        Raises:
            DataError: An image is missing or does not decode, unless such images are skipped. The
                message names up to five images.
        """
        loader = DataLoader(
            _DecodedBatches(self.images),
            # Iterated whenever a worker is free, so batches are claimed as late as possible.
            batch_sampler=cast(Any, claims),
            num_workers=self.num_workers,
            collate_fn=cast(Any, _identity),
            pin_memory=self.device.type == "cuda",
        )
        running: Callable[[], RegionBatch] | None = None
        for batch in loader:
            if batch.failures and not self.skip_undecodable:
                raise _undecodable(batch.failures)
            before, running = running, self._start(batch)
            if before:
                yield before()  # written while a GPU computes the next batch
        if running:
            yield running()

    def _start(self, batch: "_DecodedBatch") -> Callable[[], RegionBatch]:
        """Starts one batch; returns a function that waits for a GPU and returns the batch."""
        maps_BDHW = self._feature_map(batch.pixels_BHW3)
        regions_BRD = maps_BDHW.flatten(2).transpose(1, 2).to(torch.float16).contiguous()
        is_gpu = self.device.type == "cuda"  # another device has no event to wait for
        regions_BRD = regions_BRD.to("cpu", non_blocking=is_gpu)
        copied = torch.cuda.current_stream(self.device).record_event() if is_gpu else None

        def finish() -> RegionBatch:
            if copied:
                copied.synchronize()
            for row in batch.failures:
                regions_BRD[row - batch.rows.start] = 0
            skipped = tuple(batch.failures)
            return RegionBatch(batch.rows, regions_BRD.numpy(), skipped, batch.records)

        return finish

    def _feature_map(self, pixels_BHW3: Tensor) -> Tensor:
        images_B3HW = self.images.transform.standardise(
            pixels_BHW3.to(self.device, non_blocking=True)
        )
        is_fp32 = self.precision == "fp32"
        with torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=not is_fp32):
            return self.backbone.feature_map(images_B3HW)


@dataclass(frozen=True)
class _DecodedBatch:
    """Images of a batch.

    Attributes:
        rows: Rows of the store.
        pixels_BHW3: Bytes, (B, H, W, 3); zeros for an image that does not decode.
        failures: Errors by row.
        records: Records of the files.
    """

    rows: range
    pixels_BHW3: Tensor
    failures: dict[int, DataError]
    records: Records

    def pin_memory(self) -> "_DecodedBatch":
        """Copies the bytes to pinned memory; the loader calls it for a GPU."""
        return replace(self, pixels_BHW3=self.pixels_BHW3.pin_memory())


class _DecodedBatches(Dataset[_DecodedBatch]):
    """Batches of images."""

    def __init__(self, images: ImageFiles) -> None:
        self.images = images

    def __getitems__(self, rows: range) -> _DecodedBatch:
        size = self.images.transform.image_size
        pixels_BHW3 = torch.zeros(len(rows), size, size, 3, dtype=torch.uint8)
        # Before the images are decoded: one that is replaced meanwhile is noticed the next time.
        records = read_records([self.images.paths[row] for row in rows])
        failures = {}
        for position, row in enumerate(rows):
            image = self.images[row]
            if isinstance(image, DataError):
                failures[row] = image
            else:
                pixels_BHW3[position] = image
        return _DecodedBatch(rows, pixels_BHW3, failures, records)


def _identity(batch: _DecodedBatch) -> _DecodedBatch:
    return batch


def _undecodable(failures: Mapping[int, DataError]) -> DataError:
    shown = [str(failure) for failure in failures.values()][:MAX_SHOWN_FAILURES]
    if len(failures) > len(shown):
        shown.append(f"And {len(failures) - len(shown)} more of the same batch.")
    action = "The same command continues; features.skip_undecodable=true skips such images."
    return DataError(" ".join(shown), action=action)
