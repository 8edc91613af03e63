"""Image files and the transform that a backbone applies to them."""

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

# The largest photos of phones have 108 million; PIL would only warn, and needs 8 bytes for each.
_MAX_PIXELS = 120_000_000
# Long side divided by short side: resizing a narrower image to the backbone's short side would
# fill the memory.
_MAX_ASPECT_RATIO = 100
# All formats but EPS, because PIL starts Ghostscript for an EPS file with any suffix.
Image.preinit()
Image.init()
_FORMATS = [name for name in Image.ID if name != "EPS"]


@dataclass(frozen=True)
class ImageTransform:
    """The usual evaluation transform: resize the short side, crop the centre, standardise.

    Attributes:
        image_size: Width and height of the backbone's input, pixels.
        mean: Mean per channel, for pixel values in [0, 1].
        std: Standard deviation per channel, for pixel values in [0, 1].
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def crop(self, image: Image.Image) -> Image.Image:
        """Resizes (bilinear) and crops an image of any mode and size to a square RGB image."""
        resize = transforms.Resize(self.image_size, transforms.InterpolationMode.BILINEAR)
        return cast(Image.Image, transforms.CenterCrop(self.image_size)(resize(_to_rgb(image))))

    def standardise(self, pixels_BHW3: Tensor) -> Tensor:
        """Converts bytes on any device to the backbone's input, (B, 3, H, W) channels last."""
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
    if image.mode.startswith("I;16"):  # PIL would clip every value above 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


class ImageFiles(Dataset[Tensor | DataError]):
    """Dataset of image files, decoded on access.

    Args:
        paths: Image files.
        transform: Transform, of which only the crop is applied.
        boxes: Part of each file that is the image, (left, upper, right, lower) in pixels; None if
            an image is a whole file.
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
        """Decodes one image to bytes (H, W, 3); returns the error if that fails.

        A data loader would add the traceback of its process to an exception's message.
        """
        try:
            image = open_image(self.paths[index], self.boxes[index] if self.boxes else None)
        except DataError as error:
            return error
        return torch.from_numpy(np.array(self.transform.crop(image)))


def open_image(
    path: Path | BinaryIO, box: PixelBox | None = None, *, upright: bool = False
) -> Image.Image:
    """Decodes an image file to RGB; the first frame of an animation.

    Args:
        path: Image file, or an open file.
        box: Part of the file that is the image, in pixels of the file; None for the whole file.
        upright: If True, the image is rotated by its EXIF orientation. The benchmarks' features are
            extracted without rotation.

    Raises:
        DataError: The file is missing, does not decode, is too large, or is more than a hundred
            times as long as wide.
    """
    name = path if isinstance(path, Path) else "The image"
    try:
        with Image.open(path, formats=_FORMATS) as file:
            if file.width * file.height > _MAX_PIXELS:
                raise ValueError(f"it has {file.width} x {file.height} pixels")
            file.load()
            if upright:
                ImageOps.exif_transpose(file, in_place=True)
            image = _to_rgb(file.crop(box) if box else file)
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action="Unpack the image archive again.") from None
    except (*READ_ERRORS, Image.DecompressionBombError) as error:
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if is_unknown else one_line(error)
        raise DataError(f"{name} does not decode ({reason})", action="Replace the file.") from error
    if max(image.size) > _MAX_ASPECT_RATIO * min(image.size):
        raise DataError(f"{name} is too narrow", found=image.size, action="Replace the file.")
    return image
