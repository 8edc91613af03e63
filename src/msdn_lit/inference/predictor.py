"""Prediction of images: classes, attribute scores and attention.

Letters: B images of a batch, C classes, K attributes, R = H x W regions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from msdn_lit.data.features.images import ImageTransform
from msdn_lit.errors import DataError
from msdn_lit.inference.candidates import SEEN, Candidates, describe
from msdn_lit.inference.class_file import read_class_file
from msdn_lit.inference.image_input import ImageInput, as_several, name_of, read_input
from msdn_lit.inference.predictions import Predictions
from msdn_lit.inference.reference import Reference
from msdn_lit.inference.results import ClassScore, Prediction
from msdn_lit.models import SubNetOutput
from msdn_lit.models.backbones.backbone import RegionBackbone
from msdn_lit.models.base import has_attention

Classes = Candidates | str | Path | Sequence[str] | Mapping[str, Any] | None
Arrays = dict[str, NDArray[np.float32]]

BATCH = 16  # images


class _ImageOutputs(NamedTuple):
    """Outputs for one image by name of the sub-net: scores (K,), and attention (K, H, W) if any.

    `features_D` is the mean of the region features.
    """

    scores: Arrays
    attention: Arrays
    features_D: NDArray[np.float32]


class _Crop(NamedTuple):
    """What the backbone sees of an image, bytes (size, size, 3), and which part of it that is."""

    pixels: NDArray[np.uint8]
    box: tuple[float, float, float, float]


@dataclass(frozen=True, repr=False)
class Predictor:
    """A trained model with everything it needs to predict images.

    Attributes:
        backbone: Computes region features of images.
        net: Computes attribute scores and attention from region features.
        transform: Preprocessing of images for the backbone.
        attribute_names: K names.
        classes: Known classes, those of the benchmark.
        fusion: Weight of each sub-net by name, in the order of the net's outputs.
        calibration: Number that is subtracted from the scores of seen classes and added to the
            scores of all others.
        reference: Scores, leads and images of the model's run, as far as they are known.
    """

    backbone: RegionBackbone
    net: nn.Module
    transform: ImageTransform
    attribute_names: tuple[str, ...]
    classes: Candidates
    fusion: Mapping[str, float]
    calibration: float
    reference: Reference = field(default_factory=Reference)

    def __repr__(self) -> str:
        about = self.reference.about
        model = "model" if about is None else f"{about.model} on {about.benchmark}"
        return f"<Predictor: {model}, {self.classes.summary()}>"

    def __str__(self) -> str:
        fusion = ", ".join(f"{name} {weight:g}" for name, weight in self.fusion.items())
        classes = f"{self.classes.summary()}, {len(self.attribute_names)} attributes"
        lines = [f"{classes}; sub-nets and weights: {fusion}"]
        return "\n".join([str(self.reference.about)] * bool(self.reference.about) + lines)

    def to(self, device: torch.device | str) -> Self:
        """Moves backbone and net to a device, and returns the predictor."""
        self.backbone.to(device)
        self.net.to(device)
        return self

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path is a sequence of paths
        self, images: ImageInput, classes: Classes = None, top_k: int = 5
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: Sequence[ImageInput], classes: Classes = None, top_k: int = 5
    ) -> Predictions: ...
    def predict(
        self, images: ImageInput | Sequence[ImageInput], classes: Classes = None, top_k: int = 5
    ) -> Prediction | Predictions:
        """Predicts one image or several.

        Args:
            images: One image, or several: a list of them or an array with one more axis. An image
                is a path, the bytes of an image file, an open file, an image of PIL, or uint8
                values from 0 to 255, (H, W, 3) or (3, H, W). It is rotated by its EXIF
                orientation, and what is transparent becomes white.
            classes: Candidate classes: names of known classes; a class file (.yaml) or
                {class: {attribute: value}} of new classes, or {class: "red belly, blue wings"}; or
                `Candidates`. None takes all known classes.
            top_k: Number of classes to return for each image.

        Raises:
            DataError: An image cannot be read.
            ConfigError: A class or an attribute is unknown, or a value is out of range.
        """
        several, is_one = as_several(images)
        predictions = Predictions()
        for result in self.predict_iter(several, classes, top_k):
            if isinstance(result, DataError):
                raise result
            predictions.append(result)
        return predictions[0] if is_one else predictions

    def predict_iter(
        self, images: Iterable[ImageInput], classes: Classes = None, top_k: int = 5
    ) -> Iterator[Prediction | DataError]:
        """Predicts any number of images, one batch in memory at a time.

        Args:
            images: Images, as in `predict`.
            classes: Candidate classes, as in `predict`.
            top_k: Number of classes to return for each image.

        Yields:
            A prediction for each image, in order, or the error if it cannot be read.

        Raises:
            ConfigError: A class or an attribute is unknown, or a value is out of range.
        """
        candidates, remaining = self.candidates(classes), iter(images)
        while batch := list(islice(remaining, BATCH)):
            crops = [self._crop(image) for image in batch]
            readable = [crop for crop in crops if not isinstance(crop, DataError)]
            pixels = [crop.pixels for crop in readable]
            outputs = iter(self._outputs(pixels) if pixels else [])
            for image, crop in zip(batch, crops, strict=True):
                if isinstance(crop, DataError):
                    yield crop
                else:
                    yield self._prediction(name_of(image), crop, next(outputs), candidates, top_k)

    def candidates(self, classes: Classes) -> Candidates:
        """Returns the candidate classes for an argument `classes` of `predict`.

        Raises:
            ConfigError: A class or an attribute is unknown, or a value is out of range.
        """
        if classes is None:
            return self.classes
        if isinstance(classes, Candidates):
            return classes
        if isinstance(classes, str | Path):
            classes = read_class_file(Path(classes))
        if isinstance(classes, Mapping):
            return describe(classes, self.attribute_names, self.classes)
        return self.classes.named(classes)

    @torch.inference_mode()
    def forward_regions(
        self, pixels_BHW3: Tensor
    ) -> tuple[tuple[SubNetOutput, ...], tuple[int, int]]:
        """Computes the net's outputs for the regions of cropped images.

        Args:
            pixels_BHW3: Bytes of cropped images, (B, size, size, 3).

        Returns:
            Outputs of the net, and the numbers of rows and columns of regions.
        """
        maps_BDHW = self._feature_maps(pixels_BHW3)
        return self._forward(maps_BDHW), (maps_BDHW.shape[2], maps_BDHW.shape[3])

    @property
    def has_attention(self) -> bool:
        """Whether an output of the net has attention, found with one black image."""
        size = self.transform.image_size
        outputs, _ = self.forward_regions(torch.zeros(1, size, size, 3, dtype=torch.uint8))
        return has_attention(outputs)

    def margins(self, candidates: Candidates) -> NDArray[np.float32]:
        """Returns the margin in each candidate's score, (C,)."""
        margin = self.calibration * sum(self.fusion.values())
        margins = [-margin if domain == SEEN else margin for domain in candidates.domains]
        return np.array(margins, dtype=np.float32)

    def _crop(self, image: ImageInput) -> _Crop | DataError:
        """Input of the backbone for an image, turned upright."""
        try:
            upright = read_input(image)
        except DataError as error:
            return error
        return _Crop(np.array(self.transform.crop(upright)), self.transform.crop_box(upright.size))

    def _feature_maps(self, pixels_BHW3: Tensor) -> Tensor:
        device = next(self.net.parameters()).device
        return self.backbone.feature_map(self.transform.standardise(pixels_BHW3.to(device)))

    def _forward(self, maps_BDHW: Tensor) -> tuple[SubNetOutput, ...]:
        outputs: tuple[SubNetOutput, ...] = self.net(maps_BDHW.flatten(2).transpose(1, 2))
        return outputs

    @torch.inference_mode()
    def _outputs(self, crops: Sequence[NDArray[np.uint8]]) -> list[_ImageOutputs]:
        maps_BDHW = self._feature_maps(torch.from_numpy(np.stack(crops)))
        outputs, grid = self._forward(maps_BDHW), maps_BDHW.shape[2:]
        features_BD = _array(maps_BDHW.float().mean(dim=(2, 3)))
        named = dict(zip(self.fusion, outputs, strict=True))
        found = []
        for b in range(len(crops)):
            scores = {name: _array(o.attribute_scores_BK[b]) for name, o in named.items()}
            attention = {
                name: _array(o.attention_BKR[b]).reshape(-1, *grid)
                for name, o in named.items()
                if o.attention_BKR is not None
            }
            found.append(_ImageOutputs(scores, attention, features_BD[b]))
        return found

    def _prediction(
        self,
        name: str,
        crop: _Crop,
        outputs: _ImageOutputs,
        candidates: Candidates,
        top_k: int,
    ) -> Prediction:
        weights = np.array(list(self.fusion.values()), dtype=np.float32)
        scores_K = weights @ np.stack(list(outputs.scores.values()))
        margins_C = self.margins(candidates)
        scores_C = candidates.attributes_CK @ scores_K + margins_C
        best = np.argsort(-scores_C, kind="stable")[:top_k].tolist()
        reference = self._reference(candidates)
        likeness = reference.likeness
        return Prediction(
            image=name,
            classes=tuple(
                ClassScore(
                    candidates.names[c],
                    candidates.domains[c],
                    float(scores_C[c]),
                    float(margins_C[c]),
                    candidates.attributes_CK[c] * scores_K,
                )
                for c in best
            ),
            attribute_names=self.attribute_names,
            attribute_scores_K=scores_K,
            subnet_scores=outputs.scores,
            attention=outputs.attention,
            pixels=crop.pixels,
            crop=crop.box,
            candidates=candidates,
            margins_C=margins_C,
            fusion=self.fusion,
            reference=reference,
            likeness=None if likeness is None else likeness.share(outputs.features_D),
        )

    def _reference(self, candidates: Candidates) -> Reference:
        """Without leads among fewer classes, which are larger than those among all classes."""
        if {*self.classes.names} <= {*candidates.names}:
            return self.reference
        return replace(self.reference, leads=None)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array
