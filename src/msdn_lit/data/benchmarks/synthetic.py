"""The synthetic benchmark: drawn birds in the file formats of the real benchmarks.

30 classes (20 seen, 10 unseen), 26 attributes "part::value" of 5 parts. A class is a combination of
values, one per trait; no two classes share more than four of the six values. Every value occurs
among the classes of train, of val and of test_unseen.
"""

import csv
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from msdn_lit.data.benchmarks.drawing import PALETTE, PATTERNS, Landmark, draw_bird
from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import DataError
from msdn_lit.progress import IMAGES, ProgressLine

NAME = "SYNTHETIC"
VERSION = 1
SEED = 2022
STAMP = "VERSION"  # file in the folder of the images, which gets its final name last
NUM_TRAIN_CLASSES, NUM_VAL_CLASSES, NUM_UNSEEN_CLASSES = 15, 5, 10
NUM_CLASSES = NUM_TRAIN_CLASSES + NUM_VAL_CLASSES + NUM_UNSEEN_CLASSES
IMAGES_PER_SEEN, TEST_IMAGES_PER_SEEN, IMAGES_PER_UNSEEN = 50, 10, 30
WORD_VECTOR_DIM = 32
MIN_DIFFERENCE = 2  # traits in which any two classes differ
# The official split files also contain paths of their authors' machines.
FOREIGN_PREFIX = "/home/author/zsl/data/SYNTHETIC/images/"

# Trait -> part and values. A class has one value of each trait.
TRAITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "crown colour": ("crown", tuple(PALETTE)),
    "beak colour": ("beak", ("red", "yellow", "black")),
    "wing colour": ("wing", tuple(PALETTE)),
    "wing pattern": ("wing", PATTERNS),
    "belly colour": ("belly", tuple(PALETTE)),
    "tail colour": ("tail", tuple(PALETTE)),
}
ATTRIBUTES = tuple(f"{part}::{value}" for part, values in TRAITS.values() for value in values)
NUM_IMAGES = (
    NUM_TRAIN_CLASSES + NUM_VAL_CLASSES
) * IMAGES_PER_SEEN + NUM_UNSEEN_CLASSES * IMAGES_PER_UNSEEN
SIZES = (NUM_CLASSES, NUM_UNSEEN_CLASSES, len(ATTRIBUTES), NUM_IMAGES)
_HABITATS = ("Cliff", "Heath", "Lagoon", "Marsh", "Orchard", "Tundra")
_KINDS = ("Bunting", "Finch", "Jay", "Tanager", "Warbler")


@dataclass(frozen=True)
class World:
    """The classes of the benchmark.

    Attributes:
        class_names: C names of class folders, e.g. "001.Cliff_Bunting".
        values_CT: Value of each trait in each class, as an index into the trait's values, (C, T).
        roles: Ids of the train, val and unseen classes.
    """

    class_names: tuple[str, ...]
    values_CT: IntArray
    roles: Mapping[str, IntArray]

    @property
    def num_images_C(self) -> IntArray:
        """Number of images of each class, (C,)."""
        is_unseen_C = np.isin(np.arange(NUM_CLASSES), self.roles["unseen"])
        return np.where(is_unseen_C, IMAGES_PER_UNSEEN, IMAGES_PER_SEEN)

    def one_hot_CK(self) -> NDArray[np.float64]:
        """Returns 1 for each attribute that a class has, else 0, (C, K)."""
        columns = [
            np.eye(len(values))[self.values_CT[:, t]]
            for t, (_, values) in enumerate(TRAITS.values())
        ]
        return np.concatenate(columns, axis=1)


def make_world() -> World:
    """Generates the classes, the same ones in every call."""
    generator = np.random.default_rng(SEED)
    order = generator.permutation(NUM_CLASSES)
    train, val, unseen = np.split(order, np.cumsum([NUM_TRAIN_CLASSES, NUM_VAL_CLASSES]))
    names = [f"{habitat}_{kind}" for habitat in _HABITATS for kind in _KINDS]
    while True:
        values_CT = np.zeros((NUM_CLASSES, len(TRAITS)), dtype=np.int64)
        for classes in (train, val, unseen):
            values_CT[classes] = _balanced_values(len(classes), generator)
        differences_CC = (values_CT[:, None] != values_CT).sum(axis=2) + len(TRAITS) * np.eye(
            NUM_CLASSES, dtype=int
        )
        if differences_CC.min() >= MIN_DIFFERENCE:
            return World(
                class_names=tuple(f"{c + 1:03d}.{name}" for c, name in enumerate(names)),
                values_CT=values_CT,
                roles={"train": np.sort(train), "val": np.sort(val), "unseen": np.sort(unseen)},
            )


def write_synthetic(data_dir: Path) -> None:
    """Draws the benchmark into a data folder, unless it is complete and of this version.

    All files are written into a temporary folder and then renamed, the folder with the version
    stamp last.

    Args:
        data_dir: Data folder, in which SYNTHETIC/, xlsa17/data/SYNTHETIC/ and
            w2v/SYNTHETIC_attribute.pkl are created.

    Raises:
        DataError: The folder is not writable.
    """
    if _is_complete(data_dir):
        return
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=f".{NAME}.") as folder:
            _write_all(Path(folder))
            if not _is_complete(data_dir):  # another process may have finished first
                _publish(Path(folder), data_dir)
    except OSError as error:
        raise DataError(
            f"The synthetic benchmark cannot be written to {data_dir} ({error})",
            action="Choose a writable folder with paths.data_dir=...",
        ) from error


def _outputs() -> tuple[Path, ...]:
    """Returns the created files and folders below the data folder, the one with the stamp last."""
    return Path("w2v") / f"{NAME}_attribute.pkl", Path("xlsa17") / "data" / NAME, Path(NAME)


def _is_complete(data_dir: Path) -> bool:
    stamp = data_dir / NAME / STAMP
    return (
        all((data_dir / output).exists() for output in _outputs())
        and stamp.is_file()
        and stamp.read_text() == f"{VERSION}\n"
    )


def _publish(folder: Path, data_dir: Path) -> None:
    """Renames everything to its final name; an older version loses its stamp first."""
    (data_dir / NAME / STAMP).unlink(missing_ok=True)
    for output in _outputs():
        target = data_dir / output
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / output, target)


def _write_all(data_dir: Path) -> None:
    world = make_world()
    for output in _outputs():
        (data_dir / output.parent).mkdir(parents=True, exist_ok=True)
    image_files, labels_N = _write_images(data_dir / NAME, world)
    _write_split(data_dir / "xlsa17" / "data" / NAME, world, image_files, labels_N)
    (data_dir / "w2v" / f"{NAME}_attribute.pkl").write_bytes(pickle.dumps(word_vectors_KE()))
    lines = [f"{k} {attribute}\n" for k, attribute in enumerate(ATTRIBUTES, start=1)]
    (data_dir / NAME / "attributes.txt").write_text("".join(lines))
    (data_dir / NAME / STAMP).write_text(f"{VERSION}\n")


def _write_images(folder: Path, world: World) -> tuple[list[str], IntArray]:
    """Draws all images and parts.csv; returns the images' paths and their classes."""
    image_files: list[str] = []
    labels: list[int] = []
    folder.mkdir()
    total = int(world.num_images_C.sum())
    with (
        (folder / "parts.csv").open("w", newline="") as file,
        ProgressLine(IMAGES, total, label="drawing") as line,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "part", "x", "y", "radius"])
        for c, name in enumerate(world.class_names):
            (folder / "images" / name).mkdir(parents=True)
            for number in range(world.num_images_C[c]):
                # A feature store identifies images by name, so a new version needs new names.
                path = f"{name}/{name[4:]}_{number + 1:04d}_v{VERSION}.png"
                landmarks = _write_image(
                    folder / "images" / path, world.values_CT[c], seed=(SEED, c, number)
                )
                table.writerows(
                    [path, m.part, f"{m.x:.2f}", f"{m.y:.2f}", f"{m.radius:.2f}"] for m in landmarks
                )
                image_files.append(path)
                labels.append(c)
                line.update(len(labels))
    return image_files, np.array(labels)


def _write_image(path: Path, values_T: IntArray, seed: tuple[int, ...]) -> list[Landmark]:
    traits = [
        (part, values[v]) for v, (part, values) in zip(values_T, TRAITS.values(), strict=True)
    ]
    pattern = next(value for _, value in traits if value in PATTERNS)
    colours = {part: value for part, value in traits if value in PALETTE}
    image, landmarks = draw_bird(colours, pattern, np.random.default_rng(seed))
    image.save(path)
    return landmarks


def _write_split(folder: Path, world: World, image_files: list[str], labels_N: IntArray) -> None:
    """Writes att_splits.mat and res101.mat in the form of the Proposed Split."""
    folder.mkdir()
    percent_CK = _class_percentages(world)
    indices = {
        f"{name}_loc": _one_based(rows) for name, rows in _split_images(world, labels_N).items()
    }
    attributes = {
        "allclasses_names": _cells(world.class_names),
        "att": (percent_CK / np.linalg.norm(percent_CK, axis=1, keepdims=True)).T,
        "original_att": percent_CK.T,
    }
    savemat(folder / "att_splits.mat", attributes | indices, do_compression=True)
    files = _cells([FOREIGN_PREFIX + file for file in image_files])
    savemat(
        folder / "res101.mat",
        {"image_files": files, "labels": _one_based(labels_N)},
        do_compression=True,
    )


def _split_images(world: World, labels_N: IntArray) -> dict[str, IntArray]:
    """Returns the image indices of the five splits.

    As in the official files, train and val leak test_seen images.
    """
    unseen_N = np.isin(labels_N, world.roles["unseen"])
    # Number of each image within its class.
    number_N = np.arange(len(labels_N)) - np.searchsorted(labels_N, labels_N)
    test_seen_N = ~unseen_N & (number_N >= IMAGES_PER_SEEN - TEST_IMAGES_PER_SEEN)
    members = {
        "trainval": ~unseen_N & ~test_seen_N,
        "test_seen": test_seen_N,
        "test_unseen": unseen_N,
        "train": np.isin(labels_N, world.roles["train"]),
        "val": np.isin(labels_N, world.roles["val"]),
    }
    return {name: np.flatnonzero(members_N) for name, members_N in members.items()}


def _class_percentages(world: World) -> NDArray[np.float64]:
    """Returns the percentage of annotators who saw each attribute in each class, (C, K)."""
    generator = np.random.default_rng((SEED, 1))
    agreement_CK = generator.uniform(70, 100, size=(NUM_CLASSES, len(ATTRIBUTES)))
    slips_CK = generator.uniform(0, 8, size=agreement_CK.shape)
    percent_CK: NDArray[np.float64] = np.where(
        world.one_hot_CK() > 0, agreement_CK, slips_CK
    ).round(1)
    return percent_CK


def word_vectors_KE() -> NDArray[np.float64]:
    """Returns attribute vectors by the published rule, sums of word vectors, (K, E)."""
    generator = np.random.default_rng((SEED, 2))
    words = sorted({word for attribute in ATTRIBUTES for word in attribute.split("::")})
    vector_of = dict(
        zip(words, generator.normal(0, 0.15, size=(len(words), WORD_VECTOR_DIM)), strict=True)
    )
    return np.array(
        [sum(vector_of[word] for word in attribute.split("::")) for attribute in ATTRIBUTES]
    )


def _balanced_values(num_classes: int, generator: np.random.Generator) -> IntArray:
    """Returns a value of every trait, all about equally often, (num_classes, T)."""
    columns = [
        generator.permutation(np.arange(num_classes) % len(values)) for _, values in TRAITS.values()
    ]
    return np.stack(columns, axis=1)


def _one_based(indices: IntArray) -> NDArray[np.uint16]:
    return (indices[:, None] + 1).astype(np.uint16)


def _cells(strings: tuple[str, ...] | list[str]) -> NDArray[Any]:
    """Returns strings as MATLAB's cell array, (n, 1)."""
    cells = np.empty((len(strings), 1), dtype=object)
    cells[:, 0] = strings
    return cells
