"""A callback that saves the states of the random number generators in checkpoints."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import distributed


class RandomState(Callback):
    """Saves and restores the random number generators of Python, NumPy and PyTorch.

    A resumed run draws the same numbers as an uninterrupted one, in each of its processes. With
    another number of processes, all of them continue with the numbers of the first. Only tensors
    and plain values are stored, since checkpoints are loaded with weights_only=True.
    """

    def state_dict(self) -> dict[str, Any]:
        """Returns the states for a checkpoint; every process must call it."""
        own = _state()
        if not _is_shared():
            return own
        ranks: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(ranks, own)
        return {**own, "ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the states of a checkpoint."""
        ranks = state_dict.get("ranks", ())
        if _is_shared() and len(ranks) == distributed.get_world_size():
            _restore(ranks[distributed.get_rank()])
        else:
            _restore(state_dict)


def _is_shared() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _state() -> dict[str, Any]:
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
