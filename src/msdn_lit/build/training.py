"""From a config to the objects of training, evaluation and extraction."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from msdn_lit.callbacks import EvaluationHistory, ScoreCacheWriter
from msdn_lit.data.benchmarks.published import Benchmark, find_benchmark
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.features.extraction import PRECISIONS, BackboneRegions, RegionSource
from msdn_lit.data.features.store import Manifest, hash_image_list
from msdn_lit.data.features.images import ImageFiles, ImageTransform
from msdn_lit.data.features.published_hdf5 import PublishedFeatures
from msdn_lit.data.samplers import BatchPlan
from msdn_lit.data.semantics import Semantics
from msdn_lit.data.features.semisynthetic import AttributeRegions
from msdn_lit.data.splits.xlsa17 import IntArray, ProposedSplit
from msdn_lit.errors import ConfigError
from msdn_lit.build.instantiate import finish, make
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models.backbone import RegionBackbone
from msdn_lit.tasks import ZSLTask
from msdn_lit.tasks.zsl import LossOfBatch

_NO_IDENTITY = {"_target_", "_partial_", "weights_file", "pretrained"}
_EXPECTED_WARNINGS = (
    r".*does not have many workers",  # a batch is one gather from a memory map: workers would only cost
    r"Checkpoint directory .* exists and is not empty",  # a resumed run continues in its own folder
    r"It is recommended to use `self.log\(.*sync_dist=True",  # the metric has summed over the ranks already
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on torch >= 2.12
)


def feature_source(cfg: DictConfig) -> dict[str, Any]:
    """What identifies a feature store: name, backbone and transform, without what belongs to this machine.

    Of regions that are drawn and not computed: name and all that they are drawn with.
    """
    features = cast(dict[str, Any], OmegaConf.to_container(cfg.features, resolve=True))
    source = {
        part: {key: value for key, value in features[part].items() if key not in _NO_IDENTITY}
        for part in ("backbone", "transform", "regions")
        if part in features
    }
    if "backbone" in source:
        weights = features["backbone"]["weights_file"] or features["backbone"]["pretrained"]
        source["backbone"]["random_weights"] = not weights
    return {"name": features["name"]} | source


def backbone(cfg: DictConfig) -> RegionBackbone:
    """The frozen backbone with its weights."""
    built: RegionBackbone = make(cfg.features.backbone, _convert_="all")
    return built


def benchmark(cfg: DictConfig) -> Benchmark:
    """The benchmark of the config: a known one, or a folder of the user's own."""
    return find_benchmark(cfg.data.benchmark, cfg.data.folder, cfg.data.test_seen)


def extraction(
    cfg: DictConfig, benchmark: Benchmark, split: ProposedSplit, versions: dict[str, str]
) -> tuple[RegionSource, Manifest, int]:
    """Where region features come from, the manifest of the store that they shall make, and its batch size.

    Raises:
        ConfigError: There is no such device or precision, or no regions can be drawn with such numbers.
        DataError: The images, the weights or the official feature file are not what they must be.
    """
    features, names = cfg.features, benchmark.relative_paths(split)
    source, images_sha256 = feature_source(cfg), hash_image_list(names)
    if "regions" in features:
        drawn: AttributeRegions = finish(features.regions, split.class_attributes_CK, split.labels_N)
        return drawn, drawn.manifest(source, images_sha256, versions), features.batch_size
    if features.hdf5:
        official = PublishedFeatures(Path(features.hdf5), source, images_sha256)
        official.check_split(split)
        return official, official.manifest, max(features.batch_size, official.rows_per_block)
    if features.precision not in PRECISIONS:
        expected = "one of " + ", ".join(PRECISIONS)
        raise ConfigError("features.precision is wrong", expected=expected, found=features.precision)
    data_dir = Path(cfg.paths.data_dir)
    paths, boxes = benchmark.image_paths(split, data_dir), benchmark.image_boxes(split, data_dir)
    images = ImageFiles(paths, transform(cfg), boxes)
    on = device(features.device)
    regions = BackboneRegions(
        images=images,
        backbone=backbone(cfg).to(on),
        device=on,
        precision=features.precision,
        num_workers=features.num_workers,
        skip_undecodable=features.skip_undecodable,
    )
    D, H, W = regions.grid()
    manifest = Manifest(
        source=source,
        images_sha256=images_sha256,
        shape=(len(names), H * W, D),
        grid=(H, W),
        weights_sha256=regions.backbone.weights_sha256(),
        versions=versions,
        computation={"device": on.type, "precision": features.precision, "batch_size": features.batch_size},
    )
    return regions, manifest, features.batch_size


def transform(cfg: DictConfig) -> ImageTransform:
    """What the backbone wants done to images."""
    built: ImageTransform = make(cfg.features.transform, _convert_="all")
    return built


def device(name: str) -> torch.device:
    """A device by name; "auto" is the GPU if there is one.

    Raises:
        ConfigError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:  # an unknown name; a device that this machine lacks
        reason = str(error).splitlines()[0][:100]
        raise ConfigError(f"features.device={name} is no device here ({reason})", action="Use auto or cpu.") from error
    return found


def datamodule(cfg: DictConfig) -> ZSLDataModule:
    """The data module, set up: every file it needs has been checked."""
    module: ZSLDataModule = make(cfg.data, source=feature_source(cfg), _convert_="all")
    module.setup()
    return module


def task(cfg: DictConfig, semantics: Semantics, visual_dim: int) -> ZSLTask:
    """Net, loss, metric and optimizer for the sizes of the data."""
    seen, unseen = torch.from_numpy(semantics.seen), torch.from_numpy(semantics.unseen)
    class_attributes_CK = torch.from_numpy(semantics.class_attributes_CK)
    return ZSLTask(
        finish(cfg.model, attribute_vectors(semantics), class_attributes_CK, visual_dim),
        finish(cfg.loss, seen, unseen),
        ZSLMetric(seen, unseen),
        make(cfg.optimizer),
        fusion=fusion(cfg),
        calibration=cfg.prediction.calibration,
        stage=cfg.protocol.stage,
        scheduler=make(cfg.scheduler) if cfg.get("scheduler") else None,
        compile=compiler(cfg),
    )


def compiler(cfg: DictConfig) -> Callable[[LossOfBatch], LossOfBatch] | None:
    """What makes the computation of the loss faster, if the config has something."""
    made: Callable[[LossOfBatch], LossOfBatch] | None = make(cfg.compile) if cfg.get("compile") else None
    return made


def draw(cfg: DictConfig) -> Callable[[IntArray], BatchPlan]:
    """Makes training batches from the training images' labels."""
    made: Callable[[IntArray], BatchPlan] = make(cfg.sampler)
    return made


def callback(cfg: DictConfig, name: str) -> Callback:
    """One callback of the config."""
    made: Callback = make(cfg.callbacks[name])
    return made


def loggers(cfg: DictConfig) -> list[Logger]:
    """Everything that writes down a run's numbers."""
    return [make(logger) for logger in cfg.logger.values()]


def trainer(cfg: DictConfig, callbacks: Sequence[Callback] | None = None) -> Trainer:
    """The Lightning trainer.

    Args:
        cfg: Config of msdn-train.
        callbacks: Instead of the config's; there are no loggers then.
    """
    if cfg.trainer.strategy == "ddp" and _is_in_a_worker():
        problem = "trainer.strategy=ddp starts its processes with the command line, which workers do not have"
        raise ConfigError(problem, action="Use launcher=serial, or give each trial one device.")
    if not cfg.trainer.val_check_interval > 0:
        found = cfg.trainer.val_check_interval
        raise ConfigError("trainer.val_check_interval is wrong", expected="a positive number of steps", found=found)
    has_peaks = cfg.protocol.report_peaks
    names = [str(name) for name in cfg.callbacks if has_peaks or not str(name).startswith("peak_")]
    arguments = {
        "callbacks": [callback(cfg, name) for name in names] if callbacks is None else list(callbacks),
        "logger": loggers(cfg) if callbacks is None else False,
        "default_root_dir": cfg.paths.run_dir,
        "val_check_interval": cfg.trainer.val_check_interval if has_peaks else cfg.trainer.max_steps,
    }
    return _make_trainer(cfg.trainer, **arguments)


def evaluator(cfg: DictConfig, accelerator: str) -> Trainer:
    """A trainer that only evaluates, as exactly as the run of this config did, and keeps the scores' cache."""
    exactness = {name: cfg.trainer[name] for name in ("precision", "deterministic")}
    changes = {"accelerator": accelerator, "devices": 1, "logger": False, "enable_checkpointing": False}
    callbacks = [EvaluationHistory(report_peaks=False), ScoreCacheWriter(f"{cfg.paths.run_dir}/scores")]
    config = OmegaConf.create({"_target_": cfg.trainer._target_, **exactness, **changes})
    return _make_trainer(config, callbacks=callbacks)


def _is_in_a_worker() -> bool:
    """Whether this job of a sweep runs in a process that another program than the command began."""
    is_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    return is_sweep and str(HydraConfig.get().launcher._target_).endswith(("JoblibLauncher", "RayLauncher"))


def _make_trainer(config: DictConfig, **arguments: Any) -> Trainer:  # noqa: ANN401 - the trainer's own
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    return cast(Trainer, make(config, **arguments))


def attribute_vectors(semantics: Semantics) -> Tensor:
    """The word vectors of the attributes, (K, E); random ones where they are learned from scratch."""
    if semantics.attribute_vectors_KE is not None:
        return torch.from_numpy(semantics.attribute_vectors_KE)
    return torch.randn(semantics.class_attributes_CK.shape[1], semantics.word_dim)


def fusion(cfg: DictConfig) -> list[float]:
    """Weight of each sub-net in the prediction, in the order of the net's.

    Raises:
        ConfigError: One has no weight.
    """
    names = list(cfg.model.get("subnets", ["the whole net"]))
    if len(names) == 1:
        return [1.0]
    missing = [name for name in names if name not in cfg.prediction.fusion]
    if missing:
        raise ConfigError(f"prediction.fusion has no weight for {', '.join(missing)}", action="Add it.")
    return [float(cfg.prediction.fusion[name]) for name in names]
