"""A callback that saves the states of the random number generators in checkpoints."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


class RandomState(Callback):
    """Saves and restores the random number generators of Python, NumPy and PyTorch.

    A resumed run draws the same numbers as an uninterrupted one. Only tensors and plain values are
    stored, since checkpoints are loaded with weights_only=True.
    """

    def state_dict(self) -> dict[str, Any]:
        """Returns the states for a checkpoint."""
        version, internal, gauss = random.getstate()
        name, keys, *rest = np.random.get_state(legacy=True)
        return {
            "python": [version, list(internal), gauss],
            "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the states of a checkpoint."""
        version, internal, gauss = state_dict["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, *rest = state_dict["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state_dict["torch"].cpu())
        if len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in state_dict["cuda"]])
