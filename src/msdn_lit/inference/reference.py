"""What a prediction is compared with: the scores, the leads and the images of the model's run.

Letters: M training images, D visual channels, K attributes, N images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.data import ZSLDataset
from msdn_lit.data.features.published_hdf5 import PUBLISHED_SUFFIXES
from msdn_lit.data.features.store import FeatureStore, hash_image_list
from msdn_lit.data.splits.holdout import split_indices
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.errors import CheckpointError, DataError
from msdn_lit.inference.candidates import SEEN, UNSEEN
from msdn_lit.metrics.arrays import predict
from msdn_lit.runs.layout import SCORES, score_cache_path
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.runs.summary import is_number, read_result

Array = NDArray[np.float32]

_SAMPLE = 300  # training images, and as many test images: a step of the likeness is 0.3 percent
_SAMPLE_BYTES = 64_000_000  # of each of them, so that large features are not read for seconds
_PERCENTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class About:
    """What the model is.

    Attributes:
        model: Name of the model config, e.g. "msdn".
        benchmark: Name of the benchmark.
        features: Name of the features.
        protocol: Name of the protocol.
        stage: "test" or "val", after the images of the scores.
        step: Training steps of the checkpoint; None if the run has not evaluated it.
        scores: T1, U, S and H in percent; empty if the run has not evaluated the checkpoint.
        images: Number of images of the scores; None if it is not known.
        seen: Number of seen classes.
        unseen: Number of unseen classes.
    """

    model: str
    benchmark: str
    features: str
    protocol: str
    stage: str
    step: int | None
    scores: Mapping[str, float]
    images: int | None
    seen: int
    unseen: int

    def __str__(self) -> str:
        shown = "  ".join(f"{name} {score:.1f}" for name, score in self.scores.items())
        images = "" if self.images is None else f" on {self.images:,} {self.stage} images"
        scores = f"{shown}{images}, protocol {self.protocol}, step {self.step}"
        return f"{self.model} on {self.benchmark}, {self.features}" + (
            f"\n{scores}" if shown else ""
        )


@dataclass(frozen=True)
class Likeness:
    """How much images are like the training images.

    The likeness of an image is the cosine of its mean region feature with that of the nearest
    training image, stated as the share of the run's test images that are less like them.

    Attributes:
        training_MD: Mean region features of a sample of training images, unit rows, (M, D).
        similarities_N: Cosines of a sample of test images with the nearest of them, ascending.
    """

    training_MD: Array
    similarities_N: Array

    @classmethod
    def of(cls, training_MD: Array, test_ND: Array) -> "Likeness":
        """Returns the likeness for mean region features of training and test images."""
        rows_MD = _unit(training_MD)
        return cls(rows_MD, np.sort((_unit(test_ND) @ rows_MD.T).max(axis=1)))

    def share(self, features_D: Array) -> float:
        """Returns the share of test images that are less like the training images, 0 to 1."""
        similarity = float((self.training_MD @ _unit(features_D)).max())
        return float(np.searchsorted(self.similarities_N, similarity) / len(self.similarities_N))


@dataclass(frozen=True)
class Reference:
    """What a prediction is compared with. Each part is None if the run does not have it.

    Attributes:
        about: Description of the model.
        leads: 0 to 100 percent quantiles of the lead, which is the best minus the second score
            among all classes, of the rightly predicted test images, (101,).
        likeness: Likeness of images to the training images.
    """

    about: About | None = None
    leads: Array | None = None
    likeness: Likeness | None = None

    def certainty(self, lead: float) -> float | None:
        """Returns the share of the rightly predicted test images that have a smaller lead."""
        if self.leads is None:
            return None
        return float(np.interp(lead, self.leads, _PERCENTILES))

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the training images as plain values."""
        likeness = self.likeness
        return {
            "about": asdict(self.about) if self.about else None,
            "leads": None if self.leads is None else self.leads.tolist(),
            "likeness": None if likeness is None else likeness.similarities_N.tolist(),
        }


def read_json(content: Mapping[str, Any], training_MD: Tensor | None) -> Reference:
    """Reads a reference that `to_json` wrote.

    Args:
        content: Plain values.
        training_MD: Training images of the likeness, (M, D); None for none.

    Raises:
        ValueError, TypeError: A value is not valid.
    """
    about, similarities = content.get("about"), content.get("likeness")
    leads = (
        None if content.get("leads") is None else _ascending(content["leads"], len(_PERCENTILES))
    )
    likeness = None
    if similarities is not None and training_MD is not None:
        if training_MD.ndim != 2 or not len(training_MD):
            raise ValueError("the training images of the likeness have another shape")
        likeness = Likeness(training_MD.float().numpy(), _ascending(similarities))
    return Reference(None if about is None else _checked(About(**about)), leads, likeness)


def _checked(about: About) -> About:
    texts = (about.model, about.benchmark, about.features, about.protocol, about.stage)
    numbers = [about.seen, about.unseen, *about.scores.values()]
    numbers += [number for number in (about.step, about.images) if number is not None]
    if not all(isinstance(text, str) for text in (*texts, *about.scores)):
        raise ValueError("a name is no text")
    if not all(map(is_number, numbers)):
        raise ValueError("a score is no number")
    return about


def _ascending(values: Sequence[float], number: int | None = None) -> Array:
    array = np.array(values, dtype=np.float32)
    if array.ndim != 1 or not len(array) or number not in (None, len(array)):
        raise ValueError(f"{array.shape} values")
    if not np.isfinite(array).all() or (np.diff(array) < 0).any():
        raise ValueError("values are not ascending")
    return array


def read_likeness(data: ZSLDataset, split: ProposedSplit, backbone: str) -> Likeness | None:
    """Reads the likeness from the feature store of a run.

    Args:
        data: Dataset of the run, which may not be set up.
        split: Split of the dataset.
        backbone: Hash of the backbone's weights.

    Returns:
        The likeness; None if there is no store with the features of these images and this backbone.
    """
    if data.store_dir.suffix in PUBLISHED_SUFFIXES or not FeatureStore.exists(data.store_dir):
        return None
    try:
        store = FeatureStore(data.store_dir)
        images = hash_image_list(data.benchmark.relative_paths(split))
        store.check(source=data.source or store.manifest.source, images_sha256=images)
        if store.manifest.weights_sha256 != backbone:
            return None
        splits = (data.train_split, *data.eval_splits)
        rows = split_indices(split, data.val_seen, splits)
        test_N = np.concatenate([rows[name] for name in data.eval_splits])
        training_MD = _mean_features(store, rows[data.train_split])
        return Likeness.of(training_MD, _mean_features(store, test_N))
    except DataError:  # of other images or damaged: the model is of use without it
        return None


def read_reference(
    folder: Path,
    evaluation: str,
    *,
    domains: Sequence[str],
    fusion: Mapping[str, float],
    calibration: float,
) -> Reference:
    """Reads what a run folder holds of its own evaluation: everything but the likeness.

    Args:
        folder: Run folder.
        evaluation: Name of the checkpoint.
        domains: Domain of each class, "seen" or "unseen".
        fusion: Weight of each sub-net in the prediction.
        calibration: Calibration of the prediction.
    """
    try:
        result = read_result(folder)
    except CheckpointError:
        return Reference()
    scores = result["scores"].get(evaluation, {})
    cache = _read_cache(folder, evaluation, scores.get("step"), result["stage"])
    about = About(
        model=str(result["choices"].get("model") or ""),
        benchmark=result["benchmark"],
        features=result["features"],
        protocol=result["protocol"],
        stage=result["stage"],
        step=scores.get("step"),
        scores={name: 100 * scores[long] for long, name in SCORES.items() if long in scores},
        images=None if cache is None else len(cache.labels_N),
        seen=domains.count(SEEN),
        unseen=domains.count(UNSEEN),
    )
    if cache is None or {*cache.subnets} != {*fusion}:
        return Reference(about)
    weights = [fusion[name] for name in cache.subnets]
    return Reference(about, leads_of(cache, weights, calibration))


def leads_of(cache: ScoreCache, fusion: Sequence[float], calibration: float) -> Array | None:
    """Returns the quantiles of `Reference.leads`; None if no image is rightly predicted.

    Args:
        cache: Logits of the run's test images.
        fusion: Weight of each sub-net in the prediction.
        calibration: Calibration of the prediction.
    """
    classes = np.concatenate([cache.seen, cache.unseen])
    logits_NC = cache.fused(fusion, calibration)
    best_N2 = np.sort(logits_NC[:, classes], axis=1)[:, -2:]
    is_right_N = predict(logits_NC, classes) == cache.labels_N
    leads = (best_N2[:, 1] - best_N2[:, 0])[is_right_N]
    return np.quantile(leads, _PERCENTILES).astype(np.float32) if len(leads) else None


def _read_cache(folder: Path, evaluation: str, step: object, stage: str) -> ScoreCache | None:
    try:
        cache = ScoreCache.load(score_cache_path(folder, evaluation))
    except CheckpointError:
        return None
    return cache if (cache.step, cache.stage) == (step, stage) else None


def _mean_features(store: FeatureStore, rows: NDArray[np.int64]) -> Array:
    """Mean region features of images that are evenly spread over some rows, (M, D)."""
    _, R, D = store.manifest.shape
    rows = rows[~np.isin(rows, store.manifest.skipped)]
    number = max(1, min(_SAMPLE, len(rows), _SAMPLE_BYTES // (2 * R * D)))
    chosen = rows[np.linspace(0, len(rows) - 1, number).astype(np.int64)]
    return np.stack([store[row].float().mean(dim=0).numpy() for row in chosen.tolist()])


def _unit(features: Array) -> Array:
    """Rows of length one; zeros stay zeros."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    unit: Array = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
