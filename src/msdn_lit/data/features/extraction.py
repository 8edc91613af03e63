"""From image files to a feature store."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from msdn_lit.data.features.images import ImageFiles
from msdn_lit.data.features.store import Manifest
from msdn_lit.data.features.writer import FeatureStoreWriter
from msdn_lit.errors import DataError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SHOWN_FAILURES = 5
SECONDS_BETWEEN_LOOKS = 0.5  # at what other processes still do


class Backbone(Protocol):
    """What extraction needs of a backbone."""

    def feature_map(self, images_B3HW: Tensor) -> Tensor:
        """Computes feature maps, (B, D, H, W)."""

    def weights_sha256(self) -> str:
        """Identifies the weights."""


@dataclass(frozen=True)
class RegionBatch:
    """Regions of consecutive images.

    Attributes:
        rows: Of the store.
        regions_BRD: (B, R, D) in fp16.
        skipped: Rows whose image was left out; their regions are zeros.
    """

    rows: range
    regions_BRD: NDArray[np.float16]
    skipped: tuple[int, ...] = ()


class RegionSource(Protocol):
    """Where region features come from: a backbone that looks at images, a file of features, or a draw."""

    def batches(self, claims: Iterator[range]) -> Iterable[RegionBatch]:
        """Gives the regions of the claimed batches, in order."""


def write_store(
    folder: Path,
    manifest: Manifest,
    source: RegionSource,
    batch_size: int,
    on_progress: Callable[[int], None] = lambda num_done: None,
) -> None:
    """Makes a store, or what is missing of it; other processes may do the same at the same time.

    Args:
        folder: Where the store shall be.
        manifest: How it is made; what an earlier run with the same manifest has done is kept.
        source: Gives the features.
        batch_size: Images per batch.
        on_progress: Called with the number of images that are done.

    Raises:
        DataError: An image does not decode, a feature does not fit fp16, or the disk is full. What was done stays.
    """
    with FeatureStoreWriter(folder, manifest, batch_size) as store:
        while not store.publish():
            num_before = store.num_done
            on_progress(num_before)
            for batch in source.batches(store.claims()):
                store.write(batch.rows, batch.regions_BRD, batch.skipped)
                on_progress(store.num_done)
            if store.num_done == num_before:
                time.sleep(SECONDS_BETWEEN_LOOKS)


@dataclass(frozen=True)
class BackboneRegions:
    """Region features of images: several processes decode while the backbone computes.

    Attributes:
        images: What to extract.
        backbone: On `device`.
        device: Where it computes.
        precision: "fp32", or "bf16" or "fp16" under autocast.
        num_workers: Processes that decode.
        skip_undecodable: Leave out images that do not decode, instead of ending there.
    """

    images: ImageFiles
    backbone: Backbone
    device: torch.device
    precision: str
    num_workers: int
    skip_undecodable: bool

    def grid(self) -> tuple[int, int, int]:
        """D, H and W of the feature map, found by running one blank image."""
        size = self.images.transform.image_size
        _, D, H, W = self._feature_map(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape
        return D, H, W

    def batches(self, claims: Iterator[range]) -> Iterator[RegionBatch]:
        """Computes the claimed batches, in order.

        Raises:
            DataError: An image is missing or does not decode (the message names up to five), unless they are skipped.
        """
        loader = DataLoader(
            _Decoded(self.images),
            batch_sampler=cast(Any, claims),  # asked for the next batch whenever a worker is free
            num_workers=self.num_workers,
            collate_fn=cast(Any, _as_is),
            pin_memory=self.device.type == "cuda",
        )
        running: Callable[[], RegionBatch] | None = None
        for rows, pixels_BHW3, failures in loader:
            if failures and not self.skip_undecodable:
                raise _undecodable(failures)
            before, running = running, self._begin(rows, pixels_BHW3, tuple(failures))
            if before:
                yield before()  # is written while a GPU computes the next one
        if running:
            yield running()

    def _begin(
        self, rows: range, pixels_BHW3: Tensor, failures: tuple[int, ...]
    ) -> Callable[[], RegionBatch]:
        """Starts one batch, and gives what waits for it; on the CPU there is nothing to wait for."""
        maps_BDHW = self._feature_map(pixels_BHW3)
        regions_BRD = (
            maps_BDHW.flatten(2)
            .transpose(1, 2)
            .to(torch.float16)
            .contiguous()
            .to("cpu", non_blocking=True)
        )
        copied = (
            torch.cuda.current_stream(self.device).record_event()
            if self.device.type == "cuda"
            else None
        )

        def finish() -> RegionBatch:
            if copied:
                copied.synchronize()
            for row in failures:
                regions_BRD[row - rows.start] = 0
            return RegionBatch(rows, regions_BRD.numpy(), failures)

        return finish

    def _feature_map(self, pixels_BHW3: Tensor) -> Tensor:
        images_B3HW = self.images.transform.standardise(
            pixels_BHW3.to(self.device, non_blocking=True)
        )
        is_fp32 = self.precision == "fp32"
        with torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=not is_fp32):
            return self.backbone.feature_map(images_B3HW)


class _Decoded(Dataset[tuple[range, Tensor, dict[int, DataError]]]):
    """Images by the batch: row numbers, bytes (B, H, W, 3), and the failures by row, whose bytes are zeros."""

    def __init__(self, images: ImageFiles) -> None:
        self.images = images

    def __getitems__(self, rows: range) -> tuple[range, Tensor, dict[int, DataError]]:
        size = self.images.transform.image_size
        pixels_BHW3 = torch.zeros(len(rows), size, size, 3, dtype=torch.uint8)
        failures = {}
        for position, row in enumerate(rows):
            image = self.images[row]
            if isinstance(image, DataError):
                failures[row] = image
            else:
                pixels_BHW3[position] = image
        return rows, pixels_BHW3, failures


def _as_is(
    batch: tuple[range, Tensor, dict[int, DataError]],
) -> tuple[range, Tensor, dict[int, DataError]]:
    return batch


def _undecodable(failures: Mapping[int, DataError]) -> DataError:
    shown = [str(failure) for failure in failures.values()][:SHOWN_FAILURES]
    if len(failures) > len(shown):
        shown.append(f"And {len(failures) - len(shown)} more of the same batch.")
    action = "The same command continues; features.skip_undecodable=true leaves such images out."
    return DataError(" ".join(shown), action=action)
