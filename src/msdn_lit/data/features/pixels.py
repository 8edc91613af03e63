"""The images of a benchmark in the place of a feature store, for training through the backbone.

Random crops and flips of training images are drawn by (seed, step, row). Nothing has to be saved
for an exact continuation, and it does not matter which process reads an image.
"""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from msdn_lit.data.features.images import ImageFiles
from msdn_lit.data.features.store import Manifest
from msdn_lit.errors import ConfigError

MOST_DECODERS = 16  # decode faster than a GPU computes; each takes memory and time to start
PixelsOfBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Augmentation:
    """A random box of an image, resized to the backbone's input, and a random flip.

    Attributes:
        area: Smallest and largest area of the box, as shares of the image.
        aspect_ratio: Largest ratio of the box's sides, from 1; its logarithm is drawn uniformly.
            A box that is longer than the image is cut.
        flip: Share of the images that are mirrored, left to right.

    Raises:
        ConfigError: A value is out of range.
    """

    area: tuple[float, float] = (0.5, 1.0)
    aspect_ratio: float = 4 / 3
    flip: float = 0.5

    def __post_init__(self) -> None:
        if not (len(self.area) == 2 and 0 < self.area[0] <= self.area[1] <= 1):
            expected = "[smallest, largest], shares of the image in (0, 1]"
            problem = "features.augmentation.area is wrong"
            raise ConfigError(problem, expected=expected, found=list(self.area))
        if not (1 <= self.aspect_ratio <= 100 and 0 <= self.flip <= 1):
            problem = "features.augmentation is wrong"
            expected = "aspect_ratio in [1, 100] and flip in [0, 1]"
            found = f"{self.aspect_ratio} and {self.flip}"
            raise ConfigError(problem, expected=expected, found=found)

    def apply(self, image: Image.Image, size: int, key: tuple[int, int, int]) -> Image.Image:
        """Returns the square image of (seed, step, row).

        Args:
            image: RGB image of any size.
            size: Width and height of the result, pixels.
            key: Seed, step and row, which decide everything that is drawn.
        """
        seed, step, row = key
        random = np.random.default_rng([seed, step, row + 1])  # [seed, step, 0] is [seed, step]
        box = self.box(image.size, random)
        made = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
        is_flipped = random.random() < self.flip
        return made.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if is_flipped else made

    def box(self, size: tuple[int, int], random: np.random.Generator) -> PixelsOfBox:
        """Draws the box: left, upper, right and lower side, in pixels of the image.

        Args:
            size: Width and height of the image.
            random: Generator of random numbers.
        """
        pixels = size[0] * size[1] * random.uniform(*self.area)
        ratio = self.aspect_ratio ** random.uniform(-1, 1)
        sides = (pixels * ratio) ** 0.5, (pixels / ratio) ** 0.5
        width, height = (min(side, most) for side, most in zip(sides, size, strict=True))
        left, upper = random.random() * (size[0] - width), random.random() * (size[1] - height)
        return left, upper, left + width, upper + height


@dataclass(frozen=True)
class ImagePixels:
    """Image files that are read as bytes; the net computes the regions.

    Attributes:
        images: Image files, with the transform of extraction.
        manifest: Manifest that a store of the same images would have with the backbone's initial
            weights. It has no hash of regions.
        augmentation: Random crops and flips of training images; None for none.
        seed: Seed of the augmentation.
        num_workers: Processes that decode images for one training process; None chooses by cores.
    """

    images: ImageFiles
    manifest: Manifest
    augmentation: Augmentation | None
    seed: int
    num_workers: int | None = None

    @property
    def path(self) -> Path:
        """Folder of the first image."""
        return self.images.paths[0].parent

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Reads images by row as extraction does, (B, size, size, 3).

        Raises:
            DataError: An image is missing or does not decode.
        """
        return self._read(rows, lambda row: np.array(self.images.cropped(row)))

    def gather_augmented(self, rows: NDArray[np.int64], step: int) -> Tensor:
        """Reads the images of a training step, with random crops and flips, (B, size, size, 3).

        Raises:
            DataError: An image is missing or does not decode.
        """
        if self.augmentation is None:
            return torch.from_numpy(self.gather(rows))
        augmentation, size = self.augmentation, self.images.transform.image_size

        def read(row: int) -> NDArray[np.uint8]:
            image = self.images.opened(row)
            return np.array(augmentation.apply(image, size, (self.seed, step, row)))

        return torch.from_numpy(self._read(rows, read))

    def _read(
        self, rows: NDArray[np.int64], read: Callable[[int], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        size = self.images.transform.image_size
        pixels_BHW3 = np.empty((len(rows), size, size, 3), dtype=np.uint8)
        for position, row in enumerate(rows.tolist()):
            pixels_BHW3[position] = read(row)
        return pixels_BHW3


def num_decoders(num_processes: int = 1) -> int:
    """Returns how many processes decode images for one training process of this machine.

    One core is left for the training. A process of a pool, as in a sweep, may have none.

    Args:
        num_processes: Training processes on this machine.
    """
    if multiprocessing.current_process().daemon:
        return 0
    return max(0, min(MOST_DECODERS, num_cores() // num_processes - 1))


def num_cores() -> int:
    """Returns the number of cores: on Linux those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
