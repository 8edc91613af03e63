"""Files of PyTorch and safetensors: no code in them is run, and their checksums are compared."""

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
        SafetensorError or any of READ_ERRORS: The file is damaged or holds anything else.
    """
    if path.suffix == ".safetensors":
        return named_tensors(load_file(path))
    if zipfile.is_zipfile(path):  # before 2020 they were none
        check_archive(path)
    return named_tensors(load_plain(path))


def load_plain(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Reads what torch.save has written, if it is tensors and plain values only.

    Raises:
        Any of READ_ERRORS: It is not, or is damaged.
    """
    return torch.load(path, map_location="cpu", weights_only=True)


def check_archive(path: Path) -> None:
    """Compares the checksums in a file of torch.save, which torch.load ignores.

    Raises:
        ValueError, OSError, zipfile.BadZipFile: The file is damaged, or it is compressed. Files
            of torch.save are not; a compressed one could fill the memory.
    """
    with zipfile.ZipFile(path) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is compressed, which torch.save never does")
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} is damaged")


def named_tensors(content: object) -> dict[str, Tensor]:
    """The same object, if it is plain tensors by name.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise TypeError("it does not hold tensors by name")
    for name, value in content.items():
        is_dense = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
        if not is_dense or value.is_complex() or value.is_quantized:
            raise TypeError(f"{name} is no plain tensor")
    return content


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every value is finite, also as float32. The shapes must have been checked before."""
    return all(bool(torch.isfinite(value.float()).all()) for value in tensors)
