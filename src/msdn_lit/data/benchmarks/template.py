"""Template of the user's own dataset: four animals, five attributes, one unseen animal."""

import os
from contextlib import suppress
from pathlib import Path

from msdn_lit.data.benchmarks.attribute_table import CSV
from msdn_lit.data.benchmarks.folder import IMAGES, UNSEEN
from msdn_lit.errors import DataError
from msdn_lit.files import make_folder, write_atomically

_README = """\
A dataset for zero-shot learning
================================

images/<class>/   the images of a class: jpg, png, webp, bmp, ...; at least two of a seen class
attributes.csv    one row per class, one column per attribute
unseen.txt        the unseen classes; none of their images is used in training

The four animals are an example. Put some images into their folders, or replace them. Then

    msdn extract data=folder data.folder=DIR data.benchmark=NAME
    msdn train   data=folder data.folder=DIR data.benchmark=NAME

DIR is this folder. NAME is a name of your choice for the features and the results.

Instead of attributes.csv you can write attributes.yaml:

    horse: {stripes: 0, hooves: 1}
    zebra: {stripes: 1, hooves: 1}

A value says how strongly a class has an attribute: 0 or 1, a percentage, or any other scale, if all
classes use the same scale for an attribute. No two classes should have the same row. Use the same
class name in all three places.
"""
_ATTRIBUTES = """\
# One row per class, one column per attribute; a value says how strongly the class has it.
# Numbers have a decimal point, columns are separated by commas. Lines with # are comments.
class,stripes,hooves,mane,long neck,meat eater
giraffe,0,1,0.3,1,0
horse,0,1,1,0.3,0
tiger,1,0,0,0,1
zebra,1,1,0.6,0.3,0
"""
_UNSEEN = """\
# One class per line: these classes are recognised without any training image.
zebra
"""
_IMAGES_README = """\
One folder per class, named as in attributes.csv, with the images of the class directly in it.
"""
_EXAMPLES = ("giraffe", "horse", "tiger", "zebra")


def write_template(folder: Path) -> None:
    """Writes an example dataset without images, and a README with the next steps.

    Args:
        folder: Folder of the dataset; it is created.

    Raises:
        DataError: A file of the template exists already, or the folder is not writable.
    """
    files = {
        "README.txt": _README,
        CSV: _ATTRIBUTES,
        UNSEEN: _UNSEEN,
        f"{IMAGES}/README.txt": _IMAGES_README,
    }
    existing = [name for name in files if os.path.exists(folder / name)]
    if existing:
        raise DataError(
            f"{folder} is in use",
            expected="none of the template's files",
            found=", ".join(existing),
        )
    try:
        for name in _EXAMPLES:
            make_folder(folder / IMAGES / name)
        for name, text in files.items():
            write_atomically(folder / name, text)
    except OSError as error:
        for name in files:  # a part would keep the command from being repeated
            with suppress(OSError):
                (folder / name).unlink()
        raise DataError(
            f"{folder} cannot be written ({error.strerror})", action="Choose another folder."
        ) from error
