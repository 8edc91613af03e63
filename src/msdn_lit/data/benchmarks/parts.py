"""Locations of attributes in images: parts of the drawn birds; boxes and keypoints of CUB.

Locations in pixels of a file are converted to fractions of the square that the backbone sees: the
short side is resized, the centre is cropped.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.benchmarks.text_files import read_numbers, read_rows
from msdn_lit.data.features.images import image_size
from msdn_lit.errors import READ_ERRORS, DataError, one_line

PartBox = tuple[float, float, float, float]  # left, upper, right, lower
WHOLE = "bird"
_SOURCE = "Unpack the archive again."
# Boxes and keypoints are given in pixels of the original images. A file with a short side of 256 px
# is assumed to be a resized copy of an original with a long side of 500 px. This is wrong for 858
# of CUB's 11,788 images, whose originals were smaller: their boxes come out too small and too close
# to the upper left corner. The optional image_sizes.txt gives the original size of each image.
_COPY_SHORT = 256
_ORIGINAL_LONG = 500
# Pixels of the original: a keypoint counts as a square, about one cell of a 7 x 7 grid.
_KEYPOINT_RADIUS = 30
# Attribute group of CUB -> keypoints. The other groups (size, shape, primary colour) refer to the
# whole bird.
_GROUPS = {
    "bill": ("beak",),
    "wing": ("left wing", "right wing"),
    "upperparts": ("back",),
    "underparts": ("belly", "breast"),
    "breast": ("breast",),
    "back": ("back",),
    "tail": ("tail",),
    "upper_tail": ("tail",),
    "under_tail": ("tail",),
    "head": ("crown", "forehead"),
    "throat": ("throat",),
    "eye": ("left eye", "right eye"),
    "forehead": ("forehead",),
    "nape": ("nape",),
    "belly": ("belly",),
    "leg": ("left leg", "right leg"),
    "crown": ("crown",),
}


@dataclass(frozen=True)
class PartBoxes:
    """Boxes of parts in all images of a benchmark.

    Attributes:
        kind: Kind of the locations, for tables: "parts", "keypoints" or "boxes".
        of_image: Image name -> part -> box in pixels of the original.
        parts_of: Parts of each of the K attributes; empty for an attribute without a location.
        sizes: Image name -> width and height of the original, as far as they are known.
    """

    kind: str
    of_image: Mapping[str, Mapping[str, PartBox]]
    parts_of: Sequence[tuple[str, ...]]
    sizes: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def of(self, name: str, path: Path) -> NDArray[np.float64]:
        """Returns the boxes of each attribute in one image.

        Args:
            name: Image name.
            path: Image file, from which the size is read.

        Returns:
            Boxes as fractions of the square that the backbone sees, (K, N, 4), with N boxes for
            each attribute; NaN for a box that does not exist.

        Raises:
            DataError: The image file is missing or damaged.
        """
        try:
            size = self.sizes.get(name) or _original_size(image_size(path))
        except READ_ERRORS as error:
            raise DataError(
                f"{path} cannot be read ({one_line(error)})", action="Unpack the image archive."
            ) from error
        found = {part: in_crop(box, size) for part, box in self.of_image.get(name, {}).items()}
        most = max(map(len, self.parts_of))
        boxes_KN4 = np.full((len(self.parts_of), most, 4), np.nan)
        for k, parts in enumerate(self.parts_of):
            for n, part in enumerate(parts):
                boxes_KN4[k, n] = found.get(part) or np.nan
        return boxes_KN4


def read_parts(benchmark: str, data_dir: Path, attribute_names: Sequence[str]) -> PartBoxes:
    """Reads the locations of attributes: SYNTHETIC's parts; CUB's keypoints, or else its boxes.

    Args:
        benchmark: Name of the benchmark.
        data_dir: Data folder.
        attribute_names: Names of the K attributes.

    Raises:
        DataError: The benchmark has no such files, or one is missing or damaged.
    """
    if benchmark == "SYNTHETIC":
        table = _drawn_parts(data_dir / "SYNTHETIC" / "parts.csv")
        return PartBoxes("parts", table, [(name.partition("::")[0],) for name in attribute_names])
    if benchmark != "CUB":
        raise DataError(
            f"{benchmark} does not say where its attributes are", expected="SYNTHETIC or CUB"
        )
    folder = data_dir / "CUB_200_2011"
    sizes = _sizes(folder / "image_sizes.txt")
    if (folder / "parts" / "part_locs.txt").is_file():
        parts_of = [_keypoints_of(name) for name in attribute_names]
        return PartBoxes("keypoints", _keypoints(folder), parts_of, sizes)
    return PartBoxes("boxes", _boxes(folder), [(WHOLE,)] * len(attribute_names), sizes)


def in_crop(box: PartBox, size: tuple[float, float]) -> PartBox | None:
    """Converts a box in pixels to fractions of the centre square of an image.

    Args:
        box: Box in pixels of the image.
        size: Width and height of the image.

    Returns:
        The part of the box inside the square; None if the box is outside of it.
    """
    short = min(size)
    margins = [(length - short) / 2 for length in size] * 2
    left, upper, right, lower = (
        min(max((x - m) / short, 0), 1) for x, m in zip(box, margins, strict=True)
    )
    return (left, upper, right, lower) if left < right and upper < lower else None


def _original_size(size: tuple[int, int]) -> tuple[float, float]:
    scale = _ORIGINAL_LONG / max(size) if min(size) == _COPY_SHORT else 1.0
    return size[0] * scale, size[1] * scale


def _sizes(path: Path) -> dict[str, tuple[float, float]]:
    """Reads lines "image,width,height"; empty if the file does not exist."""
    if not path.is_file():
        return {}
    found = {}
    for (image,), (width, height) in _table(path, ",", num_names=1, num_numbers=2):
        if not min(width, height) > 0:
            raise DataError(
                f"{path} is damaged", expected="sizes above 0", found=f"{image},{width},{height}"
            )
        found[image] = (width, height)
    return found


def _drawn_parts(path: Path) -> dict[str, dict[str, PartBox]]:
    """Reads the squares around the drawn discs."""
    found: dict[str, dict[str, PartBox]] = defaultdict(dict)
    for (image, part), (x, y, radius) in _table(
        path, ",", num_names=2, num_numbers=3, has_header=True
    ):
        found[image][part] = _square(x, y, radius)
    return found


def _boxes(folder: Path) -> dict[str, dict[str, PartBox]]:
    names = _names(folder / "images.txt")
    table = _table(folder / "bounding_boxes.txt", " ", num_names=1, num_numbers=4)
    return {
        names.get(image, image): {WHOLE: (x, y, x + width, y + height)}
        for (image,), (x, y, width, height) in table
    }


def _keypoints(folder: Path) -> dict[str, dict[str, PartBox]]:
    """Reads the squares around the visible keypoints."""
    names, parts = _names(folder / "images.txt"), _names(folder / "parts" / "parts.txt")
    found: dict[str, dict[str, PartBox]] = defaultdict(dict)
    path = folder / "parts" / "part_locs.txt"
    for (image, part), (x, y, is_visible) in _table(path, " ", num_names=2, num_numbers=3):
        if is_visible:
            found[names.get(image, image)][parts.get(part, part)] = _square(x, y, _KEYPOINT_RADIUS)
    return found


def _square(x: float, y: float, radius: float) -> PartBox:
    return x - radius, y - radius, x + radius, y + radius


def _keypoints_of(attribute: str) -> tuple[str, ...]:
    """Returns the keypoints of an attribute, e.g. the tail for "has_under_tail_color::black"."""
    group = attribute.removeprefix("has_").partition("::")[0].rpartition("_")[0]
    return _GROUPS.get(group, ())


def _names(path: Path) -> dict[str, str]:
    """Reads lines "number name"; a name may contain spaces."""
    names = {}
    for where, cells in read_rows(path, " ", _SOURCE):
        if len(cells) < 2:
            raise _damaged(where, cells, expected=2)
        names[cells[0]] = " ".join(cells[1:])
    return names


def _table(
    path: Path, delimiter: str, *, num_names: int, num_numbers: int, has_header: bool = False
) -> Iterator[tuple[list[str], list[float]]]:
    """Reads rows of names and numbers."""
    for index, (where, cells) in enumerate(read_rows(path, delimiter, _SOURCE)):
        if has_header and index == 0:
            continue
        if len(cells) != num_names + num_numbers:
            raise _damaged(where, cells, expected=num_names + num_numbers)
        yield cells[:num_names], read_numbers(where, cells[num_names:], _SOURCE)


def _damaged(where: str, cells: Sequence[str], expected: int) -> DataError:
    return DataError(
        f"{where} is damaged",
        expected=f"{expected} values",
        found=" ".join(cells)[:60],
        action=_SOURCE,
    )
