"""The user's own dataset: class folders of images, a table of attributes, a list of unseen classes.

    images/<class>/*.jpg    images (also png, webp, bmp, ...; FORMATS in features/image_files.py)
    attributes.csv          first column: class; header: attribute names; or attributes.yaml
    unseen.txt              one unseen class per line

Everything is sorted by name, so every machine has the same images in the same order.
"""

import difflib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from msdn_lit.data.benchmarks.attribute_table import (
    EXAMPLE,
    SAVE_AS_UTF8,
    AttributeTable,
    clean_name,
    is_unicode,
    read_attribute_table,
)
from msdn_lit.data.benchmarks.boxes import PixelBox
from msdn_lit.data.benchmarks.text_files import read_text
from msdn_lit.data.features.image_files import (
    is_hidden,
    is_image,
    is_unread,
    no_images,
    warn_of_unread,
)
from msdn_lit.data.splits.holdout import split_images
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.data.words.attributes import Words, plain_words
from msdn_lit.errors import DataError

log = logging.getLogger(__name__)
IMAGES = "images"
UNSEEN = "unseen.txt"


@dataclass(frozen=True)
class FolderBenchmark:
    """The user's own dataset as a benchmark.

    Attributes:
        name: Name of the benchmark; it names feature stores and results.
        folder: Folder with images/, the table of attributes and unseen.txt.
        fraction: Fraction of each seen class's images that become test_seen; at least one image,
            and at least one remains for training.
        seed: Seed of the choice of test_seen.
        attribute_order: Names of the attributes in the order in which they are read; a table with
            other names is read in its own order. Empty for the order of the table.
    """

    name: str
    folder: Path
    fraction: float
    seed: int
    attribute_order: tuple[str, ...] = ()
    make: Callable[[Path], None] | None = field(default=None, init=False)

    def check_files(self, data_dir: Path) -> None:
        """Checks nothing: `read_split` reads this small folder in a moment."""

    def read_split(self, data_dir: Path, *, allow_unknown: bool = False) -> ProposedSplit:
        """Reads the folder and chooses test_seen; the arguments are for published benchmarks.

        Raises:
            DataError: Images, table or list are missing or wrong, or do not fit together.
            ConfigError: The fraction is not between 0 and 1.
        """
        table = self._table()
        images = list_images(self.folder / IMAGES)
        _warn_of_left_out(self.folder / IMAGES, sum(map(len, images.values())))
        _check_same_classes(self.folder, table, images)
        unseen = _read_unseen(self.folder / UNSEEN, table.class_names)
        labels_N = np.repeat(
            np.arange(len(images)), [len(images[name]) for name in table.class_names]
        )
        unseen_N = np.isin(labels_N, [table.class_names.index(name) for name in unseen])
        test_seen_N = ~unseen_N & split_images(labels_N, self.fraction, self.seed, keep_some=True)
        if not test_seen_N.any():
            raise DataError(
                f"{self.folder}: no seen class has an image to test on",
                expected="two or more images",
            )
        parts = {
            "trainval": ~unseen_N & ~test_seen_N,
            "test_seen": test_seen_N,
            "test_unseen": unseen_N,
        }
        return ProposedSplit(
            folder=self.folder,
            class_names=table.class_names,
            class_attributes_CK=table.values_CK,
            image_files=tuple(
                clean_name(file) for name in table.class_names for file in images[name]
            ),
            labels_N=labels_N,
            indices={name: np.flatnonzero(members_N) for name, members_N in parts.items()},
        )

    def relative_paths(self, split: ProposedSplit) -> list[str]:
        """Returns the image paths below images/, the same on every machine."""
        return list(split.image_files)

    def image_paths(self, split: ProposedSplit, data_dir: Path) -> list[Path]:
        """Returns the image files; the disk may use another Unicode form of their names.

        Raises:
            DataError: An image of the split does not exist any more.
        """
        folder = self.folder / IMAGES
        path_of = {
            clean_name(file): folder / file
            for files in list_images(folder).values()
            for file in files
        }
        missing = [file for file in split.image_files if file not in path_of]
        if missing:
            raise DataError(
                f"{folder / missing[0]} is missing",
                action="Put it back, or start again without it.",
            )
        return [path_of[file] for file in split.image_files]

    def image_boxes(self, split: ProposedSplit, data_dir: Path) -> list[PixelBox] | None:
        """Returns None, because an image is a whole file."""
        return None

    def attribute_names(self, data_dir: Path, num_attributes: int) -> tuple[str, ...]:
        """Returns the names of the attributes, in order."""
        return self._table().attribute_names

    def attribute_words(self, data_dir: Path, num_attributes: int) -> tuple[Words, ...]:
        """Returns the words of each attribute's name."""
        return tuple(map(plain_words, self.attribute_names(data_dir, num_attributes)))

    def in_attribute_order(self, names: Sequence[str]) -> "FolderBenchmark":
        """Returns the same dataset with its attributes in another order."""
        return replace(self, attribute_order=tuple(names))

    def _table(self) -> AttributeTable:
        return read_attribute_table(self.folder).in_order(self.attribute_order)


def list_images(folder: Path) -> dict[str, list[str]]:
    """Lists the images of each class folder, sorted; hidden and other files are ignored.

    Args:
        folder: Folder with one folder per class.

    Returns:
        For each class, its files below `folder`, with "/" between the parts.

    Raises:
        DataError: A class has no image or a nested folder, a link is broken, or two folders have
            the same name.
    """
    classes: dict[str, list[str]] = {}
    for entry in _entries(folder):
        if entry.is_dir():
            name = clean_name(entry.name)
            if name in classes:
                raise DataError(
                    f"{entry}: another folder has the same name", action="Rename or merge them."
                )
            classes[name] = [f"{entry.name}/{file.name}" for file in _images(entry)]
        elif entry.is_symlink() and not entry.exists():
            raise DataError(f"{entry} is a broken link")
    return classes


def _entries(folder: Path) -> list[Path]:
    """Returns the entries of a folder that are not hidden, sorted by name."""
    try:
        entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(
            f"{folder} is not a readable folder ({error.strerror})", action=EXAMPLE
        ) from error
    for entry in entries:
        if not is_unicode(entry.name):
            raise DataError(
                f"{folder}: a name is not UTF-8", found=ascii(entry.name), action="Rename it."
            )
    return sorted(entries, key=lambda entry: clean_name(entry.name))


def _images(folder: Path) -> list[Path]:
    images = []
    entries = _entries(folder)
    for entry in entries:
        if entry.is_dir():
            raise DataError(
                f"{entry} is a folder inside a class folder",
                expected="images",
                action="Move its images up.",
            )
        if is_image(entry):
            if not entry.is_file():
                kind = "not a file" if entry.exists() else "a broken link"
                raise DataError(f"{entry} is {kind}")
            images.append(entry)
    if not images:
        raise no_images(folder, [entry for entry in entries if is_unread(entry)])
    return images


def _warn_of_left_out(folder: Path, num_read: int) -> None:
    """Logs how many images are of formats that are not read, or in no class folder."""
    entries = _entries(folder)
    inside = [file for entry in entries if entry.is_dir() for file in _entries(entry)]
    warn_of_unread(folder, [file for file in inside if is_unread(file)], num_read)
    loose = [
        file.name for file in entries if not file.is_dir() and (is_image(file) or is_unread(file))
    ]
    if loose:
        log.warning(
            "%s: %s images are in no class folder, first %s. Move them into the folders of their "
            "classes.",
            folder,
            len(loose),
            loose[0],
        )


def _check_same_classes(folder: Path, table: AttributeTable, images: Collection[str]) -> None:
    for name in table.class_names:
        if name not in images:
            raise DataError(
                f"{folder}: {name!r} has attributes but no folder in images/",
                action=_hint(name, images),
            )
    for name in images:
        if name not in table.class_names:
            raise DataError(
                f"{folder}: {name!r} has a folder in images/ but no attributes",
                action=_hint(name, table.class_names),
            )


def _read_unseen(path: Path, class_names: Sequence[str]) -> list[str]:
    text = read_text(path, EXAMPLE, if_not_utf8=SAVE_AS_UTF8)
    lines = map(clean_name, text.splitlines())
    unseen = [line for line in lines if line and not line.startswith("#")]
    for name in unseen:
        if name not in class_names:
            raise DataError(f"{path}: there is no class {name!r}", action=_hint(name, class_names))
        if unseen.count(name) > 1:
            raise DataError(f"{path}: {name!r} occurs twice", action="Remove one.")
    num_seen = len(class_names) - len(unseen)
    if not unseen or num_seen < 2:
        raise DataError(
            f"{path} does not form a zero-shot problem",
            expected="one unseen, two seen classes",
            found=f"{len(unseen)} unseen, {num_seen} seen",
        )
    return unseen


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else ""
