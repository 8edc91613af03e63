"""A benchmark in the form of xlsa17: split files, image folders and a list of attribute names below a data folder."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from msdn_lit.data.benchmarks.boxes import Box, read_boxes
from msdn_lit.data.splits.variants import SplitFingerprints, find_differences, name_variant
from msdn_lit.data.splits.xlsa17 import (
    SOURCE,
    ProposedSplit,
    read_attribute_names,
    read_proposed_split,
)
from msdn_lit.data.words.attributes import WordRule, Words, plain_words
from msdn_lit.errors import DataError


@dataclass(frozen=True)
class XlsaBenchmark:
    """A benchmark in the form of xlsa17, and what is known of it before its files are read.

    Attributes:
        name: Its name in xlsa17, e.g. "CUB".
        image_folders: For each folder after which the split file's image paths are relative, where it may lie below the
            data folder, the official archive's layout first.
        sizes: Number of classes, unseen classes, attributes and images; None where they are not fixed.
        make: Makes the benchmark's files in a data folder, if it is one that we make.
        attribute_files: Where a list of attribute names ("1 name" or "name" a line, or MATLAB) may lie below the data
            folder.
        words_of: The words of an attribute's name.
        archive: Where the images come from, in words.
        official: What the official split files hash to; None where there is nothing published.
        box_files: Tables of bounding boxes below the data folder, where an image is a part of a picture.
    """

    name: str
    image_folders: Mapping[str, tuple[str, ...]]
    sizes: tuple[int, int, int, int] | None = None
    make: Callable[[Path], None] | None = None
    attribute_files: tuple[str, ...] = ()
    words_of: WordRule = plain_words
    archive: str = "its images"
    official: SplitFingerprints | None = None
    box_files: tuple[str, ...] = ()

    def read_split(self, data_dir: Path, *, allow_unknown: bool = False) -> ProposedSplit:
        """Reads the Proposed Split files and holds them to what is known.

        Args:
            data_dir: Holds xlsa17/.
            allow_unknown: Take files that are not a known variant; `variant` says so.

        Raises:
            DataError: A file is missing or damaged, or not a known variant of this benchmark's.
        """
        folder = data_dir / "xlsa17" / "data" / self.name
        if self.make is not None and not folder.exists():
            action = "msdn-extract makes it, with the same overrides."
            raise DataError(f"{self.name} is not in {data_dir} yet", action=action)
        split = read_proposed_split(folder)
        remedy = f"{SOURCE} Or accept them as they are with data.allow_unknown_split=true; every result will say so."
        C, K = split.class_attributes_CK.shape
        found = (C, len(split.classes_of("test_unseen")), K, len(split.labels_N))
        has_known_sizes = self.sizes in (None, found)
        if not has_known_sizes and not allow_unknown:
            raise DataError(
                f"{folder} is not {self.name}'s official split",
                expected=f"(classes, unseen classes, attributes, images) {self.sizes}",
                found=found,
                action=remedy,
            )
        if self.official is None:
            return split
        differences = find_differences(split, self.relative_paths(split), self.official)
        if differences and not allow_unknown:
            raise DataError(
                f"{folder} is no known variant of {self.name}'s split files",
                found=" and ".join(differences),
                action=remedy,
            )
        return replace(
            split, variant=name_variant(split, is_known=has_known_sizes and not differences)
        )

    def relative_paths(self, split: ProposedSplit) -> list[str]:
        """The image paths below the image folder: the benchmark's own names, the same on every machine.

        They repeat where an image is a box in a picture.

        Raises:
            DataError: A path in the split file does not contain the folder.
        """
        return [relative for _, relative in self._places(split)]

    def image_paths(self, split: ProposedSplit, data_dir: Path) -> list[Path]:
        """Resolves the split file's image paths by their tail below this benchmark's image folders.

        Raises:
            DataError: An image folder is missing, or a path in the split file does not contain one.
        """
        roots = {folder: self._find_root(folder, data_dir) for folder in self.image_folders}
        return [roots[folder] / relative for folder, relative in self._places(split)]

    def image_boxes(self, split: ProposedSplit, data_dir: Path) -> list[Box] | None:
        """The images' boxes for PIL's crop; None where an image is a whole file.

        Raises:
            DataError: A table is missing or damaged, or its row i is not image i of the split.
        """
        if not self.box_files:
            return None
        classes = [split.class_names[label] for label in split.labels_N]
        return read_boxes(
            [data_dir / file for file in self.box_files], self.relative_paths(split), classes
        )

    def attribute_names(self, data_dir: Path, num_attributes: int) -> tuple[str, ...]:
        """Names of the attributes, in order; numbers where no list of names is at hand."""
        names = self._listed_attributes(data_dir)
        return (
            names
            if len(names) == num_attributes
            else tuple(f"attribute {k + 1}" for k in range(num_attributes))
        )

    def attribute_words(self, data_dir: Path, num_attributes: int) -> tuple[Words, ...]:
        """The words of each attribute's name.

        Raises:
            DataError: No list of names is at hand.
        """
        names = self._listed_attributes(data_dir)
        if len(names) != num_attributes:
            places = " or ".join(self.attribute_files) or "a list of them"
            expected, found = f"{num_attributes} in {places} below {data_dir}", len(names)
            raise DataError(
                f"The names of {self.name}'s attributes are not at hand",
                expected=expected,
                found=found,
            )
        return tuple(map(self.words_of, names))

    def _listed_attributes(self, data_dir: Path) -> tuple[str, ...]:
        path = next(
            (data_dir / file for file in self.attribute_files if (data_dir / file).is_file()), None
        )
        if path is None:
            return ()
        if path.suffix == ".mat":
            return read_attribute_names(path)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return tuple(re.sub(r"^\s*\d+\s+", "", line).strip() for line in lines if line.strip())

    def _places(self, split: ProposedSplit) -> list[tuple[str, str]]:
        """Image folder of each image, and its path below that."""
        return [self._place(split, row) for row in range(len(split.image_files))]

    def _place(self, split: ProposedSplit, row: int) -> tuple[str, str]:
        file = split.image_files[row]
        for folder in self.image_folders:
            relative = f"/{file}".partition(f"/{folder}/")[2].lstrip("/")
            if relative:
                return folder, relative
        raise DataError(
            f"{split.folder / 'res101.mat'}: image_files[{row}] is not a path of {self.name}",
            expected=" or ".join(f"'.../{folder}/...'" for folder in self.image_folders),
            found=repr(file),
            action="Check that the split files are those of this benchmark.",
        )

    def _find_root(self, folder: str, data_dir: Path) -> Path:
        places = [data_dir / root for root in self.image_folders[folder]]
        root = next((place for place in places if place.is_dir()), None)
        if root is None:
            raise DataError(
                f"The images of {self.name} are not there",
                expected="a folder at " + " or ".join(map(str, places)),
                found="none",
                action=f"Unpack {self.archive} into {data_dir} and repeat the command, or name the folder that has it "
                "with paths.data_dir=... (make: DATA_DIR=...).",
            )
        return root
