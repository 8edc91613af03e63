"""How a process uses the machine: threads that wait, memory that is freed, memory that it holds."""

import ctypes
import os
import resource
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_TWO_GB, _ONE_GB = 2**31 - 1, 2**30


def limit_openmp_spinning() -> None:
    """Lets OpenMP's threads look for work for some microseconds before they sleep, unless the user has it otherwise.

    By default they spin for milliseconds, which makes a machine with other work several times slower; threads that
    sleep at once take longer over small things (docs/performance.md). Call it before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault(
            "GOMP_SPINCOUNT", "1000"
        )  # of GNU's library, which PyTorch has on Linux


def retain_freed_memory() -> bool:
    """Lets the process keep blocks that it frees, up to 2 GB, instead of giving each back to the system.

    A training step frees and takes hundreds of MB of activations again; fresh pages cost it 15 to 25 % of its time on a
    CPU (docs/performance.md). The process's peak memory stays as it is; what it holds between the steps is its peak.

    Returns:
        Whether the C library knows these settings; only glibc's does.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(
        mallopt(_M_MMAP_THRESHOLD, _ONE_GB) and mallopt(_M_TRIM_THRESHOLD, _TWO_GB)
    )


def peak_gb() -> float:
    """Peak resident memory of this process, its share of the page cache included, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def anonymous_gb() -> float:
    """Memory that this process holds beyond the page cache, in GB; Linux tells it."""
    fields = dict(
        line.split(":", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":" in line
    )
    return int(fields["RssAnon"].split()[0]) * 1024 / 1e9
