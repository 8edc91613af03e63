"""Processes that share an extraction: one for each GPU, or one for each core of a CPU."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from msdn_lit.commands._hydra import is_multirun
from msdn_lit.errors import ConfigError, UserError
from msdn_lit.progress import print_line

log = logging.getLogger(__name__)
IMAGES_OF_A_PROCESS = 1000  # at least; a process starts in the time that a core needs for 50 to 200
MOST_PROCESSES = 8  # each needs memory: 2.2 GB with ResNet-101 at 448 px
_SPAWN = multiprocessing.get_context("spawn")  # a fork would share the threads' state and CUDA

Work = Callable[[DictConfig, Callable[[], None]], None]


class ProcessShare(NamedTuple):
    """What a further process has for itself: a GPU, or a number of threads."""

    gpu: str | None = None
    threads: int | None = None


class _Other(NamedTuple):
    """A further process, and a pipe of which both ends are open until the extraction ends."""

    process: BaseProcess
    errors: Connection
    sender: Connection


@contextmanager
def sharing(cfg: DictConfig, num_images: int, work: Work) -> Iterator[Callable[[], None]]:
    """Starts further processes that share the work of a block.

    With features.device=all there is one process for each GPU. On a CPU there is one for each core
    with one thread, up to eight with more: threads that compute one batch wait for each other. This
    process works like the others, shows how many images are done by all, and does what one that
    dies leaves. The further processes end with the block, or soon after this process has died.

    Args:
        cfg: Config; its device and decoding processes, and the threads of PyTorch during the block,
            become those of this process.
        num_images: Number of images of the dataset.
        work: What a further process does. It calls its second argument after each batch.

    Yields:
        Function to call after each batch. It raises the user error of a further process.

    Raises:
        ConfigError: A sweep is started for all GPUs or several processes.
    """
    import torch

    threads = torch.get_num_threads()
    shares = _divide_gpus(cfg) or _divide_cores(cfg, num_images)
    settings = OmegaConf.to_container(cfg, resolve=True) if shares else None
    others = [_start(share, settings, work) for share in shares]
    try:
        yield lambda: _check(others)
    finally:
        for other in others:
            other.process.terminate()
            other.process.join()
        torch.set_num_threads(threads)


def _start(share: ProcessShare, settings: Any, work: Work) -> _Other:  # noqa: ANN401
    errors, sender = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_do_share, args=(share, settings, work, sender))
    process.start()
    return _Other(process, errors, sender)


def _check(others: list[_Other]) -> None:
    """Raises the user error of another process; tells of one that died, once."""
    for other in list(others):
        if other.errors.poll():
            raise other.errors.recv()
        if other.process.exitcode:
            others.remove(other)
            log.warning(
                "A further process died (exit code %s). The others do its part, %s of them. "
                "features.processes=1 uses all threads in one process.",
                other.process.exitcode,
                1 + len(others),
            )


def _divide_gpus(cfg: DictConfig) -> list[ProcessShare]:
    """Takes the first GPU for this process, with features.device=all; returns the others."""
    if cfg.features.get("device") != "all":
        return []
    _refuse_sweep("features.device=all")
    from msdn_lit.sweeps.worker import visible_devices

    first, *others = visible_devices() or ("",)
    cfg.features.device = "cuda" if first else "auto"
    if others:
        os.environ["CUDA_VISIBLE_DEVICES"] = first
        print_line(f"{1 + len(others)} GPUs share the work")
    return [ProcessShare(gpu=gpu) for gpu in others]


def _divide_cores(cfg: DictConfig, num_images: int) -> list[ProcessShare]:
    """Takes a part of the threads for this process, on a CPU; returns the other parts."""
    import torch

    from msdn_lit.build.features import num_workers

    number, threads = _processes_and_threads(cfg, num_images)
    if number == 1:
        return []
    torch.set_num_threads(threads)
    if cfg.features.num_workers == "auto":
        cfg.features.num_workers = max(1, num_workers("auto") // number)
    print_line(f"{number} processes share the work")
    return [ProcessShare(threads=threads)] * (number - 1)


def _processes_and_threads(cfg: DictConfig, num_images: int) -> tuple[int, int]:
    """Returns the number of processes, 1 if not on a CPU, and the threads of each."""
    import torch

    from msdn_lit.build.features import device, number_or_auto

    threads = torch.get_num_threads()
    if "backbone" not in cfg.features or cfg.features.hdf5:
        return 1, threads
    if device(cfg.features.device).type != "cpu":
        return 1, threads
    asked = number_or_auto(cfg.features.get("processes", "auto"), "features.processes", least=1)
    if asked is not None:
        if asked > 1:
            _refuse_sweep(f"features.processes={asked}")
        return asked, max(1, threads // asked)
    most = min(threads, num_images // IMAGES_OF_A_PROCESS, MOST_PROCESSES)
    if most < 2 or is_multirun():
        return 1, threads
    of_each = math.ceil(threads / most)
    return threads // of_each, of_each


def _refuse_sweep(setting: str) -> None:
    if is_multirun():
        problem = f"{setting} shares one extraction, and -m makes several"
        raise ConfigError(problem, action="Omit -m.")


def _do_share(share: ProcessShare, settings: Any, work: Work, errors: Connection) -> None:  # noqa: ANN401
    """Does a share of the work, in a process of its own."""
    # The process that started this one ends it with SIGTERM; an exit closes what is open.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    import torch

    from msdn_lit.training.process import retain_freed_memory

    retain_freed_memory()
    if share.threads is not None:
        torch.set_num_threads(share.threads)
    cfg = OmegaConf.create(settings)
    if share.gpu is not None:
        cfg.features.device = "cuda"
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            work(cfg, _end_without_parent)
    except UserError as error:
        errors.send(error)


def _end_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent and not parent.is_alive():
        sys.exit(1)
