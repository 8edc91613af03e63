"""Trained models, ready to look at pictures."""

import json
from pathlib import Path

from torch import nn

from msdn_lit.build import predictor as build_predictor
from msdn_lit.runs.checkpoint import find_checkpoint, load_checkpoint
from msdn_lit.errors import CheckpointError, DataError
from msdn_lit.inference import Predictor
from msdn_lit.inference.bundle import CONTENT, read_bundle
from msdn_lit.runs.record import RESULT, read_config


def load(path: str | Path, *, checkpoint: str = "last", data_dir: str | Path | None = None) -> Predictor:
    """Loads the model of a run folder, or of a bundle.

    Args:
        path: The folder of a run of msdn-train, or one that `msdn-export format=bundle` wrote, which needs no data.
        checkpoint: "last", "peak_harmonic_mean", "peak_acc_czsl", or a path: .ckpt, or the released code's .pth. A
            bundle has the one that it was made of, and takes no other.
        data_dir: Where the split files, the word vectors and the backbone's weights are, if not where they were.

    Raises:
        CheckpointError: There is no run, or its checkpoint does not fit, or a bundle is to have another.
        DataError: Split files or the backbone's weights are missing, or are not those that it was trained with.
    """
    folder = Path(path).expanduser()
    if (folder / CONTENT).is_file():
        if checkpoint != "last":
            problem = f"{folder} is a bundle, which has one checkpoint and not {checkpoint}"
            raise CheckpointError(problem, action="Name the folder of the run.")
        return build_predictor.predictor_from_bundle(read_bundle(folder), folder)
    cfg = read_config(folder)
    if data_dir is not None:
        cfg.paths.data_dir = str(Path(data_dir).expanduser().resolve())
    predictor = build_predictor.predictor(cfg)
    _check_backbone(predictor, folder)
    task = nn.ModuleDict({"net": predictor.net})  # as a training's module calls it
    task.load_state_dict(load_checkpoint(find_checkpoint(checkpoint, folder), task)["state_dict"])
    return predictor


def _check_backbone(predictor: Predictor, folder: Path) -> None:
    """The net has learned to read this backbone's features, and no other's."""
    try:
        trained_on = json.loads((folder / RESULT).read_text())["data"]["weights"]
    except (OSError, ValueError, LookupError):  # a training that is not finished has not written it yet
        return
    found = predictor.backbone.weights_sha256()
    if found != trained_on:
        action = "Name the weights that the features were extracted with: they are in the data folder of the run."
        raise DataError("The backbone has other weights", expected=trained_on, found=found, action=action)
