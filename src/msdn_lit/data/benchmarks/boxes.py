"""Bounding boxes of aPascal/aYahoo, where an "image" of the benchmark is a box in an image file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msdn_lit.data.benchmarks.text_files import Row, read_rows
from msdn_lit.errors import DataError

PixelBox = tuple[int, int, int, int]  # left, upper, right, lower as in PIL's crop
SOURCE = (
    "Unpack attribute_data.tar.gz of aPascal/aYahoo (vision.cs.uiuc.edu/attributes) into the data "
    "folder."
)


class _Entry(NamedTuple):
    where: str
    image: str
    class_name: str
    box: PixelBox


def read_boxes(
    tables: Sequence[Path], images: Sequence[str], class_names: Sequence[str]
) -> list[PixelBox]:
    """Reads the boxes of all images and checks that the tables list the same images in order.

    Args:
        tables: Text files, in order, with lines "image class x1 y1 x2 y2 ..."; corners as in PASCAL
            VOC: counted from 1, both inside the box.
        images: File name of each of the N images.
        class_names: Class of each image.

    Returns:
        (left, upper, right, lower) of each image as for PIL's crop: counted from 0, right and lower
        outside the box.

    Raises:
        DataError: A table is missing or damaged, or its row i is not image i.
    """
    entries = [_parse(row) for table in tables for row in read_rows(table, None, SOURCE)]
    if len(entries) != len(images):
        names = ", ".join(table.name for table in tables)
        raise DataError(
            f"{names} do not fit the split", expected=f"{len(images)} boxes", found=len(entries)
        )
    for i, (entry, image, class_name) in enumerate(zip(entries, images, class_names, strict=True)):
        if (entry.image, entry.class_name) != (image, class_name):
            raise DataError(
                f"{entry.where} is not image {i} of the split",
                expected=f"{image} {class_name}",
                found=f"{entry.image} {entry.class_name}",
                action="The split files and these tables belong to different editions.",
            )
    return [entry.box for entry in entries]


def _parse(row: Row) -> _Entry:
    try:
        image, class_name, *corners = row.cells[:6]
        x1, y1, x2, y2 = map(int, corners)
    except ValueError:
        raise DataError(
            f"{row.where} is not a box",
            expected="image class x1 y1 x2 y2",
            found=repr(" ".join(row.cells)[:60]),
            action=SOURCE,
        ) from None
    box = (max(x1 - 1, 0), max(y1 - 1, 0), x2, y2)
    if box[0] >= x2 or box[1] >= y2:
        raise DataError(f"{row.where}: the box is empty", found=(x1, y1, x2, y2), action=SOURCE)
    return _Entry(row.where, image, class_name, box)
