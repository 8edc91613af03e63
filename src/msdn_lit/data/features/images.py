"""Image files and the transform that a backbone applies to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from msdn_lit.data.benchmarks.boxes import PixelBox
from msdn_lit.data.features.image_files import FORMATS
from msdn_lit.errors import READ_ERRORS, DataError, one_line
from msdn_lit.lazy import import_without_extras

transforms = import_without_extras("torchvision.transforms")

# The largest photos of phones have 108 million; PIL would only warn, and needs 8 bytes for each.
_MAX_PIXELS = 120_000_000
# Long side divided by short side: resizing a narrower image to the backbone's short side would
# fill the memory.
_MAX_ASPECT_RATIO = 100
Image.init()
_FORMATS = [name for name in FORMATS if name in Image.OPEN]  # a build of PIL may lack AVIF
_TURNS = {  # EXIF orientation -> what makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
        image = _to_rgb(image)
        (width, height), (left, top) = self._resized(image.size)
        # PIL resizes in two steps, first along the rows. Of a landscape, the second step needs only
        # the columns of the crop, with the same bytes as a result. PIL's own `box` rounds.
        if width > self.image_size:
            image = image.resize((width, image.height), Image.Resampling.BILINEAR)
            image = image.crop((left, 0, left + self.image_size, image.height))
        image = image.resize((self.image_size, height), Image.Resampling.BILINEAR)
        return image.crop((0, top, self.image_size, top + self.image_size))

    def _resized(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns width and height of a resized image, and left and top of its crop."""
        short = min(size)
        width, height = (int(self.image_size * side / short) for side in size)
        left, top = (round((side - self.image_size) / 2) for side in (width, height))
        return (width, height), (left, top)

    def crop_box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Returns the part of an image that `crop` keeps.

        Args:
            size: Width and height of the image.

        Returns:
            Left, top, right and bottom, as shares of the width and the height.
        """
        resized, starts = self._resized(size)
        left, top = (start / side for start, side in zip(starts, resized, strict=True))
        right, bottom = (
            (start + self.image_size) / side for start, side in zip(starts, resized, strict=True)
        )
        return left, top, right, bottom

    def standardise(self, pixels_BHW3: Tensor) -> Tensor:
        """Converts bytes on any device to the backbone's input, (B, 3, H, W) channels last."""
        images_B3HW = pixels_BHW3.permute(0, 3, 1, 2).float().div_(255)
        return cast(
            Tensor,
            transforms.functional.normalize(
                images_B3HW, list(self.mean), list(self.std), inplace=True
            ),
        )


class ImageFiles(Dataset[Tensor | DataError]):
    """Dataset of image files, decoded on access.

    Args:
        paths: Image files.
        transform: Transform, of which only the crop is applied.
        boxes: Part of each file that is the image, (left, upper, right, lower) in pixels; None if
            an image is a whole file.
        upright: If True, images are rotated by their EXIF orientation, as in prediction.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        transform: ImageTransform,
        boxes: Sequence[PixelBox] | None = None,
        *,
        upright: bool = False,
    ) -> None:
        self.paths = paths
        self.transform = transform
        self.boxes = boxes
        self.upright = upright

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor | DataError:
        """Decodes one image to bytes (H, W, 3); returns the error if that fails.

        A data loader would add the traceback of its process to an exception's message.
        """
        try:
            return torch.from_numpy(np.array(self.cropped(index)))
        except DataError as error:
            return error

    def opened(self, index: int) -> Image.Image:
        """Decodes one image to RGB.

        Raises:
            DataError: The file is missing or does not decode.
        """
        box = self.boxes[index] if self.boxes else None
        return open_image(self.paths[index], box, upright=self.upright)

    def cropped(self, index: int) -> Image.Image:
        """Decodes one image and crops it to the backbone's input; raises as `opened`."""
        return self.transform.crop(self.opened(index))


def open_image(
    source: Path | BinaryIO | Image.Image, box: PixelBox | None = None, *, upright: bool = False
) -> Image.Image:
    """Decodes an image to RGB; the first frame of an animation, transparency on white.

    Args:
        source: Image file, an open file, or an image of PIL, which may not be decoded yet.
        box: Part of the file that is the image, in pixels of the file; None for the whole file.
        upright: If True, the image is rotated by its EXIF orientation. The features of the
            published benchmarks are extracted without rotation.

    Raises:
        DataError: The file is missing, does not decode, is of a format that is not read, is too
            large, or is more than a hundred times as long as wide.
    """
    name = source if isinstance(source, Path) else "The image"
    try:
        with _undecoded(source) as file:
            if file.width * file.height > _MAX_PIXELS:
                raise ValueError(f"it has {file.width} x {file.height} pixels")
            file.load()
            image = _upright(file) if upright else file
            image = _to_rgb(image.crop(box) if box else image)
    except FileNotFoundError:
        raise DataError(f"{source} is missing", action="Check the path.") from None
    except UnidentifiedImageError as error:
        action = f"Convert it to JPEG or PNG; {', '.join(FORMATS)} are read."
        raise DataError(f"{name} does not decode (unknown format)", action=action) from error
    except (*READ_ERRORS, Image.DecompressionBombError) as error:
        reason = one_line(error)
        raise DataError(f"{name} does not decode ({reason})", action="Replace the file.") from error
    if max(image.size) > _MAX_ASPECT_RATIO * min(image.size):
        raise DataError(f"{name} is too narrow", found=image.size, action="Replace the file.")
    return image


def image_size(path: Path) -> tuple[int, int]:
    """Returns width and height of an image file without decoding it.

    Raises:
        OSError, ValueError, and others of READ_ERRORS: The file cannot be read.
    """
    with _undecoded(path) as file:
        return file.size


def is_rotated_or_transparent(path: Path) -> bool:
    """Returns True if an image looks different without its EXIF orientation and transparency."""
    try:
        with _undecoded(path) as file:
            if _orientation(file) in _TURNS or file.mode in ("I", "F"):
                return True
            has_alpha = file.has_transparency_data
            return has_alpha and file.convert("RGBA").getchannel("A").getextrema() != (255, 255)
    except (*READ_ERRORS, Image.DecompressionBombError):  # such an image was left out
        return False


@contextmanager
def _undecoded(source: Path | BinaryIO | Image.Image) -> Iterator[Image.Image]:
    """Opens an image of one of the formats that are read; the only place that opens images."""
    if not isinstance(source, Image.Image):
        with Image.open(source, formats=_FORMATS) as file:
            yield file
    elif source.format in (None, "MPO", *_FORMATS):  # MPO: a JPEG with more than one image
        yield source
    else:  # the user's own Image.open knows all formats, and decodes later
        raise UnidentifiedImageError(source.format)


def _upright(image: Image.Image) -> Image.Image:
    """Rotates a decoded image by its EXIF orientation."""
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation; 1, upright, if there is none or the EXIF data are damaged."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except READ_ERRORS:  # as image viewers do
        return 1
    return found if isinstance(found, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any mode to RGB; what is transparent becomes white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        image = _eight_bits(image)
    if image.mode in ("I", "F"):  # their range of values is not known; PIL would clip them
        raise ValueError("it has 32 bits per pixel and channel instead of 8 or 16")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Converts 16 to 8 bits by dividing; PIL would clip every value above 255."""
    values_HW = np.asarray(image)
    grey = Image.fromarray((values_HW >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        opaque_HW = (values_HW != transparent).astype(np.uint8) * 255
        grey.putalpha(Image.fromarray(opaque_HW))
    return grey
