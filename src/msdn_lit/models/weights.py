"""Files of PyTorch and safetensors, read without running their code, with checked checksums."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


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
