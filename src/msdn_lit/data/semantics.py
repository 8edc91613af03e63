"""Semantic side information: class attributes, attribute word vectors, seen and unseen classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.data.splits.xlsa17 import IntArray, ProposedSplit
from msdn_lit.data.words.attributes import Words, sum_of_words
from msdn_lit.data.words.files import is_word_file, read_words
from msdn_lit.data.words.tables import read_word_vectors
from msdn_lit.errors import DataError


@dataclass(frozen=True)
class Semantics:
    """Semantic side information of one ZSL problem.

    A net takes every size that it needs from here.

    Attributes:
        class_names: C names.
        class_attributes_CK: Class semantic vectors with unit rows, (C, K).
        attribute_vectors_KE: Attribute word vectors as published, (K, E); None if they are learned
            from scratch.
        word_dim: E.
        seen: Ids of the classes used in training, ascending.
        unseen: Ids of the classes without training images, ascending. A class in neither list is
            not a candidate.
        word_vectors: Origin of the attribute vectors, for the run record: file, hash of the float32
            (K, E) values, words without a vector, attributes without any known word.
    """

    class_names: tuple[str, ...]
    class_attributes_CK: NDArray[np.float32]
    attribute_vectors_KE: NDArray[np.float32] | None
    word_dim: int
    seen: IntArray
    unseen: IntArray
    word_vectors: Mapping[str, object] = field(default_factory=dict)

    @property
    def seen_tensor(self) -> Tensor:
        """Ids of the seen classes as a tensor."""
        return torch.from_numpy(self.seen)

    @property
    def unseen_tensor(self) -> Tensor:
        """Ids of the unseen classes as a tensor."""
        return torch.from_numpy(self.unseen)

    @property
    def class_attributes_tensor(self) -> Tensor:
        """Class semantic vectors as a tensor, (C, K)."""
        return torch.from_numpy(self.class_attributes_CK)

    def initial_attribute_vectors(self) -> Tensor:
        """Returns initial attribute vectors, (K, E); random ones without word vectors."""
        if self.attribute_vectors_KE is not None:
            return torch.from_numpy(self.attribute_vectors_KE)
        return torch.randn(self.class_attributes_CK.shape[1], self.word_dim)


class NamesAttributes(Protocol):
    """Part of a benchmark that semantics need."""

    def attribute_names(self, data_dir: Path, num_attributes: int) -> tuple[str, ...]:
        """Returns the names of the attributes."""

    def attribute_words(self, data_dir: Path, num_attributes: int) -> tuple[Words, ...]:
        """Returns the words of each attribute's name."""


@dataclass(frozen=True)
class SemanticsConfig:
    """Settings from which semantics are loaded.

    Attributes:
        word_vectors: Table of attribute word vectors, or file of word vectors from which it is
            made, below the data folder; None learns the vectors from scratch.
        word_vector_dim: E of vectors that are learned from scratch.
        clamp_negative: If True, negative class attributes are set to zero (AWA2).
        shuffle_seed: Seed of a control experiment in which every class gets the attributes of
            another class, so that T1 must fall to chance; None for no shuffling.
    """

    word_vectors: str | None
    word_vector_dim: int
    clamp_negative: bool
    shuffle_seed: int | None

    def load(
        self,
        split: ProposedSplit,
        benchmark: NamesAttributes,
        data_dir: Path,
        seen_split: str,
        unseen_split: str,
    ) -> Semantics:
        """Loads the semantics of a benchmark.

        Args:
            split: Classes, images and splits.
            benchmark: Names of the attributes.
            data_dir: Data folder.
            seen_split: Name of the split with the seen classes, e.g. "trainval".
            unseen_split: Name of the split with the unseen classes, e.g. "test_unseen".

        Raises:
            DataError: The word vectors are missing, damaged or of other attributes, or a class is
                both seen and unseen.
        """
        seen, unseen = split.classes_of(seen_split), split.classes_of(unseen_split)
        shared = np.intersect1d(seen, unseen)
        if len(shared) or not len(unseen):
            raise DataError(
                f"{split.folder}: {seen_split} and {unseen_split} do not form a zero-shot problem",
                expected="unseen classes that are not seen classes",
                found=f"{len(unseen)} unseen, {len(shared)} of them seen",
            )
        attributes_CK = unit_class_attributes(
            split.class_attributes_CK, clamp_negative=self.clamp_negative
        )
        if self.shuffle_seed is not None:
            attributes_CK = shuffle_class_attributes(attributes_CK, self.shuffle_seed)
        vectors_KE, origin = self._attribute_vectors(
            benchmark, data_dir, num_attributes=attributes_CK.shape[1]
        )
        return Semantics(
            class_names=split.class_names,
            class_attributes_CK=attributes_CK,
            attribute_vectors_KE=vectors_KE,
            word_dim=self.word_vector_dim if vectors_KE is None else vectors_KE.shape[1],
            seen=seen,
            unseen=unseen,
            word_vectors=origin,
        )

    def _attribute_vectors(
        self, benchmark: NamesAttributes, data_dir: Path, num_attributes: int
    ) -> tuple[NDArray[np.float32] | None, dict[str, object]]:
        if self.word_vectors is None:
            return None, {"file": "learned from scratch"}
        path = data_dir / Path(self.word_vectors).expanduser()
        unknown: Words = ()
        if is_word_file(path):
            words = benchmark.attribute_words(data_dir, num_attributes)
            vector_of = read_words(path, {word for name in words for word in name})
            vectors_KE, unknown = sum_of_words(words, vector_of, path)
        else:
            vectors_KE = read_word_vectors(path, num_attributes)
        names = benchmark.attribute_names(data_dir, num_attributes)
        return vectors_KE, {
            "file": path.name,
            "sha256": sha256(vectors_KE.tobytes()).hexdigest(),
            "unknown_words": list(unknown),
            "without_vector": [
                name for name, vector_E in zip(names, vectors_KE, strict=True) if not vector_E.any()
            ],
        }


def unit_class_attributes(
    class_attributes_CK: NDArray[np.float32], *, clamp_negative: bool
) -> NDArray[np.float32]:
    """L2-normalises the class semantic vectors.

    Args:
        class_attributes_CK: Class semantic vectors as in the split file, (C, K).
        clamp_negative: If True, negative entries (AWA2's code for "not rated") are set to zero
            first, as in the release on AWA2.

    Returns:
        Rows of length one; a row of zeros stays zero. (C, K).
    """
    values_CK = np.maximum(class_attributes_CK, 0) if clamp_negative else class_attributes_CK
    norms_C1 = np.linalg.norm(values_CK, axis=1, keepdims=True)
    unit_CK: NDArray[np.float32] = np.divide(
        values_CK, norms_C1, out=np.zeros_like(values_CK), where=norms_C1 > 0
    )
    return unit_CK


def shuffle_class_attributes(
    class_attributes_CK: NDArray[np.float32], seed: int
) -> NDArray[np.float32]:
    """Gives every class the attributes of another class, so that no knowledge can transfer."""
    order = np.random.default_rng(seed).permutation(len(class_attributes_CK))
    shuffled_CK = np.empty_like(class_attributes_CK)
    shuffled_CK[order] = class_attributes_CK[np.roll(order, 1)]
    return shuffled_CK
