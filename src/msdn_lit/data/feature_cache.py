"""Location of region features during training: disk, RAM or GPU.

A store on disk is memory-mapped. The data that were read stay in the system's page cache, which all
processes of a machine share, so no DDP rank needs its own copy. "ram" reads the store into that
cache ahead of training. "gpu" copies it to the device and gathers batches there.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.data.features.store import FeatureStore, Manifest
from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import ConfigError, DataError

FEATURE_CACHES = ("auto", "disk", "ram", "gpu")
# Fraction of the free memory that the features may take. The rest is for the model, its activations
# and other programs.
RAM_SHARE = 0.5
GPU_SHARE = 0.6
_CHUNK_BYTES = 64 * 2**20

Gather = Callable[[NDArray[np.int64]], Tensor]


class Regions(Protocol):
    """An opened feature store or published feature file."""

    @property
    def manifest(self) -> Manifest:
        """Origin and shape of the features."""

    @property
    def path(self) -> Path:
        """File of the features."""

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Reads images by row: fp16, (B, R, D); or bytes of images, (B, size, size, 3)."""


class OutOfMemory(ConfigError):
    """The features do not fit on a device.

    Args:
        num_bytes: Size of the features, bytes.
        device: The device.
    """

    def __init__(self, num_bytes: int, device: torch.device) -> None:
        self.problem = f"The features need {num_bytes / 1e9:.1f} GB on {device}"
        super().__init__(self.problem, action="Use data.feature_cache=auto, ram or disk.")


def choose_cache(wanted: str, num_bytes: int, device: torch.device) -> str:
    """Chooses the fastest cache that has room for the features.

    Args:
        wanted: "disk", "ram" or "gpu" for this cache; "auto" for a choice by free memory.
        num_bytes: Size of the features, bytes.
        device: Device of the training.

    Returns:
        "disk", "ram" or "gpu".

    Raises:
        ConfigError: There is no such cache, or no GPU.
    """
    if wanted not in FEATURE_CACHES:
        raise ConfigError(
            "data.feature_cache is wrong",
            expected=f"one of {', '.join(FEATURE_CACHES)}",
            found=wanted,
        )
    if wanted == "gpu" and device.type == "cpu":
        raise ConfigError(
            "data.feature_cache=gpu needs a GPU",
            found=f"a trainer on {device}",
            action="Use data.feature_cache=auto.",
        )
    if wanted != "auto":
        return wanted
    if device.type == "cuda" and num_bytes < GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "gpu"
    return "ram" if num_bytes < RAM_SHARE * psutil.virtual_memory().available else "disk"


def make_gather(
    regions: Regions, rows: IntArray, cache: str, device: torch.device, *, read_ahead: bool
) -> Gather:
    """Returns the function that gathers batches from the chosen cache.

    Args:
        regions: Region features.
        rows: Rows that will be gathered, ascending.
        cache: "disk", "ram" or "gpu", from `choose_cache`.
        device: Device of the cache "gpu".
        read_ahead: Whether this process fills the cache "ram"; one process per machine is enough.
    """
    if cache == "gpu":
        return gather_from_gpu(regions, rows, device)
    return gather_from_ram(regions) if cache == "ram" and read_ahead else gather_from_disk(regions)


def gather_from_disk(regions: Regions) -> Gather:
    """Returns a function that reads each batch from the file."""
    return lambda rows: torch.from_numpy(regions.gather(rows))


def gather_from_ram(regions: Regions) -> Gather:
    """Returns a function that reads each batch from the file, which a thread reads ahead.

    The thread fills the page cache; training does not wait for it.
    """
    threading.Thread(
        target=_read_through, args=(regions.path,), daemon=True, name="read-ahead"
    ).start()
    return gather_from_disk(regions)


def gather_from_gpu(regions: Regions, rows: IntArray, device: torch.device) -> Gather:
    """Copies the features of some images to a device; returns a function that gathers there.

    Args:
        regions: Region features.
        rows: Rows that will be gathered, ascending.
        device: Device, which may be that of other programs, too.

    Raises:
        OutOfMemory: The device has too little memory.
        DataError: A feature is NaN or infinite.
    """
    N, R, D = regions.manifest.shape
    try:
        regions_MRD = torch.empty(len(rows), R, D, dtype=torch.float16, device=device)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(2 * len(rows) * R * D, device) from error
    step = max(1, _CHUNK_BYTES // (2 * R * D))
    parts: list[IntArray] = [rows[start : start + step] for start in range(0, len(rows), step)]
    if not _fill(regions_MRD, regions, parts):
        for part in parts:
            regions.gather(part)  # says which image it is
        raise DataError(f"{regions.path}: NaN or infinity, which were not there before")
    place_N = np.zeros(N, dtype=np.int64)
    place_N[rows] = np.arange(len(rows))
    return lambda rows: regions_MRD[to_device(torch.from_numpy(place_N[rows]), device)]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor to a device without waiting for it."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _fill(regions_MRD: Tensor, regions: Regions, parts: Sequence[IntArray]) -> bool:
    """Reads features into a tensor on a device, part by part; returns whether all are finite.

    While the device copies one of two buffers, the other one is read. The device checks the values.
    """
    on_gpu = regions_MRD.is_cuda
    shape = max(map(len, parts), default=0), *regions_MRD.shape[1:]
    buffers = [torch.empty(shape, dtype=torch.float16, pin_memory=on_gpu) for _ in range(2)]
    copied: list[Any] = [None, None]
    are_finite = torch.ones((), dtype=torch.bool, device=regions_MRD.device)
    chunks = torch.split(regions_MRD, [len(part) for part in parts])
    for number, (chunk, part) in enumerate(zip(chunks, parts, strict=True)):
        buffer = buffers[number % 2][: len(part)]
        if on_gpu and copied[number % 2]:
            copied[number % 2].synchronize()
        if isinstance(regions, FeatureStore):
            regions.read_into(buffer, part)
        else:
            buffer.copy_(torch.from_numpy(regions.gather(part)))
        chunk.copy_(buffer, non_blocking=True)
        if on_gpu:
            copied[number % 2] = torch.cuda.current_stream(chunk.device).record_event()
        are_finite &= chunk.isfinite().all()
    return bool(are_finite)


def _read_through(path: Path) -> None:
    buffer = bytearray(_CHUNK_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
