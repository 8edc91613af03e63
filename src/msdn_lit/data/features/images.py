"""Image files as a backbone sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from msdn_lit.data.benchmarks.boxes import PixelBox
from msdn_lit.errors import READ_ERRORS, DataError, one_line

_MOST_PIXELS = 120_000_000  # the largest phones' photos have 108; PIL would only warn, and needs 8 bytes for each
_NARROWEST = 100  # long side in short sides: a thread, resized to the backbone's short side, would fill the memory


@dataclass(frozen=True)
class ImageTransform:
    """The field's evaluation transform: resize the short side (bilinear), crop the centre, standardise.

    Attributes:
        image_size: Side of the square that the backbone sees, pixels.
        mean: Per channel, in units of [0, 1].
        std: Per channel, in units of [0, 1].
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def crop(self, image: Image.Image) -> Image.Image:
        """What the backbone sees of an image of any mode and size, as a square RGB image."""
        resize = transforms.Resize(self.image_size, transforms.InterpolationMode.BILINEAR)
        return cast(Image.Image, transforms.CenterCrop(self.image_size)(resize(_to_rgb(image))))

    def standardise(self, pixels_BHW3: Tensor) -> Tensor:
        """Turns bytes, on whichever device, into the floats that the backbone wants, (B, 3, H, W) channels last."""
        images_B3HW = pixels_BHW3.permute(0, 3, 1, 2).float().div_(255)
        return cast(
            Tensor,
            transforms.functional.normalize(
                images_B3HW, list(self.mean), list(self.std), inplace=True
            ),
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):  # PIL would cut every value above 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


class ImageFiles(Dataset[Tensor | DataError]):
    """Images by position, decoded on access.

    Args:
        paths: Image files.
        transform: What to take of each.
        boxes: Part of each image that is the picture, as (left, upper, right, lower) pixels; None takes all of it.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        transform: ImageTransform,
        boxes: Sequence[PixelBox] | None = None,
    ) -> None:
        self.paths = paths
        self.transform = transform
        self.boxes = boxes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor | DataError:
        """Decodes one image into bytes (H, W, 3); a failure is returned, so that it leaves a loader process whole."""
        try:
            image = open_image(self.paths[index], self.boxes[index] if self.boxes else None)
        except DataError as error:
            return error
        return torch.from_numpy(np.array(self.transform.crop(image)))


def open_image(
    path: Path | BinaryIO, box: PixelBox | None = None, *, upright: bool = False
) -> Image.Image:
    """Decodes an image file, or the part of it in a box, to RGB; of an animation the first frame.

    Args:
        path: The file, or its content.
        box: Part that is the picture, in the file's own pixels.
        upright: Turn it as its EXIF tag says. The benchmarks' features are those of the pixels as they are stored.

    Raises:
        DataError: The file is missing, does not decode, is too large, or a hundred times as long as wide.
    """
    name = path if isinstance(path, Path) else "The picture"
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels")
            image.load()
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
            picture = _to_rgb(image.crop(box) if box else image)
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action="Unpack the image archive again.") from None
    except (*READ_ERRORS, Image.DecompressionBombError) as error:
        reason = (
            "of no known format" if isinstance(error, UnidentifiedImageError) else one_line(error)
        )
        raise DataError(f"{name} does not decode ({reason})", action="Replace the file.") from error
    if max(picture.size) > _NARROWEST * min(picture.size):
        raise DataError(
            f"{name} is too narrow a picture", found=picture.size, action="Replace the file."
        )
    return picture
