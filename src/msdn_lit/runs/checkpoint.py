"""Checkpoints of a run: found by name, and checked before anything is loaded."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from msdn_lit.errors import READ_ERRORS, CheckpointError, LeakError, one_line
from msdn_lit.files import make_folder, write_atomically
from msdn_lit.models.backbones.weights import (
    are_finite,
    check_archive,
    load_plain,
    load_tensors,
    named_tensors,
)
from msdn_lit.models.release import from_release
from msdn_lit.runs.layout import CONFIG, checkpoint_path


def find_checkpoint(name: str, folder: Path) -> Path:
    """Resolves the name of a checkpoint of a run folder, or a path.

    Args:
        name: "last", "peak_harmonic_mean", "peak_acc_czsl", or a path to a .ckpt file or to a .pth
            file of the released code.
        folder: Run folder.

    Raises:
        CheckpointError: There is no such file.
    """
    inside = checkpoint_path(folder, name)
    path = Path(name).expanduser() if name.endswith((".ckpt", ".pth")) else inside
    if path.is_file():
        return path
    present = sorted(file.stem for file in inside.parent.glob("*.ckpt"))
    action = "Name the folder of a run (msdn train: paths.run_dir=RUN)."
    if (folder / CONFIG).is_file():
        action = "The run ended before it saved one. Train again (msdn train: omit ckpt_path)."
    if present:
        action = f"That run has {', '.join(present)}."
    raise CheckpointError(f"{path} is missing", action=action)


def find_start(
    name: str | None, folder: Path, module: nn.Module, *, allow_test_selection: bool
) -> Path | None:
    """Returns the checkpoint from which a training continues, checked against its module.

    Args:
        name: Name or path of a checkpoint; None starts from the first step.
        folder: Run folder.
        module: Module that will load the checkpoint.
        allow_test_selection: Whether test scores may choose a checkpoint.

    Raises:
        CheckpointError: There is no such checkpoint, it does not fit, or it lacks what an exact
            continuation needs, like a file of the released code.
        LeakError: The checkpoint was chosen by a score that must not choose.
    """
    if not name:
        return None
    path = find_checkpoint(name, folder)
    if path.stem.startswith("peak_") and not allow_test_selection:
        raise LeakError(f"{path} was chosen by its score", action="Continue from last.ckpt.")
    missing = _missing_for_training(load_checkpoint(path, module), module)
    if missing:
        problem = f"{path} has no {' and no '.join(missing)}: training cannot continue exactly"
        action = f"Train from the start, or evaluate it: msdn evaluate {folder} --checkpoint {path}"
        raise CheckpointError(problem, action=action)
    return path


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint as a whole. An earlier one is kept until the new one is on the disk.

    Raises:
        WriteError: The folder cannot be written or the disk is full.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)  # into memory: with a file it hides the system's error
    make_folder(path.parent)
    write_atomically(path, buffer.getbuffer())


def load_checkpoint(path: Path, module: nn.Module) -> dict[str, Any]:
    """Reads a checkpoint and checks its weights against a module. Code in the file is never run.

    Returns:
        The checkpoint; its "state_dict" fits the module.

    Raises:
        CheckpointError: The file is damaged, no checkpoint or of another model, or training had
            diverged.
    """
    try:
        content = _read_released(path, module) if path.suffix == ".pth" else _read_own(path)
        tensors = named_tensors(content["state_dict"])
        found = {name: tuple(value.shape) for name, value in tensors.items()}
    except READ_ERRORS as error:
        problem = f"{path} cannot be read as a checkpoint ({one_line(error)})"
        raise CheckpointError(problem, action="Train again.") from error
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if found != wanted:
        name = min(name for name, _ in wanted.items() ^ found.items())
        raise CheckpointError(
            f"{path} is of another model: {name}",
            expected=wanted.get(name, "absent"),
            found=found.get(name, "absent"),
            action="Use the overrides of the run that wrote it; they are in its config.yaml.",
        )
    if not are_finite(content["state_dict"].values()):
        problem = f"{path} holds NaN or infinity"
        raise CheckpointError(problem, action="Its training has diverged; train again.")
    return content


def _missing_for_training(content: dict[str, Any], module: nn.Module) -> list[str]:
    """Returns what a checkpoint lacks of the state of a training, in words."""
    is_trained = any(weight.requires_grad for weight in module.parameters())
    optimizers, callbacks = content.get("optimizer_states"), content.get("callbacks")
    is_optimized = isinstance(optimizers, list) and all(map(_has_state, optimizers))
    is_present = {
        "state of the optimizer": not is_trained or (bool(optimizers) and is_optimized),
        "state of the loops": isinstance(content.get("loops"), dict)
        and "fit_loop" in content["loops"],
        "state of the random numbers": isinstance(callbacks, dict) and "RandomState" in callbacks,
        "state of the schedule": isinstance(content.get("lr_schedulers"), list),
    }
    return [name for name, is_there in is_present.items() if not is_there]


def _has_state(optimizer: object) -> bool:
    """Whether an optimizer has a state; SGD without momentum needs none."""
    if not isinstance(optimizer, dict) or not optimizer.get("param_groups"):
        return False
    groups = optimizer["param_groups"]
    is_plain_sgd = all("dampening" in group and not group["momentum"] for group in groups)
    return bool(optimizer.get("state")) or is_plain_sgd


def _read_own(path: Path) -> dict[str, Any]:
    check_archive(path)
    content: dict[str, Any] = load_plain(path)
    return content


def _read_released(path: Path, module: nn.Module) -> dict[str, Any]:
    """Reads the weights of a release file under our names. The file has no training step."""
    classes = module.get_submodule("net").get_buffer("class_attributes_CK")
    weights = from_release(load_tensors(path), classes)
    state = {f"net.{name}": value for name, value in weights.items()}
    return {"state_dict": state, "global_step": 0}
