"""What happens around a trial in the process that trains it, whichever launcher started that."""

import fcntl
import os
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import IO

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from msdn_lit.sweeps.trials import CHECKPOINT, Trial, alone

_slots: list[IO[str]] = []  # open while the process lives


class TrialJob:
    """Runs a trial where it stands: its folder, not the launcher, tells whether there is something to go on from.

    So a job that a scheduler puts back into its queue, or that Ray repeats on another machine, goes on; and one whose
    trial is still worked on by a worker of a killed sweep waits for that.

    Args:
        task: Trains the model of a config.
        devices: GPUs to share among the processes of this machine, by CUDA's names; none where a scheduler gives them.
    """

    def __init__(
        self, task: Callable[[DictConfig], float | None], devices: Sequence[str] = ()
    ) -> None:
        self.task = task
        self.devices = tuple(devices)

    def __call__(self, cfg: DictConfig) -> float | None:
        """Trains, unless another process has meanwhile done it."""
        trial = Trial(Path(HydraConfig.get().runtime.output_dir), ())
        if self.devices:
            slot = take_slot(trial.folder.parent / ".slots")
            os.environ["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
        with alone(trial):
            if trial.state == "finished":
                return trial.objective
            if (trial.folder / CHECKPOINT).is_file():
                cfg.ckpt_path = "last"
            return self.task(cfg)


def visible_devices() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES has for them."""
    import torch

    number = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(named.split(",")[:number] if named else map(str, range(number)))


@cache
def take_slot(folder: Path) -> int:
    """The lowest number that no other living process has taken there; this one keeps it until it ends, however."""
    folder.mkdir(parents=True, exist_ok=True)
    for slot in count():
        file = (folder / str(slot)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _slots.append(file)
        return slot
    raise AssertionError
