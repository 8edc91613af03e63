"""Location of region features during training: disk, RAM or GPU.

A store on disk is memory-mapped. The data that were read stay in the system's page cache, which all
processes of a machine share, so no DDP rank needs its own copy. "ram" reads the store into that
cache ahead of training. "gpu" copies it to the device and gathers batches there.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.data.features.store import Manifest
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
    """The features do not fit on a device."""


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
        size = 2 * len(rows) * R * D / 1e9
        action = "Use data.feature_cache=auto, ram or disk."
        raise OutOfMemory(f"The features need {size:.1f} GB on {device}", action=action) from error
    if not _fill(regions_MRD, regions, rows):
        raise DataError(
            f"{regions.path} holds NaN or infinity", action="Extract the features again."
        )
    place_N = np.zeros(N, dtype=np.int64)
    place_N[rows] = np.arange(len(rows))
    return lambda rows: regions_MRD[to_device(torch.from_numpy(place_N[rows]), device)]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor to a device without waiting for it."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _fill(regions_MRD: Tensor, regions: Regions, rows: IntArray) -> bool:
    """Reads features into a tensor on a device; returns whether all of them are finite.

    While the device copies one buffer, the next one is read. The device checks what it has copied.
    """
    M, R, D = regions_MRD.shape
    step = max(1, _CHUNK_BYTES // (2 * R * D))
    on_gpu = regions_MRD.is_cuda
    buffers = torch.empty(2, min(step, M), R, D, dtype=torch.float16, pin_memory=on_gpu)
    copied: list[Any] = [torch.cuda.Event() if on_gpu else None for _ in buffers]
    are_finite = torch.ones((), dtype=torch.bool, device=regions_MRD.device)
    for number, start in enumerate(range(0, M, step)):
        chunk = regions_MRD[start : start + step]
        buffer, event = buffers[number % 2][: len(chunk)], copied[number % 2]
        if on_gpu:
            event.synchronize()
        buffer.copy_(torch.from_numpy(regions.gather(rows[start : start + step])))
        chunk.copy_(buffer, non_blocking=True)
        if on_gpu:
            event.record()
        are_finite &= chunk.isfinite().all()
    return bool(are_finite)


def _read_through(path: Path) -> None:
    buffer = bytearray(_CHUNK_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
