"""Facts of each benchmark; a new benchmark is an entry here and a file in conf/data/.

Sources: Xian et al., "Zero-shot learning - a comprehensive evaluation", Table 1, and the Proposed
Split files. The fingerprints were computed on the official att_splits.mat and res101.mat.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msdn_lit.data.benchmarks.boxes import PixelBox
from msdn_lit.data.benchmarks.folder import FolderBenchmark
from msdn_lit.data.benchmarks.synthetic import SIZES, write_synthetic
from msdn_lit.data.benchmarks.xlsa import Terms, XlsaBenchmark
from msdn_lit.data.splits.variants import SplitFingerprints
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.data.words.attributes import Words, awa2_words, cub_words, sun_words
from msdn_lit.errors import DataError


class Benchmark(Protocol):
    """Interface of a benchmark, published or the user's own."""

    @property
    def name(self) -> str:
        """Name of the benchmark; it names feature stores and results."""

    @property
    def make(self) -> Callable[[Path], None] | None:
        """Creates the benchmark's files in a data folder; None if they are not created here."""

    def check_files(self, data_dir: Path) -> None:
        """Raises DataError if split files are missing; nothing is read."""

    def read_split(self, data_dir: Path, *, allow_unknown: bool = False) -> ProposedSplit:
        """Reads classes, images and splits; raises DataError if they are missing or wrong."""

    def relative_paths(self, split: ProposedSplit) -> list[str]:
        """Returns the names of the N images, the same on every machine."""

    def image_paths(self, split: ProposedSplit, data_dir: Path) -> list[Path]:
        """Returns the files of the N images on this machine."""

    def image_boxes(self, split: ProposedSplit, data_dir: Path) -> list[PixelBox] | None:
        """Returns the part of each file that is the image; None if an image is a whole file."""

    def attribute_names(self, data_dir: Path, num_attributes: int) -> tuple[str, ...]:
        """Returns readable names of the K attributes, in order."""

    def attribute_words(self, data_dir: Path, num_attributes: int) -> tuple[Words, ...]:
        """Returns the words of each attribute, whose vectors are summed."""

    def in_attribute_order(self, names: Sequence[str]) -> "Benchmark":
        """Returns the benchmark with its attributes in this order, if their order is free."""


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        XlsaBenchmark(
            "CUB",
            {"images": ("CUB_200_2011/images",)},
            (200, 50, 312, 11_788),
            attribute_files=("CUB_200_2011/attributes/attributes.txt", "attributes.txt"),
            words_of=cub_words,
            word_vectors="w2v/CUB_attribute.pkl",
            archive="CUB_200_2011.tgz (data.caltech.edu/records/65de6-vp158)",
            official=SplitFingerprints(
                splits="c4d07ac126ad5dc2053eeb46e2d9a1a929e376129a51db3df45cc7faf7d2d3d7",
                train_val="493d65b6f8a381f802278568ec05dec6122e12b61aaa07b648ac8173f9c72444",
                images="1f203dc456950314d3ae3bf4253b7e6892f98b87ba73da9a73d00602cd4f62f6",
            ),
            terms=Terms(
                "cub-200-2011-non-commercial",
                "https://www.vision.caltech.edu/datasets/cub_200_2011/",
                "The photographs belong to their authors on Flickr; the dataset is used for "
                "non-commercial research and education.",
            ),
        ),
        XlsaBenchmark(
            "SUN",
            {"images": ("SUNAttributeDB_Images/images", "SUN/images", "images")},
            (717, 72, 102, 14_340),
            attribute_files=("SUNAttributeDB/attributes.mat", "SUN/attributes.mat"),
            words_of=sun_words,
            word_vectors="w2v/SUN_attribute.pkl",
            archive="SUNAttributeDB_Images.tar.gz (cs.brown.edu/~gmpatter)",
            official=SplitFingerprints(
                splits="d8dc177a9982914da0dbbc3707f740910a1d6942ebba44ebafcd24772547bb50",
                train_val="41f0a9bd420031902131687bf7a19e2fd87dfec0d3befd5b8fb12473f60d2534",
                images="4d08593b637fbd0873fbe3f65f13e39d1da0216f6da1eff935647322f71876ee",
            ),
            terms=Terms(
                "sun-attribute-non-commercial",
                "https://cs.brown.edu/~gmpatter/sunattributes.html",
                "The photographs belong to their authors; the dataset is used for "
                "non-commercial research.",
            ),
        ),
        XlsaBenchmark(
            "AWA2",
            {"JPEGImages": ("Animals_with_Attributes2/JPEGImages", "AwA2/JPEGImages")},
            (50, 10, 85, 37_322),
            attribute_files=("Animals_with_Attributes2/predicates.txt", "AwA2/predicates.txt"),
            words_of=awa2_words,
            word_vectors="w2v/AWA2_attribute.pkl",
            clamp_negative=True,
            archive="AwA2-data.zip (cvml.ista.ac.at/AwA2)",
            official=SplitFingerprints(
                splits="0d6dcfbea0750c079bf6fc25920a22f26df5120691b4a0a1d9ffc491ca5db56a",
                train_val="e973953ce3d7e02e4f872336843665e719f2ddf1ceee601d642c8108bfa007fb",
                images="ae1c4cfa1d7b1ba74cf08d9c18811baf37f51bfdaddb7d3a3fa7ffc3c03f2cc6",
            ),
            terms=Terms(
                "awa2-image-licences",
                "https://cvml.ista.ac.at/AwA2/",
                "Each photograph has its own licence, which the dataset lists.",
            ),
        ),
        XlsaBenchmark(
            "APY",
            {
                "JPEGImages": ("VOCdevkit/VOC2008/JPEGImages", "aPY/JPEGImages"),
                "ayahoo_test_images": ("ayahoo_test_images", "aPY/ayahoo_test_images"),
            },
            (32, 12, 64, 15_339),
            attribute_files=("attribute_data/attribute_names.txt",),
            archive="VOCtrainval_14-Jul-2008.tar (host.robots.ox.ac.uk) and "
            "ayahoo_test_images.tar.gz (vision.cs.uiuc.edu/attributes)",
            official=SplitFingerprints(
                splits="e2cf609883388359d06ab6376c7ff0de91089c7e0158502fe3a2323ea217c4ce",
                train_val="9f359016aa123e815a567b38c5738573c2a6677cafd00b07f47cf0c58ac93a64",
                images=None,  # the official res101.mat was not available
            ),
            box_files=tuple(
                f"attribute_data/{name}.txt"
                for name in ("apascal_train", "apascal_test", "ayahoo_test")
            ),
            terms=Terms(
                "apy-non-commercial",
                "https://vision.cs.uiuc.edu/attributes/",
                "The photographs are from Flickr (PASCAL VOC 2008) and Yahoo and belong to their "
                "authors; the dataset is used for non-commercial research.",
            ),
        ),
        XlsaBenchmark(
            "SYNTHETIC",
            {"images": ("SYNTHETIC/images",)},
            SIZES,
            make=write_synthetic,
            attribute_files=("SYNTHETIC/attributes.txt",),
            word_vectors="w2v/SYNTHETIC_attribute.pkl",
        ),
    )
}


def find_benchmark(
    name: str, folder: str | None = None, test_seen: Mapping[str, Any] | None = None
) -> Benchmark:
    """Finds a published benchmark by name, or makes a benchmark of the user's folder.

    Args:
        name: Name of a published benchmark, e.g. "CUB"; or a new name for the folder.
        folder: Folder of the user's own dataset.
        test_seen: `fraction` and `seed` of the choice of the folder's test_seen images.

    Raises:
        DataError: No benchmark has this name, or the folder has the name of a published one.
    """
    if folder is not None:
        if name in BENCHMARKS:
            raise DataError(
                f"{folder} has a published benchmark's name",
                expected="another name, data.benchmark=NAME",
                found=name,
            )
        return FolderBenchmark(name, Path(folder).expanduser(), **(test_seen or {}))
    if name not in BENCHMARKS:
        raise DataError(
            "Unknown benchmark",
            expected=f"one of {', '.join(BENCHMARKS)}, or a folder of your own: "
            "data=folder data.folder=DIR",
            found=repr(name),
            action="Set data.benchmark.",
        )
    return BENCHMARKS[name]
