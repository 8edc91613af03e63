"""Benchmarks in the form of xlsa17: split files, image folders and attribute names on disk."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from msdn_lit.data.benchmarks.boxes import PixelBox, read_boxes
from msdn_lit.data.splits.variants import SplitFingerprints, find_differences, name_variant
from msdn_lit.data.splits.xlsa17 import (
    SOURCE,
    SPLIT_FILES,
    ProposedSplit,
    read_attribute_names,
    read_proposed_split,
)
from msdn_lit.data.words.attributes import WordRule, Words, plain_words
from msdn_lit.errors import DataError


class Terms(NamedTuple):
    """Terms of use of a benchmark's images and annotations.

    Attributes:
        name: Name of the terms, as an identifier.
        url: Page of the benchmark.
        sentence: The terms in one sentence, for people.
    """

    name: str
    url: str
    sentence: str


@dataclass(frozen=True)
class XlsaBenchmark:
    """A benchmark in the form of xlsa17, with all facts that are known without its files.

    Attributes:
        name: Name in xlsa17, e.g. "CUB".
        image_folders: Folder name in the split file's image paths -> possible folders below the
            data folder, the layout of the official archive first.
        sizes: Number of classes, unseen classes, attributes and images; None if they are not fixed.
        make: Creates the benchmark's files in a data folder; None if the files are downloaded.
        attribute_files: Possible lists of attribute names below the data folder: MATLAB, or text
            with "1 name" or "name" per line.
        words_of: Rule that splits an attribute's name into words.
        archive: Description of the image archive, for error messages.
        official: Hashes of the official split files; None if nothing is published.
        box_files: Tables of bounding boxes below the data folder; empty if an image is a whole
            file.
        word_vectors: Published table of attribute word vectors below the data folder; None if
            there is none.
        clamp_negative: If True, negative class attributes mean "not rated" and are set to zero.
        terms: Terms of use; None if this program makes the benchmark.
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
    word_vectors: str | None = None
    clamp_negative: bool = False
    terms: Terms | None = None

    def check_files(self, data_dir: Path) -> None:
        """Checks that the split files exist. Nothing is read.

        Raises:
            DataError: A file is missing.
        """
        folder = data_dir / "xlsa17" / "data" / self.name
        if self.make is not None and not folder.exists():
            raise DataError(
                f"{self.name} is missing in {data_dir}",
                action="Run msdn extract with the same overrides to create it.",
            )
        remedy = SOURCE
        if self.official:
            where = shlex.quote(str(data_dir))
            remedy = (
                f"Run msdn fetch {self.name.lower()} --data-dir {where}, or try "
                "msdn extract experiment=demo and msdn train experiment=demo, which need no files."
            )
        for name in SPLIT_FILES:
            if not (folder / name).exists():
                raise DataError(f"{folder / name} is missing", action=remedy)

    def read_split(self, data_dir: Path, *, allow_unknown: bool = False) -> ProposedSplit:
        """Reads the Proposed Split files and compares them with the known facts.

        Args:
            data_dir: Data folder, with xlsa17/.
            allow_unknown: If True, files that are not a known variant are accepted; their
                `variant` starts with "unknown".

        Raises:
            DataError: A file is missing or damaged, or is not a known variant of this benchmark.
        """
        self.check_files(data_dir)
        folder = data_dir / "xlsa17" / "data" / self.name
        split = read_proposed_split(folder)
        remedy = (
            f"{SOURCE} Or accept them as they are with data.allow_unknown_split=true; "
            "every result will say so."
        )
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
        is_known = has_known_sizes and not differences
        return replace(split, variant=name_variant(split, is_known=is_known))

    def relative_paths(self, split: ProposedSplit) -> list[str]:
        """Returns the image paths below their image folder, the same on every machine.

        A path occurs several times if several boxes of the file are images.

        Raises:
            DataError: A path in the split file does not contain an image folder.
        """
        return [relative for _, relative in self._split_paths(split)]

    def image_paths(self, split: ProposedSplit, data_dir: Path) -> list[Path]:
        """Returns the image files: the end of the split file's paths below the image folders.

        Raises:
            DataError: An image folder is missing, or a path in the split file does not contain one.
        """
        roots = {folder: self._find_root(folder, data_dir) for folder in self.image_folders}
        return [roots[folder] / relative for folder, relative in self._split_paths(split)]

    def image_boxes(self, split: ProposedSplit, data_dir: Path) -> list[PixelBox] | None:
        """Returns the images' boxes for PIL's crop; None if an image is a whole file.

        Raises:
            DataError: A table is missing or damaged, or its row i is not image i of the split.
        """
        if not self.box_files:
            return None
        classes = [split.class_names[label] for label in split.labels_N]
        tables = [data_dir / file for file in self.box_files]
        return read_boxes(tables, self.relative_paths(split), classes)

    def attribute_names(self, data_dir: Path, num_attributes: int) -> tuple[str, ...]:
        """Returns the names of the attributes, in order; numbers if the list is missing."""
        names = self._listed_attributes(data_dir)
        if len(names) == num_attributes:
            return names
        return tuple(f"attribute {k + 1}" for k in range(num_attributes))

    def attribute_words(self, data_dir: Path, num_attributes: int) -> tuple[Words, ...]:
        """Returns the words of each attribute's name.

        Raises:
            DataError: The list of names is missing.
        """
        names = self._listed_attributes(data_dir)
        if len(names) != num_attributes:
            files = " or ".join(self.attribute_files) or "a list of them"
            raise DataError(
                f"The names of {self.name}'s attributes are missing",
                expected=f"{num_attributes} names in {files} below {data_dir}",
                found=len(names),
            )
        return tuple(map(self.words_of, names))

    def in_attribute_order(self, names: Sequence[str]) -> "XlsaBenchmark":
        """Returns the same benchmark: the split file has an order and no names."""
        return self

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

    def _split_paths(self, split: ProposedSplit) -> list[tuple[str, str]]:
        """Returns each image's folder and its path below that folder."""
        return [self._split_path(split, row) for row in range(len(split.image_files))]

    def _split_path(self, split: ProposedSplit, row: int) -> tuple[str, str]:
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
        candidates = [data_dir / root for root in self.image_folders[folder]]
        root = next((candidate for candidate in candidates if candidate.is_dir()), None)
        if root is None:
            raise DataError(
                f"The images of {self.name} are missing",
                expected="a folder at " + " or ".join(map(str, candidates)),
                found="none",
                action=f"Unpack {self.archive} into {data_dir} and run the command again, or "
                "choose the folder that has it with paths.data_dir=... (make: DATA_DIR=...).",
            )
        return root
