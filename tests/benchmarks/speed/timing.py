"""Measurements in processes that alternate, and the rows that compare them."""

import logging
import multiprocessing
import re
import resource
import statistics
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch

from msdn_lit.training.process import retain_freed_memory

_results = iter(())  # of the measurement of a TimedProcess, in that process


class TimedProcess(ExitStack):
    """A process of its own for one measurement, with its own memory settings.

    Args:
        measurement: Generator function; it prepares, and yields the result of one repetition after
            the other: seconds by part.
        arguments: Arguments of the measurement.
        keeps_memory: Retain freed memory, as msdn train does and the release does not.
    """

    def __init__(self, measurement, *arguments, keeps_memory=True):
        super().__init__()
        spawn = multiprocessing.get_context("spawn")
        begin = (keeps_memory, measurement, arguments)
        self._process = self.enter_context(
            ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=begin)
        )

    def __call__(self, consecutive=1):
        """Measures several times in a row and returns the last result."""
        return self._process.submit(_last_of, consecutive).result()


def interleave(processes, repetitions=None, consecutive=3):
    """Runs the measurements in turn, so that slow periods of the machine affect all of them.

    Args:
        processes: Timed processes by name.
        repetitions: Number of results of each process; a first one warms up and is dropped. None
            is for long measurements: 3 results of a single measurement each.
        consecutive: Number of measurements in a row, as steps follow steps; the last one counts,
            which finds its own data in the caches.

    Returns:
        Results of each process by name.
    """
    if repetitions is None:
        repetitions, consecutive = 3, 1
    results = {name: [] for name in processes}
    with ExitStack() as stack:
        for process in processes.values():
            stack.enter_context(process)
        for repetition in range(repetitions + 1):
            for name, process in processes.items():
                result = process(consecutive)
                if repetition:
                    results[name].append(result)
    return results


class Stopwatch:
    """Seconds between laps; on a GPU, a lap waits for the work that was queued."""

    def __init__(self, device):
        self._device = device
        self._last = self._now()

    def lap(self):
        """Returns the seconds since the previous lap."""
        before, self._last = self._last, self._now()
        return self._last - before

    def _now(self):
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return perf_counter()


def peak_gb():
    """Returns the peak memory of this process, with its share of the page cache, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def anonymous_gb():
    """Returns the memory of this process beyond the page cache, in GB; Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s*(\d+) kB", status)[1]) * 1024 / 1e9


class Comparison(NamedTuple):
    """One row of the table; repetition i of each column was measured next to that of the others.

    Attributes:
        what: Measured quantity.
        unit: Unit of the numbers: "ms", "s" or "GB".
        ours: One number per repetition.
        release: The same in the release's order of computation, or empty.
        limit: The same at the hardware's limit, or empty.
    """

    what: str
    unit: str
    ours: Sequence[float]
    release: Sequence[float] = ()
    limit: Sequence[float] = ()

    def cells(self):
        """Returns the texts of the row."""
        return [
            self.what,
            self._median(self.ours),
            self._median(self.release),
            _ratios(self.release, self.ours),
            self._median(self.limit),
            _ratios(self.ours, self.limit),
        ]

    def _median(self, values):
        if not values:
            return ""
        median = statistics.median(values)
        return f"{median:,.0f} {self.unit}" if median >= 1000 else f"{median:.3g} {self.unit}"


def compare(what, unit, results, part):
    """Compares one part of the results named "ours", "release" and "limit", where they have it."""
    scale = 1e3 if unit == "ms" else 1.0
    columns = (
        [scale * result[part] for result in results.get(name, []) if part in result]
        for name in ("ours", "release", "limit")
    )
    return Comparison(what, unit, *columns)


def _ratios(numerators, denominators):
    if not (numerators and denominators):
        return ""
    ratios = [above / below for above, below in zip(numerators, denominators, strict=True)]
    return f"{min(ratios):.2f}, **{statistics.median(ratios):.2f}**, {max(ratios):.2f}"


def _begin(keeps_memory, measurement, arguments):
    global _results
    warnings.simplefilter("ignore")  # Lightning warns about trainers of few steps
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if keeps_memory:
        retain_freed_memory()
    torch.use_deterministic_algorithms(True)  # as msdn train does
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(0)
    _results = measurement(*arguments)


def _last_of(consecutive):
    return [next(_results) for _ in range(consecutive)][-1]
