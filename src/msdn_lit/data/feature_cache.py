"""Where region features are while a model trains: on disk, in RAM, or on the GPU.

A store on disk is memory-mapped: what was read lies in the system's page cache, which all processes of a machine share,
so that no DDP rank holds a copy of its own. "ram" reads the store into that cache ahead of training. "gpu" holds it on
the device, and batches are gathered there.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.data.features.store import Manifest
from msdn_lit.errors import ConfigError

FEATURE_CACHES = ("auto", "disk", "ram", "gpu")
RAM_SHARE, GPU_SHARE = (
    0.5,
    0.6,
)  # of what is free: the rest is for the model, its activations and other programs
_CHUNK_BYTES = 64 * 2**20

Gather = Callable[[NDArray[np.int64]], Tensor]


class Regions(Protocol):
    """An opened feature store or official feature file."""

    manifest: Manifest
    path: Path

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Reads images by row, (B, R, D)."""


def choose_cache(wanted: str, num_bytes: int, device: torch.device) -> str:
    """Chooses the fastest place that has room for the features.

    Args:
        wanted: "disk", "ram" or "gpu" to have it so; "auto" to choose by what is free.
        num_bytes: Size of the features.
        device: Where training computes.

    Returns:
        "disk", "ram" or "gpu".

    Raises:
        ConfigError: There is no such place, or no GPU.
    """
    if wanted not in FEATURE_CACHES:
        raise ConfigError(
            "data.feature_cache is wrong",
            expected=f"one of {', '.join(FEATURE_CACHES)}",
            found=wanted,
        )
    if wanted == "gpu" and device.type == "cpu":
        action = "Use data.feature_cache=auto."
        raise ConfigError(
            "data.feature_cache=gpu needs a GPU", found=f"a trainer on {device}", action=action
        )
    if wanted != "auto":
        return wanted
    if device.type == "cuda" and num_bytes < GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "gpu"
    return "ram" if num_bytes < RAM_SHARE * psutil.virtual_memory().available else "disk"


def gather_from_disk(regions: Regions) -> Gather:
    """Gathers from the file, batch by batch."""
    return lambda rows: torch.from_numpy(regions.gather(rows))


def gather_from_ram(regions: Regions) -> Gather:
    """Gathers from the file while a thread reads it into the page cache: training need not wait for it."""
    threading.Thread(
        target=_read_through, args=(regions.path,), daemon=True, name="read-ahead"
    ).start()
    return gather_from_disk(regions)


def gather_from_gpu(regions: Regions, device: torch.device) -> Gather:
    """Copies all features onto a device, piece by piece, and gathers there.

    Raises:
        ConfigError: They do not fit.
    """
    N, R, D = regions.manifest.shape
    try:
        regions_NRD = torch.empty(N, R, D, dtype=torch.float16, device=device)
    except torch.OutOfMemoryError as error:
        action = "Use data.feature_cache=ram or disk."
        raise ConfigError(
            f"The features need {2 * N * R * D / 1e9:.1f} GB on {device}", action=action
        ) from error
    step = max(1, _CHUNK_BYTES // (2 * R * D))
    for start in range(0, N, step):
        rows = np.arange(start, min(start + step, N))
        regions_NRD[start : start + len(rows)] = torch.from_numpy(regions.gather(rows))
    return lambda rows: regions_NRD[torch.from_numpy(rows).to(device)]


def _read_through(path: Path) -> None:
    buffer = bytearray(_CHUNK_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
