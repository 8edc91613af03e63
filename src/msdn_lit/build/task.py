"""From a config to the data and to the task with its net, loss, metric and optimizer.

Lightning and torchmetrics take seconds to import. What trains or evaluates imports them; what opens
a model to predict does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from torch import nn

from msdn_lit.build.features import (
    check_weights,
    end_to_end,
    feature_source,
    pixels,
    trained_part,
)
from msdn_lit.build.instantiate import call, instantiate, instantiate_partial
from msdn_lit.data.dataset import ZSLDataset
from msdn_lit.data.identity import TrainingData
from msdn_lit.data.semantics import Semantics
from msdn_lit.errors import ConfigError
from msdn_lit.models.base import output_names

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from msdn_lit.data import ZSLDataModule
    from msdn_lit.tasks import ZSLTask
    from msdn_lit.tasks.zsl import LossOfBatch

_DATASET = "msdn_lit.data.ZSLDataset"
# The data modules that only add loaders to the dataset.
_DATA_MODULES = ("msdn_lit.data.ZSLDataModule", "msdn_lit.data.datamodule.ZSLDataModule")


def datamodule(cfg: DictConfig, trained_with: TrainingData | None = None) -> ZSLDataModule:
    """Returns the data module, set up: every file that it needs has been checked.

    Args:
        cfg: Config of the run.
        trained_with: Data of the training, if a model is used again.

    Raises:
        DataError: A file is missing or damaged, or the data are not those of the training.
    """
    module = unread_datamodule(cfg, trained_with)
    if trained_with is not None:  # before the store is compared with the images
        split = module.read_split()
        semantics = module.read_semantics(split)
        K = semantics.class_attributes_CK.shape[1]
        names = module.benchmark.attribute_names(module.data_dir, K)
        trained_with.check_classes(split, semantics, names)
    module.setup()
    check_weights(cfg, module.store.manifest, module.store_dir)
    if trained_with is not None:
        trained_with.check_images(module)
    return module


def unread_datamodule(cfg: DictConfig, trained_with: TrainingData | None = None) -> ZSLDataModule:
    """Returns the data module before `setup`: no file has been read.

    The attributes of an own dataset are matched by name with those of the training.
    """
    module: ZSLDataModule = _unread(cfg, cfg.data._target_, trained_with)
    return module


def unread_dataset(cfg: DictConfig, trained_with: TrainingData | None = None) -> ZSLDataset:
    """Returns the same as `unread_datamodule`, but without loaders, which need Lightning.

    A data module of the user's own is made as it is.
    """
    target = cfg.data._target_
    made: ZSLDataset = _unread(cfg, _DATASET if target in _DATA_MODULES else target, trained_with)
    return made


def _unread(cfg: DictConfig, target: str, trained_with: TrainingData | None) -> Any:  # noqa: ANN401
    """Makes the target with the settings of the data."""
    source = feature_source(cfg)
    made = instantiate(cfg.data, _target_=target, source=source, _convert_="all")
    made.sampler = partial(call, cfg.data.sampler._target_, made.sampler)
    if trained_with is not None:
        made.benchmark = made.benchmark.in_attribute_order(trained_with.attribute_order)
    if trained_part(cfg) != "none":
        made.open_pixels = partial(pixels, cfg, made.benchmark)
    return made


def net(cfg: DictConfig, semantics: Semantics, visual_dim: int, grid: tuple[int, int]) -> nn.Module:
    """Returns the net with its initial weights, for the sizes of the data.

    Args:
        cfg: Config of the run.
        semantics: Class and attribute vectors.
        visual_dim: Number of visual channels D.
        grid: Rows and columns of regions, for nets with such an argument.
    """
    vectors_KE = semantics.initial_attribute_vectors()
    made: nn.Module = instantiate_partial(
        cfg.model, vectors_KE, semantics.class_attributes_tensor, visual_dim, grid=grid
    )
    return made


def task(cfg: DictConfig, semantics: Semantics, visual_dim: int, grid: tuple[int, int]) -> ZSLTask:
    """Returns net, loss, metric and optimizer; arguments as of `net`.

    A loss with an argument `class_attributes` gets the class vectors. If a part of the backbone is
    trained, the net includes it.

    Raises:
        ConfigError: A setting is not valid, or the net has no gradient for the backbone.
    """
    from msdn_lit.metrics import ZSLMetric
    from msdn_lit.tasks import ZSLTask
    from msdn_lit.tasks.zsl import ClosedForm

    made = net(cfg, semantics, visual_dim, grid)
    if trained_part(cfg) != "none":
        if isinstance(made, ClosedForm):
            problem = f"features.train={trained_part(cfg)}: this net is solved, and not trained"
            raise ConfigError(problem, action="Use features.train=none.")
        made = end_to_end(cfg, made)
    seen, unseen = semantics.seen_tensor, semantics.unseen_tensor
    class_attributes = semantics.class_attributes_tensor
    return ZSLTask(
        made,
        instantiate_partial(cfg.loss, seen, unseen, class_attributes=class_attributes),
        ZSLMetric(seen, unseen),
        optimizer(cfg),
        fusion=fusion(cfg, output_names(made)),
        calibration=cfg.prediction.calibration,
        stage=cfg.protocol.stage,
        scheduler=instantiate(cfg.scheduler) if cfg.get("scheduler") else None,
        compile=compiler(cfg),
        backbone_lr=cfg.optimizer.get("backbone_lr"),
    )


def optimizer(cfg: DictConfig) -> Callable[..., Optimizer]:
    """Returns what makes the optimizer; `optimizer.backbone_lr` is a setting of our own."""
    made: Callable[..., Optimizer] = instantiate(cfg.optimizer, left_out=["backbone_lr"])
    return made


def compiler(cfg: DictConfig) -> Callable[[LossOfBatch], LossOfBatch] | None:
    """Returns what compiles the computation of the loss; None if the config has no compiler."""
    made: Callable[[LossOfBatch], LossOfBatch] | None = None
    if cfg.get("compile"):
        made = instantiate(cfg.compile)
    return made


def fusion(cfg: DictConfig, names: tuple[str, ...]) -> list[float]:
    """Returns the weight of each output of the net in the prediction; the only output has weight 1.

    Raises:
        ConfigError: An output has no weight.
    """
    if len(names) == 1:
        return [1.0]
    weights: Any = cfg.prediction.fusion
    missing = [name for name in names if name not in weights]
    if missing:
        problem = f"prediction.fusion has no weight for {', '.join(missing)}"
        equal = round(1 / len(names), 4)
        words = " ".join(f"+prediction.fusion.{name}={equal}" for name in missing)
        raise ConfigError(problem, action=f"Add {words}, or other weights.")
    return [float(weights[name]) for name in names]
