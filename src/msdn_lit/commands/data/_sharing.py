"""Processes that share an extraction: one for each GPU, or one for each core of a CPU."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, NamedTuple

from omegaconf import DictConfig

from msdn_lit.commands._hydra import is_multirun
from msdn_lit.errors import USER_ERROR_EXIT_CODE, ConfigError, DataError
from msdn_lit.progress import print_line

log = logging.getLogger(__name__)
IMAGES_OF_A_PROCESS = 1000  # a process starts in the time that a core needs for 50 to 200
_STARTED_BY = "MSDN_STARTED_BY"  # id of the process that started this one


class _Further(NamedTuple):
    """A further process, and what it writes to standard error."""

    process: subprocess.Popen[bytes]
    messages: IO[bytes]

    def last_message(self) -> str:
        self.messages.seek(0)
        lines = self.messages.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("msdn extract: ") if lines else ""


@contextmanager
def sharing(cfg: DictConfig, num_images: int) -> Iterator[Callable[[], None]]:
    """Starts this command in further processes, which share the work of the block.

    With features.device=all there is one process for each GPU. On a CPU there is one for each core,
    with one thread each: two threads that compute one batch wait for each other. This process works
    like the others, shows how many images are done by all, and does what one that dies leaves.

    Args:
        cfg: Config; its device, threads and decoding processes become those of this process.
        num_images: Number of images to extract.

    Yields:
        Function to call after each batch. It ends the work if another process found an error of the
        user's, or if this one was started by a process that has died.

    Raises:
        ConfigError: A sweep is started for all GPUs or several processes.
        DataError: Another process found a fault of the data.
    """
    others = _on_other_gpus(cfg) or _on_other_cores(cfg, num_images)
    if _STARTED_BY in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    with ExitStack() as stack:
        started = [stack.enter_context(_started(*other)) for other in others]
        yield lambda: _check(started)
        if died := [further for further in started if further.process.wait() != 0]:
            text = "%d of %d further processes died; the others did their work. %s"
            log.warning(text, len(died), len(started), died[0].last_message())


def _check(started: Sequence[_Further]) -> None:
    """Ends this process if another one refuses the data, or if the one that started it has died."""
    if int(os.environ.get(_STARTED_BY, 0)) not in (0, os.getppid()):
        sys.exit(1)
    for further in started:
        if further.process.poll() == USER_ERROR_EXIT_CODE:
            raise DataError(further.last_message())


def _on_other_gpus(cfg: DictConfig) -> list[tuple[list[str], dict[str, str]]]:
    """Returns overrides and variables of the processes for all GPUs but the first, if asked for."""
    if cfg.features.get("device") != "all":
        return []
    _refuse_sweep("features.device=all")
    from msdn_lit.sweeps.worker import visible_devices

    first, *others = visible_devices() or ("",)
    cfg.features.device = "cuda" if first else "auto"
    if others:
        os.environ["CUDA_VISIBLE_DEVICES"] = first
        print_line(f"{1 + len(others)} GPUs share the work")
    return [(["features.device=cuda"], {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in others]


def _on_other_cores(cfg: DictConfig, num_images: int) -> list[tuple[list[str], dict[str, str]]]:
    """Returns overrides and variables of the further processes on a CPU."""
    number = _num_processes(cfg, num_images)
    if number == 1:
        return []
    import torch

    from msdn_lit.data.features.pixels import num_cores

    threads = max(1, torch.get_num_threads() // number)
    torch.set_num_threads(threads)
    if cfg.features.num_workers == "auto":
        cfg.features.num_workers = max(1, num_cores() // number)
    print_line(f"{number} processes share the work")
    words = ["features.processes=1", f"features.num_workers={cfg.features.num_workers}"]
    return [(words, {"OMP_NUM_THREADS": str(threads)})] * (number - 1)


def _num_processes(cfg: DictConfig, num_images: int) -> int:
    """Returns the number of processes on a CPU; 1 on other devices, and without a backbone."""
    import torch

    from msdn_lit.build.features import device, number_or_auto

    if "backbone" not in cfg.features or cfg.features.hdf5:
        return 1
    if device(cfg.features.device).type != "cpu":
        return 1
    asked = number_or_auto(cfg.features.processes, "features.processes", least=1)
    if asked is not None:
        if asked > 1:
            _refuse_sweep(f"features.processes={asked}")
        return asked
    number = min(torch.get_num_threads(), num_images // IMAGES_OF_A_PROCESS)
    return 1 if is_multirun() else max(1, number)


def _refuse_sweep(setting: str) -> None:
    if is_multirun():
        problem = f"{setting} shares one extraction, and -m makes several"
        raise ConfigError(problem, action="Omit -m.")


@contextmanager
def _started(words: Sequence[str], variables: dict[str, str]) -> Iterator[_Further]:
    """Runs this command with other settings during a block."""
    changed = {word.partition("=")[0] for word in words}
    typed = [word for word in sys.argv[1:] if word.partition("=")[0] not in changed]
    command = [sys.executable, "-m", "msdn_lit", "extract", *typed, *words]
    variables = {**os.environ, **variables, _STARTED_BY: str(os.getpid())}
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command, env=variables, stdout=subprocess.DEVNULL, stderr=messages
        )
        try:
            yield _Further(process, messages)
        finally:
            process.terminate()
            process.wait()
