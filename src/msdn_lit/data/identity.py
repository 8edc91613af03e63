"""What a model was trained with, so that other data under the same names are noticed.

A run folder keeps the identity of its data. Whoever uses the run again compares it with the data
that are there now. Attributes are matched by name; everything else must be equal.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.dataset import ZSLDataset
from msdn_lit.data.semantics import Semantics
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.errors import DataError, some

log = logging.getLogger(__name__)

_READABLE = {"seen": "seen classes", "unseen": "unseen classes"}


@dataclass(frozen=True)
class ClassesIdentity:
    """The classes of a run and their semantics.

    Attributes:
        classes: C names, by class id.
        attributes: K names.
        class_digests: Digest of each class's values, (C).
        attribute_digests: Digest of each attribute's values, (K).
        seen: Names of the seen classes.
        unseen: Names of the unseen classes.
        word_vectors: Digest of the attributes' word vectors; "" if they are learned from scratch.
    """

    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    class_digests: tuple[str, ...]
    attribute_digests: tuple[str, ...]
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    word_vectors: str

    @classmethod
    def of(
        cls, split: ProposedSplit, semantics: Semantics, attributes: Sequence[str]
    ) -> "ClassesIdentity":
        """Returns the identity of the classes of a split."""
        values_CK = split.class_attributes_CK
        return cls(
            classes=split.class_names,
            attributes=tuple(attributes),
            class_digests=tuple(map(_digest, values_CK)),
            attribute_digests=tuple(map(_digest, values_CK.T)),
            seen=tuple(split.class_names[c] for c in semantics.seen),
            unseen=tuple(split.class_names[c] for c in semantics.unseen),
            word_vectors=str(semantics.word_vectors.get("sha256", "")),
        )

    def differences(self, found: "ClassesIdentity") -> Iterator[str]:
        """Names what differs in classes that are found now."""
        lists = ("classes", "attributes", "seen", "unseen")
        changed = [name for name in lists if getattr(self, name) != getattr(found, name)]
        for name in changed:
            how = _changed_names(getattr(self, name), getattr(found, name))
            yield f"the {_READABLE.get(name, name)} differ ({how})"
        if not {"classes", "attributes"} & {*changed}:
            attributes = _changed(self.attributes, self.attribute_digests, found.attribute_digests)
            classes = _changed(self.classes, self.class_digests, found.class_digests)
            if attributes or classes:
                yield f"the values of {some(attributes)} differ for {some(classes)}"
        if self.word_vectors != found.word_vectors:
            yield "the word vectors of the attributes differ"


@dataclass(frozen=True)
class ImagesIdentity:
    """The images of a run and their features.

    Attributes:
        images: Digest of the image list.
        labels: Digest of the labels.
        splits: Digest of the rows of each split that the run uses.
        backbone: Hash of the backbone's weights; "" for features without a backbone.
        shape: N, R, D of the features.
        skipped: Rows without features, because the image could not be read.
        features: Hash of the features. They may differ where the rest is equal: they were extracted
            again, on another machine or from other pictures.
    """

    images: str
    labels: str
    splits: Mapping[str, str]
    backbone: str
    shape: tuple[int, ...]
    skipped: tuple[int, ...]
    features: str

    @classmethod
    def of(cls, data: ZSLDataset) -> "ImagesIdentity":
        """Returns the identity of the images of a dataset that is set up."""
        manifest = data.store.manifest
        names = sorted({data.train_split, *data.eval_splits})
        return cls(
            images=manifest.images_sha256,
            labels=_digest(data.split.labels_N),
            splits={name: _digest(data.indices[name]) for name in names},
            backbone=manifest.weights_sha256 or "",
            shape=tuple(manifest.shape),
            skipped=tuple(map(int, manifest.skipped)),
            features=manifest.regions_sha256,
        )

    def differences(self, found: "ImagesIdentity") -> Iterator[str]:
        """Names what differs in images that are found now."""
        if self.images != found.images:
            yield "the list of images differs"
        elif self.labels != found.labels:
            yield "the labels of the images differ"
        for name, digest in self.splits.items():
            if found.splits.get(name) != digest:
                yield f"the images of {name} differ"
        if self.backbone != found.backbone:
            yield _other_backbone(self.backbone, found.backbone)
        if (self.shape, self.skipped) != (found.shape, found.skipped):
            yield "the features have another shape, or other images were skipped"


class TrainingData(Protocol):
    """Data of a training, with which the data that are there now are compared."""

    @property
    def attribute_order(self) -> tuple[str, ...]:
        """Names of the attributes in the order of the net; empty if they are not known."""

    @property
    def backbone(self) -> str:
        """Hash of the backbone's weights; "" for features without a backbone."""

    def check_classes(
        self, split: ProposedSplit, semantics: Semantics, attributes: Sequence[str]
    ) -> None:
        """Refuses other classes, attributes, values or word vectors; raises DataError."""

    def check_images(self, data: ZSLDataset) -> None:
        """Refuses other images, splits or features; raises DataError."""


@dataclass(frozen=True)
class DataIdentity:
    """What identifies the data of a run: its classes and its images."""

    classes: ClassesIdentity
    images: ImagesIdentity

    @classmethod
    def of(cls, data: ZSLDataset) -> "DataIdentity":
        """Returns the identity of a dataset that is set up."""
        classes = ClassesIdentity.of(data.split, data.semantics, data.attribute_names)
        return cls(classes, ImagesIdentity.of(data))

    @classmethod
    def from_json(cls, content: Any) -> "DataIdentity":  # noqa: ANN401 - JSON of any form
        """Returns the identity that `to_json` wrote; any READ_ERRORS if it is another form."""
        classes: dict[str, Any] = {k: _as_tuple(v) for k, v in content["classes"].items()}
        images: dict[str, Any] = {k: _as_tuple(v) for k, v in content["images"].items()}
        return cls(ClassesIdentity(**classes), ImagesIdentity(**images))

    def to_json(self) -> dict[str, Any]:
        """Returns plain lists, mappings and texts."""
        return asdict(self)

    @property
    def attribute_order(self) -> tuple[str, ...]:
        """Names of the attributes in the order of the net."""
        return self.classes.attributes

    @property
    def backbone(self) -> str:
        """Hash of the backbone's weights; "" for features without a backbone."""
        return self.images.backbone

    def check_classes(
        self, split: ProposedSplit, semantics: Semantics, attributes: Sequence[str]
    ) -> None:
        """Refuses other classes, attributes, values or word vectors.

        Raises:
            DataError: Something differs.
        """
        found = ClassesIdentity.of(split, semantics, attributes)
        _refuse(split.folder, list(self.classes.differences(found)))

    def check_images(self, data: ZSLDataset) -> None:
        """Refuses other images, splits or features; warns of features that were extracted again.

        Raises:
            DataError: Something differs.
        """
        found = ImagesIdentity.of(data)
        _refuse(data.store_dir, list(self.images.differences(found)))
        if "" not in (found.features, self.images.features) and (
            found.features != self.images.features
        ):
            log.warning(
                "%s was extracted again after the training: scores may differ", data.store_dir
            )


@dataclass(frozen=True)
class SplitFingerprint:
    """What a run of version 0.1 recorded of its data.

    Attributes:
        split: `ProposedSplit.fingerprint` of the training.
        backbone: Hash of the backbone's weights.
    """

    split: str
    backbone: str
    attribute_order: tuple[str, ...] = ()

    def check_classes(
        self, split: ProposedSplit, semantics: Semantics, attributes: Sequence[str]
    ) -> None:
        """Refuses other classes, attributes, values, images or splits.

        Raises:
            DataError: Something differs.
        """
        if split.fingerprint() != self.split:
            _refuse(split.folder, ["classes, attributes, values or images differ"])

    def check_images(self, data: ZSLDataset) -> None:
        """Refuses features of another backbone; the fingerprint covers images and splits.

        Raises:
            DataError: Something differs.
        """
        found = data.store.manifest.weights_sha256
        if found != self.backbone:
            _refuse(data.store_dir, [_other_backbone(self.backbone, found)])


def _refuse(folder: object, differences: Sequence[str]) -> None:
    if differences:
        problem = f"{folder} is not what the run was trained with: {'; '.join(differences)}"
        raise DataError(problem, action="Restore it, or train again.")


def _other_backbone(trained: str, found: str) -> str:
    return f"the features are of another backbone ({found[:8]}, not {trained[:8]})"


def _digest(values: NDArray[Any]) -> str:
    """Hashes an array; equal numbers have equal digests, so that 0.0 and -0.0 are one."""
    return sha256(np.ascontiguousarray(values + 0).tobytes()).hexdigest()[:16]


def _changed(names: Sequence[str], trained: Sequence[str], found: Sequence[str]) -> list[str]:
    """Returns the names whose digests are not equal."""
    return [name for name, a, b in zip(names, trained, found, strict=True) if a != b]


def _changed_names(trained: Sequence[str], found: Sequence[str]) -> str:
    missing = [name for name in trained if name not in set(found)]
    new = [name for name in found if name not in set(trained)]
    parts = [f"{word}: {some(names)}" for word, names in (("missing", missing), ("new", new))]
    return "; ".join(part for part in parts if not part.endswith(": ")) or "another order"


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
