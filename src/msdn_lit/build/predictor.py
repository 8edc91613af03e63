"""From the config of a run, or a bundle, to a predictor of images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from msdn_lit.build.allowed import foreign_part
from msdn_lit.build.features import backbone, trained_part, transform, untrained_backbone
from msdn_lit.build.instantiate import instantiate, instantiate_partial
from msdn_lit.build.task import fusion, unread_dataset
from msdn_lit.data import ImageTransform
from msdn_lit.data.identity import TrainingData
from msdn_lit.errors import READ_ERRORS, CheckpointError, DataError, UserError, one_line
from msdn_lit.inference import Candidates, Predictor
from msdn_lit.inference.bundle import Bundle, load_weights, read_transform
from msdn_lit.inference.reference import Reference, read_likeness
from msdn_lit.models import RegionBackbone
from msdn_lit.models.base import output_names


def predictor(cfg: DictConfig, trained_with: TrainingData | None = None) -> Predictor:
    """Returns a predictor with an untrained net. No feature store is needed.

    With the store, the predictor can tell how much an image is like the training images. If a part
    of the backbone was trained, its weights are those of the checkpoint and not read here.

    Args:
        cfg: Config of the run.
        trained_with: Data of the training; None does not compare.

    Raises:
        DataError: Split files, word vectors or the backbone's weights are missing, the features
            have no backbone, or the classes are not those of the training.
    """
    if "backbone" not in cfg.features:
        problem = f"{cfg.features.name} features are not extracted from images: nothing to predict"
        raise DataError(problem, action="Train on the features of a backbone.")
    data = unread_dataset(cfg, trained_with)
    split = data.read_split()
    semantics = data.read_semantics(split)
    is_trained = trained_part(cfg) != "none"
    made, images = (untrained_backbone if is_trained else backbone)(cfg), transform(cfg)
    vectors_KE, classes_CK = (
        semantics.initial_attribute_vectors(),
        semantics.class_attributes_tensor,
    )
    net = _build_net(cfg.model, vectors_KE, classes_CK, _feature_shape(made, images))
    attribute_names = data.benchmark.attribute_names(data.data_dir, classes_CK.shape[1])
    if trained_with is not None:
        trained_with.check_classes(split, semantics, attribute_names)
    names = output_names(net)
    expected = made.weights_sha256() if trained_with is None else trained_with.backbone
    likeness = None if is_trained else read_likeness(data, split, expected)
    return Predictor(
        backbone=made,
        net=net,
        transform=images,
        attribute_names=attribute_names,
        classes=Candidates.of(semantics),
        fusion=dict(zip(names, fusion(cfg, names), strict=True)),
        calibration=float(cfg.prediction.calibration),
        reference=Reference(likeness=likeness),
    )


def predictor_from_bundle(bundle: Bundle, folder: Path) -> Predictor:
    """Returns the predictor of a bundle.

    Raises:
        CheckpointError: The bundle names code that is not one of our models, or its parts do not
            fit together.
    """
    content, classes = bundle.content, bundle.classes
    check_bundle(content["model"], content["backbone"], folder)
    images = read_transform(content, folder)
    K = classes.attributes_CK.shape[1]
    try:
        model = OmegaConf.create(content["model"])
        made: RegionBackbone = instantiate(OmegaConf.create(content["backbone"]), _convert_="all")
        vectors_KE = _attribute_vectors(bundle.weights_of("net"), K)
        D, *grid = _feature_shape(made, images)
        net = _build_net(model, vectors_KE, bundle.weights["classes"], (D, *grid))
    except (UserError, HydraException, OmegaConfBaseException, *READ_ERRORS) as error:
        problem = f"{folder} cannot be built ({one_line(error)})"
        raise CheckpointError(problem, action="Export it again.") from error
    likeness = bundle.reference.likeness
    if likeness is not None and likeness.training_MD.shape[1] != D:
        problem = f"{folder} is damaged (its backbone has {D} channels, its likeness others)"
        raise CheckpointError(problem, action="Export it again.")
    if output_names(net) != tuple(content["fusion"]):
        problem = f"{folder} is damaged (fusion or calibration is invalid)"
        raise CheckpointError(problem, action="Export it again.")
    load_weights(made, bundle.weights_of("backbone"), folder)
    load_weights(net, bundle.weights_of("net"), folder)
    return Predictor(
        backbone=made,
        net=net,
        transform=images,
        attribute_names=tuple(content["attribute_names"]),
        classes=classes,
        fusion=content["fusion"],
        calibration=content["calibration"],
        reference=bundle.reference,
    )


def check_bundle(model: Mapping[str, Any], backbone: Mapping[str, Any], folder: Path) -> None:
    """Checks that the settings of a bundle name our models only.

    Raises:
        CheckpointError: They name something else.
    """
    foreign = foreign_part(model, backbone)
    if foreign:
        problem = f"{folder} names code that is not one of our models: {foreign.key} is"
        action = "A bundle cannot hold code of your own; use the run folder with --trust."
        raise CheckpointError(f"{problem} {foreign.reason}", action=action)


def _attribute_vectors(weights: Mapping[str, Tensor], num_attributes: int) -> Tensor:
    """Returns attribute vectors of a net's weights, whose size the net needs, in float32.

    A net without attribute vectors gets vectors of size 1, which it does not use.
    """
    found = (weights[name] for name in weights if name.endswith("attribute_vectors_KE"))
    return next(found, torch.zeros(num_attributes, 1)).float()


def _feature_shape(backbone: RegionBackbone, images: ImageTransform) -> tuple[int, ...]:
    """Returns D, H and W of the features of a blank image."""
    blank = torch.zeros(1, 3, images.image_size, images.image_size)
    return tuple(backbone.feature_map(blank).shape[1:])


def _build_net(
    model: DictConfig, vectors_KE: Tensor, classes_CK: Tensor, shape: tuple[int, ...]
) -> nn.Module:
    """Returns an untrained net for features of the shape (D, H, W)."""
    D, *grid = shape
    net: nn.Module = instantiate_partial(model, vectors_KE, classes_CK, D, grid=tuple(grid))
    return net.eval()
