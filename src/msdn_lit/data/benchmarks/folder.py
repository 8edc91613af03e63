"""An own dataset: class folders of images, a table of attributes, and a list of the unseen classes.

    images/<class>/*.jpg    the pictures (png, webp, bmp, ... as well)
    attributes.csv          first column class, header = names of the attributes; or attributes.yaml
    unseen.txt              one unseen class a line

Everything is sorted by name, so that every machine sees the same images in the same order.
"""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from msdn_lit.data.benchmarks.attribute_table import (
    EXAMPLE,
    AttributeTable,
    clean_name,
    is_unicode,
    read_attribute_table,
    read_text,
)
from msdn_lit.data.benchmarks.boxes import Box
from msdn_lit.data.splits.holdout import split_images
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.data.words.attributes import Words, plain_words
from msdn_lit.errors import DataError

IMAGES, UNSEEN = "images", "unseen.txt"
SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
}


@dataclass(frozen=True)
class FolderBenchmark:
    """A user's dataset as a benchmark.

    Attributes:
        name: Names its feature store and results.
        folder: Holds images/, the table of attributes and unseen.txt.
        fraction: Part of each seen class's images that becomes test_seen; at least one, and one stays for training.
        seed: Of that choice.
    """

    name: str
    folder: Path
    fraction: float
    seed: int
    make: Callable[[Path], None] | None = field(default=None, init=False)

    def read_split(self, data_dir: Path, *, allow_unknown: bool = False) -> ProposedSplit:
        """Reads the folder and draws test_seen; the arguments are for published benchmarks.

        Raises:
            DataError: Images, table and list are not as they must be, or do not fit together.
            ConfigError: The fraction is not between 0 and 1.
        """
        table = read_attribute_table(self.folder)
        images = list_images(self.folder / IMAGES)
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
        """The image paths below images/, the same on every machine."""
        return list(split.image_files)

    def image_paths(self, split: ProposedSplit, data_dir: Path) -> list[Path]:
        """Where the images are; the disk may spell their names in another Unicode form.

        Raises:
            DataError: The folder has changed.
        """
        folder = self.folder / IMAGES
        place_of = {
            clean_name(file): folder / file
            for files in list_images(folder).values()
            for file in files
        }
        missing = [file for file in split.image_files if file not in place_of]
        if missing:
            raise DataError(
                f"{folder / missing[0]} is missing",
                action="Put it back, or start again without it.",
            )
        return [place_of[file] for file in split.image_files]

    def image_boxes(self, split: ProposedSplit, data_dir: Path) -> list[Box] | None:
        """None: an image is a whole file."""
        return None

    def attribute_names(self, data_dir: Path, num_attributes: int) -> tuple[str, ...]:
        """Names of the attributes, in order."""
        return read_attribute_table(self.folder).attribute_names

    def attribute_words(self, data_dir: Path, num_attributes: int) -> tuple[Words, ...]:
        """The words of each attribute's name."""
        return tuple(map(plain_words, self.attribute_names(data_dir, num_attributes)))


def list_images(folder: Path) -> dict[str, list[str]]:
    """Lists the images of each class folder, sorted; hidden files and files that are no images do not count.

    Returns:
        For each class its files below `folder`, with "/" between the parts.

    Raises:
        DataError: A class has no image, a folder within it, or a link that leads nowhere; or a name stands twice.
    """
    classes: dict[str, list[str]] = {}
    for place in _entries(folder):
        if place.is_dir():
            name = clean_name(place.name)
            if name in classes:
                raise DataError(
                    f"{place}: another folder has the same name", action="Rename or merge them."
                )
            classes[name] = [f"{place.name}/{file.name}" for file in _images(place)]
        elif place.is_symlink() and not place.exists():
            raise DataError(f"{place} is a link that leads nowhere")
    return classes


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, sorted by name."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder} is no folder that can be read ({error.strerror})", action=EXAMPLE
        ) from error
    for entry in entries:
        if not is_unicode(entry.name):
            raise DataError(
                f"{folder}: a name is not UTF-8", found=ascii(entry.name), action="Rename it."
            )
    return sorted(entries, key=lambda entry: clean_name(entry.name))


def _images(folder: Path) -> list[Path]:
    images = []
    for place in _entries(folder):
        if place.is_dir():
            raise DataError(
                f"{place} is a folder within a class",
                expected="images",
                action="Move its images up.",
            )
        if place.suffix.lower() in SUFFIXES:
            if not place.is_file():
                kind = "no file" if place.exists() else "a link that leads nowhere"
                raise DataError(f"{place} is {kind}")
            images.append(place)
    if not images:
        raise DataError(f"{folder} has no images", expected="files " + " ".join(sorted(SUFFIXES)))
    return images


def _check_same_classes(folder: Path, table: AttributeTable, images: Collection[str]) -> None:
    for name in table.class_names:
        if name not in images:
            raise DataError(
                f"{folder}: {name!r} has attributes but no folder in images/",
                action=_hint(name, images),
            )
    for name in images:
        if name not in table.class_names:
            action = _hint(name, table.class_names)
            raise DataError(
                f"{folder}: {name!r} has a folder in images/ but no attributes", action=action
            )


def _read_unseen(path: Path, class_names: Sequence[str]) -> list[str]:
    lines = map(clean_name, read_text(path).splitlines())
    unseen = [line for line in lines if line and not line.startswith("#")]
    for name in unseen:
        if name not in class_names:
            raise DataError(f"{path}: there is no class {name!r}", action=_hint(name, class_names))
        if unseen.count(name) > 1:
            raise DataError(f"{path}: {name!r} stands there twice", action="Remove one.")
    num_seen = len(class_names) - len(unseen)
    if not unseen or num_seen < 2:
        found = f"{len(unseen)} unseen, {num_seen} seen"
        raise DataError(
            f"{path} makes no zero-shot problem",
            expected="one unseen, two seen classes",
            found=found,
        )
    return unseen


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else ""
