"""URLs, sizes and checksums of every benchmark's files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GB = 10**9


@dataclass(frozen=True)
class Source:
    """A file to download.

    Attributes:
        name: File name. Archives are recognised by their suffix; other files are not unpacked.
        gives: Kind of data in the file, e.g. "images".
        urls: URLs of the file, the official one first.
        unpacked: Approximate unpacked size, bytes; used to check free disk space and as a limit.
        content: Required files: glob pattern below the data folder -> minimum number of matches.
            A pattern may list several layouts, separated by "|"; the first one with any match
            counts, as it does for the reader.
        size: Size of the file, bytes; None if unknown.
        checksum: "md5:..." or "sha256:..."; None if unknown.
        into: Destination folder below the data folder.
    """

    name: str
    gives: str
    urls: tuple[str, ...]
    unpacked: int
    content: Mapping[str, int]
    size: int | None = None
    checksum: str | None = None
    into: str = ""

    @property
    def is_archive(self) -> bool:
        """True if the file is an archive."""
        return self.name.endswith((".zip", ".tar", ".tgz", ".tar.gz"))

    def inventory(self, data_dir: Path) -> dict[str, tuple[int, int]]:
        """Returns (number found, number required) for each pattern of `content`."""
        return {
            pattern: (_count(data_dir, pattern.split("|")), wanted)
            for pattern, wanted in self.content.items()
        }


def _count(data_dir: Path, layouts: list[str]) -> int:
    counts = (sum(1 for _ in data_dir.glob(layout)) for layout in layouts)
    return next((count for count in counts if count), 0)


def _splits(folder: str) -> Source:
    """Returns the source of one benchmark's splits; xlsa17.zip has those of all benchmarks."""
    return Source(
        "xlsa17.zip",
        "splits",
        (
            "https://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",
            "http://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",
            "https://cvml.ista.ac.at/AwA2/xlsa17.zip",  # from one public repository
        ),
        # Unverified. The archive also has about 0.9 to 1.1 GB; its checksum is unknown.
        unpacked=11 * GB // 10,
        content={f"xlsa17/data/{folder}/{file}.mat": 1 for file in ("att_splits", "res101")},
    )


def _word_vectors(folder: str, size: int, sha256: str) -> Source:
    """Returns the source of a word-vector file, which is the same in both repositories."""
    name = f"{folder}_attribute.pkl"
    return Source(
        name,
        "word vectors",
        (
            f"https://raw.githubusercontent.com/hbdat/cvpr20_DAZLE/master/w2v/{name}",
            f"https://raw.githubusercontent.com/shiming-chen/TransZero/main/w2v/{name}",
        ),
        unpacked=size,
        content={f"w2v/{name}": 1},
        size=size,
        checksum=f"sha256:{sha256}",
        into="w2v",
    )


SOURCES = {
    "cub": (
        Source(
            "CUB_200_2011.tgz",
            "images",
            ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",),
            unpacked=12 * GB // 10,  # approximate
            content={"CUB_200_2011/images/*/*.jpg": 11_788},
            size=1_150_585_339,
            checksum="sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        ),
        _splits("CUB"),
        _word_vectors(
            "CUB", 748_962, "35261deef657d26c0886d6f49842aefe237708fc7f5b4e4d76c790e47446fa88"
        ),
    ),
    "sun": (
        Source(
            "SUNAttributeDB_Images.tar.gz",
            "images",
            (
                "https://cs.brown.edu/people/gmpatter/Attributes/SUNAttributeDB_Images.tar.gz",
                "https://cs.brown.edu/~gmpatter/Attributes/SUNAttributeDB_Images.tar.gz",
            ),
            unpacked=19 * GB // 10,  # approximate; the archive has 1.82 GB
            content={"SUNAttributeDB_Images/images/**/*.jpg|SUN/images/**/*.jpg": 14_340},
            # from DeepMind's NEVIS benchmark; not confirmed by a second source
            checksum="md5:5966725c7306df6e05cd3ada7f45a18b",
            into="SUNAttributeDB_Images",
        ),
        Source(
            "SUNAttributeDB.tar.gz",
            "attribute names",
            (
                "https://cs.brown.edu/people/gmpatter/Attributes/SUNAttributeDB.tar.gz",
                "https://cs.brown.edu/~gmpatter/Attributes/SUNAttributeDB.tar.gz",
            ),
            unpacked=5_000_000,  # unverified; the archive has about 0.5 MB
            content={"SUNAttributeDB/attributes.mat": 1},
            # from DeepMind's NEVIS benchmark; not confirmed by a second source
            checksum="md5:883293e5b645822f6ae0046c6df54183",
        ),
        _splits("SUN"),
        _word_vectors(
            "SUN", 244_961, "cb90a74a9d3a43e2a7282861130760cb655e6d753b6cc4235a4c7136154b1fb3"
        ),
    ),
    "awa2": (
        Source(
            "AwA2-data.zip",
            "images, attribute names",
            (
                "https://cvml.ista.ac.at/AwA2/AwA2-data.zip",
                "http://cvml.ist.ac.at/AwA2/AwA2-data.zip",
            ),
            unpacked=14 * GB,  # approximate; the archive has about 13 GB
            content={"Animals_with_Attributes2/JPEGImages/*/*.jpg|AwA2/JPEGImages/*/*.jpg": 37_322},
            # the same in two independent public repositories
            checksum="sha256:cc5a849879165acaa2b52f1de3f146ffcd1c475f6ef85bab0152c763e573744f",
        ),
        _splits("AWA2"),
        _word_vectors(
            "AWA2", 204_161, "675cd9fdc7a8dce6881c2681efe2ab4e27d2ee545ad0fad210e485f5414cb754"
        ),
    ),
    "apy": (  # no word vectors are published
        Source(
            "VOCtrainval_14-Jul-2008.tar",
            "images of aPascal",
            ("http://host.robots.ox.ac.uk/pascal/VOC/voc2008/VOCtrainval_14-Jul-2008.tar",),
            unpacked=6 * GB // 10,  # approximate
            # lower bound: the images of classification and detection
            content={"VOCdevkit/VOC2008/JPEGImages/*.jpg": 4_340},
            # the same in several public repositories
            checksum="sha256:7f0ca53c1b5a838fbe946965fc106c6e86832183240af5c88e3f6c306318d42e",
        ),
        Source(
            "ayahoo_test_images.tar.gz",
            "images of aYahoo",
            ("http://vision.cs.uiuc.edu/attributes/ayahoo_test_images.tar.gz",),
            unpacked=1 * GB,  # unverified
            # lower bound; the images contain 2,644 boxes
            content={"ayahoo_test_images/*.jpg": 1_000},
        ),
        Source(
            "attribute_data.tar.gz",
            "boxes, attribute names",
            ("http://vision.cs.uiuc.edu/attributes/attribute_data.tar.gz",),
            unpacked=4_000_000,  # unverified
            content={
                f"attribute_data/{name}.txt": 1
                for name in ("apascal_train", "apascal_test", "ayahoo_test", "attribute_names")
            },
        ),
        _splits("APY"),
    ),
}
