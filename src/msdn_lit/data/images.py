"""Image files as a backbone sees them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from msdn_lit.errors import DataError


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

    def __call__(self, image: Image.Image) -> Tensor:
        """Turns an image of any mode and size into a float tensor (3, image_size, image_size)."""
        standardise = transforms.Normalize(self.mean, self.std)
        return cast(Tensor, standardise(transforms.functional.to_tensor(self.crop(image))))

    def crop(self, image: Image.Image) -> Image.Image:
        """What the backbone sees of an image, as an RGB image."""
        resize = transforms.Resize(self.image_size, transforms.InterpolationMode.BILINEAR)
        return cast(Image.Image, transforms.CenterCrop(self.image_size)(resize(image.convert("RGB"))))


class ImageFiles(Dataset[Tensor | DataError]):
    """Images by position, decoded on access.

    Args:
        paths: Image files.
        transform: Applied to each.
    """

    def __init__(self, paths: Sequence[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor | DataError:
        """Decodes one image; a failure is returned, so that it reaches the reader from a loader process as it is."""
        try:
            return self.transform(open_image(self.paths[index]))
        except DataError as error:
            return error


def open_image(path: Path) -> Image.Image:
    """Decodes an image file.

    Raises:
        DataError: The file is missing or does not decode.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action="Unpack the image archive again.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} does not decode ({error})", action="Replace the file.") from error
