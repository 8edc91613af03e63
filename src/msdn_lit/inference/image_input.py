"""Images in every form that `Predictor.predict` accepts."""

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from msdn_lit.data.features.images import open_image
from msdn_lit.errors import DataError

ImageInput = (
    str | os.PathLike[str] | bytes | bytearray | BinaryIO | Image.Image | NDArray[np.uint8] | Tensor
)
_ACCEPTED = (
    "a path, the bytes of an image file, an open file, an image of PIL, or a uint8 array or tensor "
    "(H, W, 3) or (3, H, W)"
)
_CHANNELS = (1, 3, 4)


def as_several(images: object) -> tuple[list[Any] | Iterable[Any], bool]:
    """Returns the images of an argument of `predict`, and True if the argument is one image."""
    if isinstance(images, np.ndarray | Tensor):
        is_one = images.ndim != 4
    else:
        is_one = _is_file(images) or not isinstance(images, Iterable)
    return ([images], True) if is_one else (cast(Iterable[Any], images), False)


def read_input(image: object) -> Image.Image:
    """Decodes one image to RGB, turned upright, transparency on white.

    Args:
        image: Path, bytes of an image file, open file, image of PIL, or uint8 values from 0 to 255:
            an array (H, W, 3), (H, W, 4), (H, W, 1), (H, W) or a tensor with the channels first;
            the other order is accepted where it is the only possible one.

    Raises:
        DataError: The image cannot be read, or is of another type.
    """
    if isinstance(image, str | os.PathLike):
        return open_image(Path(image), upright=True)
    if isinstance(image, bytes | bytearray | memoryview):
        image = io.BytesIO(image)
    elif isinstance(image, np.ndarray | Tensor):
        image = _from_values(image)
    if not (isinstance(image, Image.Image) or hasattr(image, "read")):
        raise DataError("This is not an image", expected=_ACCEPTED, found=type(image).__name__)
    return open_image(cast(Any, image), upright=True)


def name_of(image: object) -> str:
    """Returns the path of an image; "" for an image without one."""
    return str(image) if isinstance(image, str | os.PathLike) else ""


def _is_file(image: object) -> bool:
    """Returns True for a file, its path or its content, of which some can be iterated over."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    return isinstance(image, kinds) or hasattr(image, "read")


def _from_values(image: NDArray[Any] | Tensor) -> Image.Image:
    is_tensor = isinstance(image, Tensor)
    values = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
    if values.dtype != np.uint8:
        raise DataError(
            "The values of an image are bytes",
            expected="uint8 from 0 to 255",
            found=values.dtype,
            action="Convert values from 0 to 1 with (255 * image).round(), then to uint8.",
        )
    for order in _orders(is_tensor):
        if values.ndim == 3 and values.shape[order[2]] in _CHANNELS and values.size:
            values_HWD = np.ascontiguousarray(values.transpose(order))
            return Image.fromarray(values_HWD[..., 0] if values_HWD.shape[2] == 1 else values_HWD)
    if values.ndim == 2 and values.size:
        return Image.fromarray(np.ascontiguousarray(values))
    raise DataError(
        "The shape is not that of an image", expected="(H, W, 3) or (3, H, W)", found=values.shape
    )


def _orders(is_tensor: bool) -> Iterator[tuple[int, int, int]]:
    """Orders of the axes that make (H, W, D), the usual one of the type first."""
    last, first = (0, 1, 2), (1, 2, 0)
    yield from (first, last) if is_tensor else (last, first)
