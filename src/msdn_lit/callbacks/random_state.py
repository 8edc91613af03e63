"""Keeps the random generators' states in checkpoints, so that a resumed run draws what it would have drawn."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


class RandomState(Callback):
    """Saves and restores Python's, NumPy's and PyTorch's generators.

    Only tensors and plain values are stored: checkpoints are loaded with weights_only=True.
    """

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        version, internal, gauss = random.getstate()
        name, keys, *rest = np.random.get_state(legacy=True)
        return {
            "python": [version, list(internal), gauss],
            "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts the generators where the checkpoint left them."""
        version, internal, gauss = state_dict["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, *rest = state_dict["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state_dict["torch"].cpu())
        if len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in state_dict["cuda"]])
