"""Bounding boxes of aPascal/aYahoo, where an "image" of the benchmark is a box in a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msdn_lit.errors import DataError

Box = tuple[int, int, int, int]
SOURCE = "Unpack attribute_data.tar.gz of aPascal/aYahoo (vision.cs.uiuc.edu/attributes) into the data folder."


class _Row(NamedTuple):
    place: str
    image: str
    class_name: str
    box: Box


def read_boxes(
    tables: Sequence[Path], images: Sequence[str], class_names: Sequence[str]
) -> list[Box]:
    """Reads the boxes of all images and checks that the tables speak of the same images in the same order.

    Args:
        tables: Text files, in order, with lines "image class x1 y1 x2 y2 ..."; corners as in PASCAL VOC: from 1, both
            inside the box.
        images: File name of each of the N images.
        class_names: Class of each image.

    Returns:
        (left, upper, right, lower) of each image as PIL's crop wants them: from 0, right and lower outside the box.

    Raises:
        DataError: A table is missing or damaged, or its row i is not image i.
    """
    rows = [row for table in tables for row in _read_table(table)]
    if len(rows) != len(images):
        names = ", ".join(table.name for table in tables)
        raise DataError(
            f"{names} do not fit the split", expected=f"{len(images)} boxes", found=len(rows)
        )
    for i, (row, image, class_name) in enumerate(zip(rows, images, class_names, strict=True)):
        if (row.image, row.class_name) != (image, class_name):
            raise DataError(
                f"{row.place} is not image {i} of the split",
                expected=f"{image} {class_name}",
                found=f"{row.image} {row.class_name}",
                action="The split files and these tables belong to different editions.",
            )
    return [row.box for row in rows]


def _read_table(path: Path) -> list[_Row]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} is missing", action=SOURCE) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error})", action=SOURCE) from error
    return [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _parse(line: str, place: str) -> _Row:
    try:
        image, class_name, *corners = line.split()[:6]
        x1, y1, x2, y2 = map(int, corners)
    except ValueError:
        expected = "image class x1 y1 x2 y2"
        raise DataError(
            f"{place} is no box", expected=expected, found=repr(line[:60]), action=SOURCE
        ) from None
    box = (max(x1 - 1, 0), max(y1 - 1, 0), x2, y2)
    if box[0] >= x2 or box[1] >= y2:
        raise DataError(f"{place}: the box is empty", found=(x1, y1, x2, y2), action=SOURCE)
    return _Row(place, image, class_name, box)
