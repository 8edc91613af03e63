"""The facts of each benchmark; a new one is an entry here and a file in conf/data/.

Sources: Xian et al., "Zero-shot learning - a comprehensive evaluation", Table 1 and the Proposed Split files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msdn_lit.data.synthetic import SIZES, write_synthetic
from msdn_lit.data.xlsa17 import ProposedSplit, read_proposed_split
from msdn_lit.errors import DataError


@dataclass(frozen=True)
class Benchmark:
    """What is known of a benchmark before its files are read.

    Attributes:
        name: Its name in xlsa17, e.g. "CUB".
        image_roots: Where its images may lie below the data folder, the official archive's layout first.
        path_marker: The folder in the split file's image paths after which the path below an image root begins.
        sizes: Number of classes, unseen classes, attributes and images; None where they are not fixed.
        make: Makes the benchmark's files in a data folder, if it is one that we make.
        attribute_files: Where a list of attribute names ("1 name" a line) may lie below the data folder.
        archive: Where the images come from, in words.
    """

    name: str
    image_roots: tuple[str, ...]
    path_marker: str
    sizes: tuple[int, int, int, int] | None = None
    make: Callable[[Path], None] | None = None
    attribute_files: tuple[str, ...] = ()
    archive: str = "its images"

    def read_split(self, data_dir: Path) -> ProposedSplit:
        """Reads the Proposed Split files and holds them to the known sizes.

        Raises:
            DataError: A file is missing or damaged, or its sizes are not those of this benchmark.
        """
        folder = data_dir / "xlsa17" / "data" / self.name
        if self.make is not None and not folder.exists():
            action = "msdn-extract makes it, with the same overrides."
            raise DataError(f"{self.name} is not in {data_dir} yet", action=action)
        split = read_proposed_split(folder)
        C, K = split.class_attributes_CK.shape
        found = (C, len(split.classes_of("test_unseen")), K, len(split.labels_N))
        if self.sizes is not None and found != self.sizes:
            raise DataError(
                f"{folder} is not {self.name}'s official split",
                expected="(classes, unseen classes, attributes, images) " + str(self.sizes),
                found=found,
                action="Take xlsa17.zip from datasets.d2.mpi-inf.mpg.de/xian.",
            )
        return split

    def image_paths(self, split: ProposedSplit, data_dir: Path) -> list[Path]:
        """Resolves the split file's image paths by their tail below this benchmark's image folder.

        Raises:
            DataError: No image folder exists, or a path in the split file lacks the marker.
        """
        places = [data_dir / root for root in self.image_roots]
        root = next((place for place in places if place.is_dir()), None)
        if root is None:
            raise DataError(
                f"The images of {self.name} are not there",
                expected="a folder at " + " or ".join(map(str, places)),
                found="none",
                action=f"Unpack {self.archive} into {data_dir} and repeat the command, or name the folder that has it "
                "with paths.data_dir=... (make: DATA_DIR=...).",
            )
        return [root / relative for relative in self.relative_paths(split)]

    def attribute_names(self, data_dir: Path, num_attributes: int) -> tuple[str, ...]:
        """Names of the attributes, in order; numbers where no list of names is at hand."""
        lists = [data_dir / file for file in self.attribute_files if (data_dir / file).is_file()]
        if lists:
            lines = lists[0].read_text(encoding="utf-8", errors="replace").splitlines()
            names = tuple(line.split(maxsplit=1)[-1].strip() for line in lines if line.strip())
            if len(names) == num_attributes:
                return names
        return tuple(f"attribute {number}" for number in range(1, num_attributes + 1))

    def relative_paths(self, split: ProposedSplit) -> list[str]:
        """The image paths below the image root: the benchmark's own names, the same on every machine.

        Raises:
            DataError: A path in the split file does not contain the marker.
        """
        marker = f"{self.path_marker}/"
        tails = [f"/{file}".partition(f"/{marker}")[2].lstrip("/") for file in split.image_files]
        if not all(tails):
            row = tails.index("")
            raise DataError(
                f"{split.folder / 'res101.mat'}: image_files[{row}] is not a path of {self.name}",
                expected=f"'.../{marker}...'",
                found=repr(split.image_files[row]),
                action="Check that the split files are those of this benchmark.",
            )
        return tails


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "CUB",
            ("CUB_200_2011/images",),
            "images",
            (200, 50, 312, 11_788),
            attribute_files=("CUB_200_2011/attributes/attributes.txt", "attributes.txt"),
            archive="CUB_200_2011.tgz (data.caltech.edu/records/65de6-vp158)",
        ),
        Benchmark(
            "SUN",
            ("SUNAttributeDB_Images/images", "SUN/images", "images"),
            "images",
            (717, 72, 102, 14_340),
            archive="SUNAttributeDB_Images.tar.gz (cs.brown.edu/~gmpatter)",
        ),
        Benchmark(
            "AWA2",
            ("Animals_with_Attributes2/JPEGImages", "AwA2/JPEGImages"),
            "JPEGImages",
            (50, 10, 85, 37_322),
            attribute_files=("Animals_with_Attributes2/predicates.txt", "AwA2/predicates.txt"),
            archive="AwA2-data.zip (cvml.ista.ac.at/AwA2)",
        ),
        Benchmark(
            "SYNTHETIC",
            ("SYNTHETIC/images",),
            "images",
            SIZES,
            make=write_synthetic,
            attribute_files=("SYNTHETIC/attributes.txt",),
        ),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """Looks a benchmark up by name.

    Raises:
        DataError: There is no benchmark of that name.
    """
    if name not in BENCHMARKS:
        raise DataError(
            "Unknown benchmark",
            expected="one of " + ", ".join(BENCHMARKS),
            found=repr(name),
            action="Set data.benchmark.",
        )
    return BENCHMARKS[name]
