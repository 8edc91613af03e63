"""Where the attributes of an image are to be seen: parts of drawn birds; boxes and keypoints of CUB.

A file's pixels become shares of the square that the backbone sees: the short side is resized, the centre cropped.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from msdn_lit.errors import READ_ERRORS, DataError, one_line

Box = tuple[float, float, float, float]  # left, upper, right, lower
WHOLE = "bird"
# Boxes and keypoints are in the originals' pixels. A file whose short side is 256 px is taken for a resized copy of an
# original with a long side of 500 px. That is wrong of 858 of CUB's 11,788 images, which were smaller: their boxes come
# out too small and too near the upper left corner. image_sizes.txt, where it is there, says it of each image.
_COPY_SHORT, _ORIGINAL_LONG = 256, 500
_KEYPOINT_RADIUS = (
    30  # pixels of the original: a keypoint counts as a square, about a cell of 7 x 7
)
_GROUPS = {  # attribute group of CUB -> keypoints; the others (size, shape, primary colour) are of the whole bird
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
    """Boxes of parts.

    Attributes:
        kind: What they are, for tables: "parts", "keypoints" or "boxes".
        of_image: Image's name -> part -> box in pixels of the original.
        parts_of: Parts of each of the K attributes; none where an attribute has no place.
        sizes: Width and height of originals by image name, where they are known.
    """

    kind: str
    of_image: Mapping[str, Mapping[str, Box]]
    parts_of: Sequence[tuple[str, ...]]
    sizes: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def of(self, name: str, path: Path) -> NDArray[np.float64]:
        """Boxes of each attribute in one image as shares of what the backbone saw, (K, N, 4); NaN where there is none.

        Raises:
            DataError: The image is not there.
        """
        try:
            with Image.open(path) as image:
                size = self.sizes.get(name) or _original_size(image.size)
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
    """Reads what a benchmark says of places: SYNTHETIC's parts; CUB's keypoints if they are there, else its boxes.

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
        return PartBoxes(
            "keypoints", _keypoints(folder), [_keypoints_of(n) for n in attribute_names], sizes
        )
    return PartBoxes("boxes", _boxes(folder), [(WHOLE,)] * len(attribute_names), sizes)


def in_crop(box: Box, size: tuple[float, float]) -> Box | None:
    """A box in pixels as shares of the centre square of an image of a size; None where nothing of it is left."""
    short = min(size)
    margins = [(side - short) / 2 for side in size] * 2
    left, upper, right, lower = (
        min(max((x - m) / short, 0), 1) for x, m in zip(box, margins, strict=True)
    )
    return (left, upper, right, lower) if left < right and upper < lower else None


def _original_size(size: tuple[int, int]) -> tuple[float, float]:
    scale = _ORIGINAL_LONG / max(size) if min(size) == _COPY_SHORT else 1.0
    return size[0] * scale, size[1] * scale


def _sizes(path: Path) -> dict[str, tuple[float, float]]:
    """Lines "image,width,height"; none where there is no such file."""
    found = {}
    for image, *numbers in _rows(path, ",", 3) if path.is_file() else ():
        width, height = _numbers(path, numbers)
        if not min(width, height) > 0:
            raise DataError(
                f"{path} is damaged", expected="sizes above 0", found=f"{image},{','.join(numbers)}"
            )
        found[image] = (width, height)
    return found


def _drawn_parts(path: Path) -> dict[str, dict[str, Box]]:
    """Squares around the drawn discs."""
    found: dict[str, dict[str, Box]] = defaultdict(dict)
    for image, part, *numbers in _rows(path, ",", 5, header=True):
        x, y, radius = _numbers(path, numbers)
        found[image][part] = (x - radius, y - radius, x + radius, y + radius)
    return found


def _boxes(folder: Path) -> dict[str, dict[str, Box]]:
    names, path, found = _names(folder / "images.txt"), folder / "bounding_boxes.txt", {}
    for number, *corners in _rows(path, " ", 5):
        x, y, width, height = _numbers(path, corners)
        found[names.get(number, number)] = {WHOLE: (x, y, x + width, y + height)}
    return found


def _keypoints(folder: Path) -> dict[str, dict[str, Box]]:
    """Squares around the visible keypoints."""
    names, path = _names(folder / "images.txt"), folder / "parts" / "part_locs.txt"
    parts, radius = _names(folder / "parts" / "parts.txt"), _KEYPOINT_RADIUS
    found: dict[str, dict[str, Box]] = defaultdict(dict)
    for image, part, *numbers in _rows(path, " ", 5):
        x, y, is_visible = _numbers(path, numbers)
        if is_visible:
            place = (x - radius, y - radius, x + radius, y + radius)
            found[names.get(image, image)][parts.get(part, part)] = place
    return found


def _keypoints_of(attribute: str) -> tuple[str, ...]:
    """E.g. "has_under_tail_color::black" is to be seen at the tail."""
    group = attribute.removeprefix("has_").partition("::")[0].rpartition("_")[0]
    return _GROUPS.get(group, ())


def _names(path: Path) -> dict[str, str]:
    return {row[0]: " ".join(row[1:]) for row in _rows(path, " ", 2, or_more=True)}


def _rows(
    path: Path, delimiter: str, cells: int, *, header: bool = False, or_more: bool = False
) -> Iterator[list[str]]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({one_line(error)})", action="Unpack the archive again."
        ) from error
    for number, row in enumerate(rows[header:], start=1 + header):
        if len(row) < cells or (len(row) > cells and not or_more):
            raise DataError(
                f"{path}, line {number} is damaged",
                expected=f"{cells} values",
                found=" ".join(row)[:60],
            )
        yield row


def _numbers(path: Path, cells: Sequence[str]) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        raise DataError(
            f"{path} is damaged", expected="numbers", found=" ".join(cells)[:60]
        ) from None
