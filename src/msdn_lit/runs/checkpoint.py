"""Finding a run's checkpoints and making sure that they fit before anything is loaded."""

from pathlib import Path
from typing import Any

from torch import nn

from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.models.release import from_release
from msdn_lit.models.weights import (
    are_finite,
    check_archive,
    load_plain,
    load_tensors,
    named_tensors,
)

FOLDER = "checkpoints"


def find_checkpoint(name: str, run_dir: Path) -> Path:
    """Resolves a checkpoint's name within a run folder, or a path.

    Args:
        name: "last", "peak_harmonic_mean", "peak_acc_czsl", or a path to a file: .ckpt, or the released code's .pth.
        run_dir: The run's folder.

    Raises:
        CheckpointError: There is no such file.
    """
    inside = run_dir / FOLDER / f"{name}.ckpt"
    path = Path(name).expanduser() if name.endswith((".ckpt", ".pth")) else inside
    if path.is_file():
        return path
    present = sorted(file.stem for file in inside.parent.glob("*.ckpt"))
    action = (
        f"That run has {', '.join(present)}."
        if present
        else "Name a run's folder with paths.run_dir=..."
    )
    raise CheckpointError(f"{path} is missing", action=action)


def load_checkpoint(path: Path, module: nn.Module) -> dict[str, Any]:
    """Reads a checkpoint without running what a pickle could contain, and holds its weights to the module's.

    Returns:
        The checkpoint; its "state_dict" fits the module.

    Raises:
        CheckpointError: The file is damaged, no checkpoint, of another model, or training had diverged.
    """
    try:
        content = _released(path, module) if path.suffix == ".pth" else _own(path)
        found = {
            name: tuple(value.shape) for name, value in named_tensors(content["state_dict"]).items()
        }
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
        raise CheckpointError(
            f"{path} holds NaN or infinity", action="Its training has diverged; train again."
        )
    return content


def _own(path: Path) -> dict[str, Any]:
    check_archive(path)
    content: dict[str, Any] = load_plain(path)
    return content


def _released(path: Path, module: nn.Module) -> dict[str, Any]:
    """The released code's weights under the names of ours; they do not say after which step they were saved."""
    classes = module.get_submodule("net").get_buffer("class_attributes_CK")
    weights = from_release(load_tensors(path), classes)
    return {
        "state_dict": {f"net.{name}": value for name, value in weights.items()},
        "global_step": 0,
    }
