"""A template of an own dataset, to be filled: four animals, five attributes, one animal unseen."""

from pathlib import Path

from msdn_lit.data.benchmarks.attribute_table import CSV
from msdn_lit.data.benchmarks.folder import IMAGES, UNSEEN
from msdn_lit.errors import DataError

_README = """\
A dataset for zero-shot learning
================================

images/<class>/   the pictures of a class: jpg, png, webp, bmp, ...; as many as you have, at least two of a seen class
attributes.csv    a row for each class, a column for each attribute
unseen.txt        the classes that are recognised without an example; none of their images is used in training

The four animals are an example: put some pictures into their folders and it works as it is, or replace them. Then

    msdn-extract data=folder data.folder=DIR data.benchmark=NAME
    msdn-train   data=folder data.folder=DIR data.benchmark=NAME

where DIR is this folder and NAME is yours to choose; it names the features and the results.

Instead of attributes.csv there may be attributes.yaml:

    horse: {stripes: 0, hooves: 1}
    zebra: {stripes: 1, hooves: 1}

A value is how much of an attribute a class has: 0 or 1, a percentage, any scale, the same one for all classes of an
attribute. No two classes should have the same row. A class is known by its name in all three places.
"""
_ATTRIBUTES = """\
# A row for each class, a column for each attribute; a value is how much of it the class has.
# Numbers have a point, columns are separated by commas. Lines that begin with # are ignored.
class,stripes,hooves,mane,long neck,meat eater
giraffe,0,1,0.3,1,0
horse,0,1,1,0.3,0
tiger,1,0,0,0,1
zebra,1,1,0.6,0.3,0
"""
_UNSEEN = """\
# One class a line: these are recognised without ever having seen an example.
zebra
"""
_IMAGES_README = "One folder for each class, named as in attributes.csv; the pictures of the class directly in it.\n"
_EXAMPLES = ("giraffe", "horse", "tiger", "zebra")


def write_template(directory: Path) -> None:
    """Writes an example dataset without its images, and a README that says how to go on.

    Args:
        directory: Made if it is not there.

    Raises:
        DataError: A file of the template is there already, or the directory cannot be written.
    """
    files = {
        "README.txt": _README,
        CSV: _ATTRIBUTES,
        UNSEEN: _UNSEEN,
        f"{IMAGES}/README.txt": _IMAGES_README,
    }
    existing = [name for name in files if (directory / name).exists()]
    if existing:
        found = ", ".join(existing)
        raise DataError(
            f"{directory} is in use", expected="none of the template's files", found=found
        )
    try:
        for name in _EXAMPLES:
            (directory / IMAGES / name).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (directory / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise DataError(
            f"{directory} cannot be written ({error.strerror})", action="Name another one."
        ) from error
