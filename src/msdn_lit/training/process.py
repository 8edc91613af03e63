"""Settings of a process: OpenMP threads, memory, telemetry; and the memory that it uses."""

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_TWO_GB, _ONE_GB = 2**31 - 1, 2**30


_NO_TELEMETRY = {  # read by the libraries when they are imported or first used
    "WANDB_ERROR_REPORTING": "false",  # W&B connects for error reports, also offline
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def disable_telemetry() -> None:
    """Keeps libraries from sending reports to their makers, unless the environment asks for it."""
    for name, value in _NO_TELEMETRY.items():
        os.environ.setdefault(name, value)


def limit_openmp_spinning() -> None:
    """Lets OpenMP threads spin only for microseconds before they sleep.

    By default they spin for milliseconds, which makes a shared machine several times slower.
    Threads that sleep at once are slower for small operations (docs/performance.md). Call this
    before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        # of GNU's library, which PyTorch uses on Linux
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def retain_freed_memory() -> bool:
    """Lets the process keep up to 2 GB of freed memory instead of returning it to the system.

    A training step frees and allocates hundreds of MB of activations. Fresh pages cost it 15 to 25
    % of its time on a CPU (docs/performance.md). The peak memory of the process does not change.

    Returns:
        Whether the C library has these settings; only glibc has.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _ONE_GB) and mallopt(_M_TRIM_THRESHOLD, _TWO_GB))


@contextmanager
def passing_interrupts() -> Iterator[None]:
    """Lets Ctrl+C pass through a trainer, which would make exit code 1 of it."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def peak_memory_gb() -> dict[str, float]:
    """Returns the peak memory of this process, with its page cache, and of the GPU, in GB."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    peaks = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if torch.cuda.is_available():
        peaks["gpu"] = torch.cuda.max_memory_allocated() / 1e9
    return {name: round(value, 3) for name, value in peaks.items()}
