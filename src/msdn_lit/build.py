"""From a config to objects: the only file that calls Hydra's instantiate."""

import warnings
from typing import Any, cast

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.images import ImageTransform
from msdn_lit.data.semantics import Semantics
from msdn_lit.errors import ConfigError, UserError
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models.backbone import RegionBackbone
from msdn_lit.tasks import ZSLTask

_THIS_MACHINE = {"_target_", "weights_file", "pretrained"}
_EXPECTED_WARNINGS = (
    r".*does not have many workers",  # a batch is one gather from a memory map: workers would only cost
    r"Checkpoint directory .* exists and is not empty",  # a resumed run continues in its own folder
    r"It is recommended to use `self.log\(.*sync_dist=True",  # the metric has summed over the ranks already
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on torch >= 2.12
)


def feature_source(cfg: DictConfig) -> dict[str, Any]:
    """What identifies a feature store: name, backbone and transform, without what belongs to this machine."""
    features = cast(dict[str, Any], OmegaConf.to_container(cfg.features, resolve=True))
    backbone, transform = (
        {key: value for key, value in features[part].items() if key not in _THIS_MACHINE}
        for part in ("backbone", "transform")
    )
    backbone["random_weights"] = not (features["backbone"]["weights_file"] or features["backbone"]["pretrained"])
    return {"name": features["name"], "backbone": backbone, "transform": transform}


def backbone(cfg: DictConfig) -> RegionBackbone:
    """The frozen backbone with its weights."""
    built: RegionBackbone = _make(cfg.features.backbone, _convert_="all")
    return built


def transform(cfg: DictConfig) -> ImageTransform:
    """What the backbone wants done to images."""
    built: ImageTransform = _make(cfg.features.transform, _convert_="all")
    return built


def device(name: str) -> torch.device:
    """A device by name; "auto" is the GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def datamodule(cfg: DictConfig) -> ZSLDataModule:
    """The data module, set up: every file it needs has been checked."""
    module: ZSLDataModule = _make(cfg.data, source=feature_source(cfg), _convert_="all")
    module.setup()
    return module


def task(cfg: DictConfig, semantics: Semantics, visual_dim: int) -> ZSLTask:
    """Net, loss, metric and optimizer for the sizes of the data."""
    seen, unseen = torch.from_numpy(semantics.seen), torch.from_numpy(semantics.unseen)
    class_attributes_CK = torch.from_numpy(semantics.class_attributes_CK)
    return ZSLTask(
        _make(cfg.model)(_attribute_vectors(semantics), class_attributes_CK, visual_dim),
        _make(cfg.loss)(seen, unseen),
        ZSLMetric(seen, unseen, num_classes=len(semantics.class_names)),
        _make(cfg.optimizer),
        fusion=_fusion(cfg),
        calibration=cfg.prediction.calibration,
        stage=cfg.protocol.stage,
    )


def trainer(cfg: DictConfig) -> Trainer:
    """The Lightning trainer with its callbacks and loggers."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN and cfg.trainer.strategy == "ddp":
        action = "Use trainer.strategy=ddp_spawn, or single runs."
        raise ConfigError(
            "trainer.strategy=ddp starts its processes with the command line, so not under -m", action=action
        )
    if not cfg.trainer.val_check_interval > 0:
        found = cfg.trainer.val_check_interval
        raise ConfigError("trainer.val_check_interval is wrong", expected="a positive number of steps", found=found)
    callbacks = [_make(callback) for callback in cfg.callbacks.values()]
    loggers = [_make(logger) for logger in cfg.logger.values()]
    return _make_trainer(cfg.trainer, callbacks=callbacks, logger=loggers, default_root_dir=cfg.paths.run_dir)


def evaluator(cfg: DictConfig, accelerator: str) -> Trainer:
    """A trainer that only evaluates, as exactly as the run of this config did."""
    exactness = {name: cfg.trainer[name] for name in ("precision", "deterministic")}
    changes = {"accelerator": accelerator, "devices": 1, "logger": False, "enable_checkpointing": False}
    return _make_trainer(OmegaConf.create({"_target_": cfg.trainer._target_, **exactness, **changes}))


def close_loggers(built: Trainer) -> None:
    """Ends every W&B run, so that the next job of a multirun begins its own."""
    for logger in built.loggers:
        if isinstance(logger, WandbLogger) and built.is_global_zero:
            logger.experiment.finish()


def _make(config: DictConfig, **arguments: Any) -> Any:  # noqa: ANN401 - whatever the config's target makes
    """Instantiates; a value that a constructor refuses is the user's fault."""
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (ValueError, TypeError, ImportError, MisconfigurationException)):
            raise ConfigError(f"{config._target_} refuses its config ({cause})") from error
        raise


def _make_trainer(config: DictConfig, **arguments: Any) -> Trainer:  # noqa: ANN401 - the trainer's own
    for message in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    return cast(Trainer, _make(config, **arguments))


def _attribute_vectors(semantics: Semantics) -> Tensor:
    if semantics.attribute_vectors_KE is not None:
        return torch.from_numpy(semantics.attribute_vectors_KE)
    return torch.randn(semantics.class_attributes_CK.shape[1], semantics.attribute_dim)


def _fusion(cfg: DictConfig) -> list[float]:
    names = list(cfg.model.subnets)
    if len(names) == 1:
        return [1.0]
    missing = [name for name in names if name not in cfg.prediction.fusion]
    if missing:
        raise ConfigError(f"prediction.fusion has no weight for {', '.join(missing)}", action="Add it.")
    return [float(cfg.prediction.fusion[name]) for name in names]
