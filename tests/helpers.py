"""Helpers that several test modules share."""

from pathlib import Path

import torch

from msdn_lit.runs.checkpoint import find_checkpoint


def weights_of(folder, name="last"):
    """Returns the weights in a checkpoint of a run folder."""
    return torch.load(find_checkpoint(name, Path(folder)), weights_only=True)["state_dict"]
