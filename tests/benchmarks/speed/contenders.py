"""What is timed against each other takes turns, so that a machine that is slow for a while is slow for all."""

import logging
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch

from msdn_lit.training.process import retain_freed_memory

T = TypeVar("T")
_measure: Callable[[], Any]  # of a contender's own process


class TimedProcess(ExitStack):
    """A measurement in a process of its own: with its own memory, and its own treatment of it.

    Args:
        make: Makes the measurement there; the pair of a class and its arguments.
        keeps_memory: Whether that process keeps what it frees, as msdn-train does; the release gives it back.
    """

    def __init__(
        self, make: Callable[..., Callable[[], Any]], *arguments: object, keeps_memory: bool = True
    ) -> None:
        super().__init__()
        spawn = multiprocessing.get_context("spawn")
        begin = (keeps_memory, make, arguments)
        self._process = self.enter_context(
            ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=begin)
        )

    def __call__(self, consecutive: int = 1) -> Any:
        """Measures so often in a row, as steps follow steps, and gives what the last time gives."""
        return self._process.submit(_last_of, consecutive).result()


def interleave(
    contenders: Mapping[str, TimedProcess], repetitions: int, consecutive: int = 1
) -> dict[str, list[Any]]:
    """Lets each measure, one after the other, after a first time that does not count.

    Args:
        contenders: By name.
        repetitions: How often each has its turn.
        consecutive: How often each measures in a turn; the last time counts, when caches are its own.
    """
    with ExitStack() as stack:
        running = {name: stack.enter_context(contender) for name, contender in contenders.items()}
        results: dict[str, list[Any]] = {name: [] for name in running}
        for repetition in range(repetitions + 1):
            for name, contender in running.items():
                result = contender(consecutive)
                if repetition:
                    results[name].append(result)
    return results


class Stopwatch:
    """Seconds between its laps; on a GPU, of work that is done and not only asked for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = self._now()

    def lap(self) -> float:
        """Seconds since the last lap, or since the beginning."""
        before, self._last = self._last, self._now()
        return self._last - before

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Computes in "fp32" or "bf16", as Lightning's 32-true and bf16-mixed do."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def _begin(
    keeps_memory: bool, make: Callable[..., Callable[[], Any]], arguments: tuple[object, ...]
) -> None:
    global _measure
    warnings.simplefilter("ignore")  # Lightning's, of trainers that are made for a few steps
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if keeps_memory:
        retain_freed_memory()
    torch.manual_seed(0)
    _measure = make(*arguments)


def _last_of(consecutive: int) -> Any:
    return [_measure() for _ in range(consecutive)][-1]
