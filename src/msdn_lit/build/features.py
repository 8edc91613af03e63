"""From a config to the parts of feature extraction."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from msdn_lit.build.instantiate import instantiate, instantiate_partial
from msdn_lit.build.precision import features_precision
from msdn_lit.data import AttributeRegions, ImageTransform
from msdn_lit.data.benchmarks.published import Benchmark, find_benchmark
from msdn_lit.data.features.extraction import BackboneRegions, RegionSource
from msdn_lit.data.features.images import ImageFiles
from msdn_lit.data.features.pixels import MOST_DECODERS, ImagePixels, num_cores
from msdn_lit.data.features.published_hdf5 import PublishedFeatures
from msdn_lit.data.features.store import (
    AS_IN_PREDICTION,
    DECODING,
    Manifest,
    hash_image_list,
)
from msdn_lit.data.fine_tuning import FINE_TUNED
from msdn_lit.data.splits.xlsa17 import ProposedSplit
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.models import EndToEnd, RegionBackbone
from msdn_lit.models.backbones.end_to_end import TRAINED
from msdn_lit.models.backbones.weights import read_fine_tuning

# Settings of the backbone that name its weights, as they are for random ones.
_NO_WEIGHTS: dict[str, Any] = {"weights_file": None, "weights_package": None, "pretrained": False}
_NO_IDENTITY = {"_target_", "_partial_", *_NO_WEIGHTS}


def feature_source(cfg: DictConfig) -> dict[str, Any]:
    """Returns what identifies a feature store, without settings of the machine.

    Regions that are drawn and not computed are identified by their name and the settings of the
    drawing.
    """
    features = cast(dict[str, Any], OmegaConf.to_container(cfg.features, resolve=True))
    source: dict[str, Any] = {
        part: {key: value for key, value in features[part].items() if key not in _NO_IDENTITY}
        for part in ("backbone", "transform", "regions")
        if part in features
    }
    if "backbone" in source:
        has_weights = any(features["backbone"].get(name) for name in _NO_WEIGHTS)
        source["backbone"]["random_weights"] = not has_weights
        if _is_own(cfg):
            source[DECODING] = AS_IN_PREDICTION
    return {"name": features["name"]} | source


def _is_own(cfg: DictConfig) -> bool:
    """Returns True for a dataset of the user's own, whose images are rotated by EXIF."""
    return cfg.data.get("folder") is not None


def backbone(cfg: DictConfig) -> RegionBackbone:
    """Returns the frozen backbone with its weights."""
    built: RegionBackbone = instantiate(cfg.features.backbone, _convert_="all")
    return built


def untrained_backbone(cfg: DictConfig) -> RegionBackbone:
    """Returns the backbone with random weights, to load others into it."""
    built: RegionBackbone = instantiate(cfg.features.backbone, **_NO_WEIGHTS, _convert_="all")
    return built


def transform(cfg: DictConfig) -> ImageTransform:
    """Returns the transform of images that the backbone needs."""
    built: ImageTransform = instantiate(cfg.features.transform, _convert_="all")
    return built


def benchmark(cfg: DictConfig) -> Benchmark:
    """Returns the benchmark of the config: a published one, or a folder of the user's own."""
    return find_benchmark(cfg.data.benchmark, cfg.data.folder, cfg.data.test_seen)


def trained_part(cfg: DictConfig) -> str:
    """Returns the part of the backbone that is trained: "none" for a feature store."""
    return str(cfg.features.get("train") or "none")


def pixels(cfg: DictConfig, benchmark: Benchmark, split: ProposedSplit) -> ImagePixels:
    """Returns the images of a split, for training through the backbone.

    Raises:
        ConfigError: `features.train` or a setting of the augmentation is wrong, or the features
            have no backbone.
        DataError: The images or the weights are missing or do not fit.
    """
    features, part = cfg.features, trained_part(cfg)
    if part not in TRAINED:
        expected = f"one of {', '.join(TRAINED)}"
        raise ConfigError("features.train is wrong", expected=expected, found=part)
    if "backbone" not in features:
        problem = f"features.train={part}: {features.name} features have no backbone"
        raise ConfigError(problem, action="Use features.train=none.")
    regions = _backbone_regions(cfg, benchmark, split, torch.device("cpu"))
    manifest = _manifest(cfg, regions, hash_image_list(benchmark.relative_paths(split)))
    drawn = instantiate(features.augmentation, _convert_="all") if features.augmentation else None
    workers = None if features.num_workers == "auto" else regions.num_workers
    manifest = replace(manifest, computation=_provenance(cfg))
    return ImagePixels(regions.images, manifest, drawn, cfg.seed, workers)


def end_to_end(cfg: DictConfig, net: nn.Module) -> EndToEnd:
    """Returns a net on images: the backbone, of which a part is trained, and a net on regions."""
    images = transform(cfg)
    return EndToEnd(
        backbone(cfg),
        net,
        mean=images.mean,
        std=images.std,
        train=trained_part(cfg),
        checkpointing=bool(cfg.features.checkpointing),
    )


def device(name: str, setting: str = "features.device") -> torch.device:
    """Returns a device by name; "auto" is the GPU if there is one.

    Args:
        name: Name, e.g. "cuda", "cuda:1", "mps", "cpu" or "auto".
        setting: Name of the setting, for the message.

    Raises:
        ConfigError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found).cpu()  # "meta" has no values
    except (RuntimeError, AssertionError) as error:  # an unknown name; a device that is missing
        reason = str(error).splitlines()[0][:100].rstrip(". ")
        problem = f"{setting}={name} is no device of this machine ({reason})"
        raise ConfigError(problem, action="Use auto or cpu.") from error
    return found


def num_workers(setting: int | str) -> int:
    """Returns the number of processes that decode images; "auto" is one per core, up to 16.

    Raises:
        ConfigError: The setting is neither "auto" nor a whole number from 0.
    """
    number = number_or_auto(setting, "features.num_workers")
    return min(num_cores(), MOST_DECODERS) if number is None else number


def number_or_auto(setting: int | str, name: str, least: int = 0) -> int | None:
    """Returns the number that a setting states; None for "auto".

    Raises:
        ConfigError: The setting is neither "auto" nor a whole number from `least`.
    """
    if setting == "auto":
        return None
    if isinstance(setting, bool) or not isinstance(setting, int) or setting < least:
        raise ConfigError(
            f"{name} is not valid",
            expected=f"auto, or a whole number from {least}",
            found=str(setting),
            action=f"Type {name}=auto.",
        )
    return setting


def extraction(
    cfg: DictConfig, benchmark: Benchmark, split: ProposedSplit, versions: dict[str, str]
) -> tuple[RegionSource, Manifest, int]:
    """Returns the source of the region features, the manifest of their store, and the batch size.

    Raises:
        ConfigError: There is no such device or precision, or a setting of drawn regions is out of
            range.
        DataError: The images, the weights or the published feature file are missing or do not fit.
    """
    features = cfg.features
    source = feature_source(cfg)
    images_sha256 = hash_image_list(benchmark.relative_paths(split))
    if "regions" in features:
        attributes_CK = split.class_attributes_CK
        drawn: AttributeRegions = instantiate_partial(
            features.regions, attributes_CK, split.labels_N
        )
        return drawn, drawn.manifest(source, images_sha256, versions), features.batch_size
    if features.hdf5:
        published = PublishedFeatures(Path(features.hdf5), source, images_sha256)
        published.check_split(split)
        batch_size = max(features.batch_size, published.rows_per_block)
        return published, published.manifest, batch_size
    regions = _backbone_regions(cfg, benchmark, split, device(features.device))
    computation = {
        "device": regions.device.type,
        "precision": regions.precision,
        "batch_size": features.batch_size,
    }
    manifest = replace(
        _manifest(cfg, regions, images_sha256),
        versions=versions,
        computation=computation | _provenance(cfg),
    )
    return regions, manifest, features.batch_size


def _manifest(cfg: DictConfig, regions: BackboneRegions, images_sha256: str) -> Manifest:
    """Returns what is known of the regions of images before they are computed."""
    D, H, W = regions.grid()
    return Manifest(
        source=feature_source(cfg),
        images_sha256=images_sha256,
        shape=(len(regions.images), H * W, D),
        grid=(H, W),
        weights_sha256=regions.backbone.weights_sha256(),
    )


def check_weights(cfg: DictConfig, manifest: Manifest, folder: Path) -> None:
    """Refuses a store that was extracted with other fine-tuned weights than the config names.

    Raises:
        DataError: It was.
    """
    if "backbone" not in cfg.features or not cfg.features.backbone.weights_file:
        return
    path = Path(cfg.features.backbone.weights_file)
    found = manifest.computation.get(FINE_TUNED, [])
    if path.is_file() and read_fine_tuning(path) != found:
        raise DataError(
            f"{folder} was extracted with other weights than {path}",
            found="fine-tuned weights" if found else "weights that are not fine-tuned",
            action="Choose another name of the features, features.name=NAME, and extract them.",
        )


def _provenance(cfg: DictConfig) -> dict[str, Any]:
    """Returns on which images the weights were fine-tuned, for a manifest; nothing if on none."""
    path = cfg.features.backbone.weights_file
    found = read_fine_tuning(Path(path)) if path else ()
    return {FINE_TUNED: found} if found else {}


def _backbone_regions(
    cfg: DictConfig, benchmark: Benchmark, split: ProposedSplit, on: torch.device
) -> BackboneRegions:
    features = cfg.features
    workers = num_workers(features.num_workers)
    precision = features_precision(cfg, on.type)
    data_dir = Path(cfg.paths.data_dir)
    paths = benchmark.image_paths(split, data_dir)
    boxes = benchmark.image_boxes(split, data_dir)
    images = ImageFiles(paths, transform(cfg), boxes, upright=_is_own(cfg))
    return BackboneRegions(
        images=images,
        backbone=backbone(cfg).to(on),
        device=on,
        precision=precision,
        num_workers=workers,
        skip_undecodable=features.skip_undecodable,
    )
