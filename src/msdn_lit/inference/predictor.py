"""From a picture to classes, attributes and the places that were looked at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from msdn_lit.data.features.images import ImageTransform, open_image
from msdn_lit.errors import DataError
from msdn_lit.inference.candidates import SEEN, Candidates, describe
from msdn_lit.inference.class_file import read_class_file
from msdn_lit.inference.results import ClassScore, Prediction
from msdn_lit.models.backbone import RegionBackbone
from msdn_lit.models.msdn import SubNetOutput

Picture = str | Path | Image.Image | NDArray[np.uint8]
Classes = Candidates | str | Path | Sequence[str] | Mapping[str, Any] | None
BATCH = 16  # pictures


@dataclass(frozen=True)
class Predictor:
    """A trained model with all that it needs to look at a picture.

    Attributes:
        backbone: Makes region features of images.
        net: Makes attribute scores and attention of regions; with `class_attributes_CK` of the known classes.
        transform: What the backbone wants done to images.
        attribute_names: K names.
        classes: The known classes, those of the benchmark.
        fusion: Weight of each sub-net by name, in the order of the net's outputs.
        calibration: Margin, added to the scores of classes that were not trained on and subtracted from the others'.
    """

    backbone: RegionBackbone
    net: nn.Module
    transform: ImageTransform
    attribute_names: tuple[str, ...]
    classes: Candidates
    fusion: Mapping[str, float]
    calibration: float

    @overload
    def predict(self, images: Picture, classes: Classes = None, top_k: int = 5) -> Prediction: ...  # type: ignore[overload-overlap]  # a path is a sequence of paths
    @overload
    def predict(
        self, images: Sequence[Picture], classes: Classes = None, top_k: int = 5
    ) -> list[Prediction]: ...
    def predict(
        self, images: Picture | Sequence[Picture], classes: Classes = None, top_k: int = 5
    ) -> Prediction | list[Prediction]:
        """Says what is in a picture, or in each of several.

        Args:
            images: File, PIL image or bytes (H, W, 3); or a list of them.
            classes: What it may be: names of known classes; a class file (.yaml) or {class: {attribute: value}} of new
                ones; `Candidates`. None is every known class.
            top_k: Classes to return for each.

        Raises:
            DataError: A picture cannot be read.
            ConfigError: A class or an attribute is not known, or a value out of range.
        """
        is_one = isinstance(images, str | Path | Image.Image | np.ndarray)
        pictures = [cast(Picture, images)] if is_one else cast(Sequence[Picture], images)
        predictions = []
        for found in self.stream(pictures, classes, top_k):
            if isinstance(found, DataError):
                raise found
            predictions.append(found)
        return predictions[0] if is_one else predictions

    def stream(
        self, images: Iterable[Picture], classes: Classes = None, top_k: int = 5
    ) -> Iterator[Prediction | DataError]:
        """Predicts pictures in order, as many as there are; a failure stands in its picture's place."""
        candidates, remaining = self.candidates(classes), iter(images)
        while batch := list(islice(remaining, BATCH)):
            crops = [self._crop(image) for image in batch]
            readable = [crop for crop in crops if not isinstance(crop, DataError)]
            outputs = iter(self._outputs(readable) if readable else [])
            for image, crop in zip(batch, crops, strict=True):
                if isinstance(crop, DataError):
                    yield crop
                else:
                    name = str(image) if isinstance(image, str | Path) else ""
                    yield self._prediction(name, crop, next(outputs), candidates, top_k)

    def candidates(self, classes: Classes) -> Candidates:
        """The classes that a user means; as `predict` takes them.

        Raises:
            ConfigError: A class or an attribute is not known, or a value out of range.
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
    def attend(self, pixels_BHW3: Tensor) -> tuple[tuple[SubNetOutput, ...], tuple[int, int]]:
        """What the sub-nets make of pictures as bytes, and the number of rows and columns of regions."""
        device = next(self.net.parameters()).device
        maps_BDHW = self.backbone.feature_map(self.transform.standardise(pixels_BHW3.to(device)))
        outputs: tuple[SubNetOutput, ...] = self.net(maps_BDHW.flatten(2).transpose(1, 2))
        return outputs, (maps_BDHW.shape[2], maps_BDHW.shape[3])

    def margins(self, candidates: Candidates) -> NDArray[np.float32]:
        """The calibration's part in each candidate's score, (C,)."""
        margin = self.calibration * sum(self.fusion.values())
        return np.array(
            [-margin if side == SEEN else margin for side in candidates.sides], dtype=np.float32
        )

    def _crop(self, image: Picture) -> NDArray[np.uint8] | DataError:
        """What the backbone sees of a picture that is held upright, bytes (size, size, 3)."""
        try:
            if isinstance(image, str | Path):
                image = open_image(Path(image), upright=True)
            elif isinstance(image, np.ndarray):
                image = _from_bytes(image)
        except DataError as error:
            return error
        return np.array(self.transform.crop(image))

    def _outputs(
        self, crops: Sequence[NDArray[np.uint8]]
    ) -> Iterator[list[tuple[NDArray[np.float32], ...]]]:
        """For each picture, attribute scores (K,) and attention (K, H, W) of each sub-net."""
        outputs, grid = self.attend(torch.from_numpy(np.stack(crops)))
        for b in range(len(crops)):
            yield [
                (o.attribute_scores_BK[b].float().cpu().numpy(), _as_map(o.attention_BKR[b], grid))
                for o in outputs
            ]

    def _prediction(
        self,
        name: str,
        crop: NDArray[np.uint8],
        outputs: Sequence[tuple[NDArray[np.float32], ...]],
        candidates: Candidates,
        top_k: int,
    ) -> Prediction:
        subnet_scores = {
            subnet: scores_K for subnet, (scores_K, _) in zip(self.fusion, outputs, strict=True)
        }
        weights = np.array(list(self.fusion.values()), dtype=np.float32)
        scores_K, margins_C = (
            weights @ np.stack(list(subnet_scores.values())),
            self.margins(candidates),
        )
        scores_C = candidates.attributes_CK @ scores_K + margins_C
        return Prediction(
            image=name,
            classes=tuple(
                ClassScore(
                    candidates.names[c],
                    candidates.sides[c],
                    float(scores_C[c]),
                    float(margins_C[c]),
                    candidates.attributes_CK[c] * scores_K,
                )
                for c in np.argsort(-scores_C, kind="stable")[:top_k].tolist()
            ),
            attribute_names=self.attribute_names,
            attribute_scores_K=scores_K,
            subnet_scores=subnet_scores,
            attention={
                subnet: attention
                for subnet, (_, attention) in zip(self.fusion, outputs, strict=True)
            },
            picture=crop,
            candidates=candidates,
            margins_C=margins_C,
        )


def _as_map(attention_KR: Tensor, grid: tuple[int, int]) -> NDArray[np.float32]:
    attention_KHW: NDArray[np.float32] = attention_KR.float().reshape(-1, *grid).cpu().numpy()
    return attention_KHW


def _from_bytes(image: NDArray[np.uint8]) -> Image.Image:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        expected, found = "bytes (H, W, 3)", f"{image.dtype} {image.shape}"
        raise DataError("An array is no picture", expected=expected, found=found)
    return Image.fromarray(image)
