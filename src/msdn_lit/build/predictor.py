"""From a run's config, or a bundle, to a predictor of images."""

from pathlib import Path

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from msdn_lit.build import training as build
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.features.images import ImageTransform
from msdn_lit.errors import READ_ERRORS, CheckpointError, DataError, UserError, one_line
from msdn_lit.inference import Candidates, Predictor
from msdn_lit.inference.bundle import Bundle, load_weights, read_transform
from msdn_lit.build.instantiate import finish, make
from msdn_lit.models.backbone import RegionBackbone


def predictor(cfg: DictConfig) -> Predictor:
    """A predictor with an untrained net, for the classes of the config; it needs images' backbone, but no features.

    Raises:
        DataError: Split files, word vectors or the backbone's weights are missing, or the features are no backbone's.
    """
    if "backbone" not in cfg.features:
        problem = f"{cfg.features.name} features are not made of images: there is nothing to show the model"
        raise DataError(problem, action="Train on a backbone's features.")
    module: ZSLDataModule = make(cfg.data, source=build.feature_source(cfg), _convert_="all")
    semantics = module.read_semantics(module.read_split())
    looks, does = build.backbone(cfg), build.transform(cfg)
    vectors_KE, classes_CK = build.attribute_vectors(semantics), torch.from_numpy(semantics.class_attributes_CK)
    net = _build_net(looks, does, cfg.model, vectors_KE, classes_CK)
    names = module.benchmark.attribute_names(module.data_dir, classes_CK.shape[1])
    weights = dict(zip(cfg.model.get("subnets", ["image"]), build.fusion(cfg), strict=True))
    return Predictor(looks, net, does, names, Candidates.of(semantics), weights, float(cfg.prediction.calibration))


def predictor_from_bundle(bundle: Bundle, folder: Path) -> Predictor:
    """The predictor of a bundle.

    Raises:
        CheckpointError: It does not fit together.
    """
    content, classes = bundle.content, bundle.classes
    does = read_transform(content, folder)
    try:
        model, looks_like = OmegaConf.create(content["model"]), OmegaConf.create(content["backbone"])
        looks: RegionBackbone = make(looks_like, _convert_="all")
        vectors_KE = bundle.weights_of("net").get("attribute_vectors_KE", torch.zeros(classes.attributes_CK.shape[1], 1))
        net = _build_net(looks, does, model, vectors_KE.float(), bundle.weights["classes"])  # load_weights refuses others
    except (UserError, HydraException, OmegaConfBaseException, *READ_ERRORS) as error:  # settings of a stranger
        raise CheckpointError(f"{folder} cannot be built ({one_line(error)})", action="Export it again.") from error
    load_weights(looks, bundle.weights_of("backbone"), folder)
    load_weights(net, bundle.weights_of("net"), folder)
    names = tuple(content["attribute_names"])
    return Predictor(looks, net, does, names, classes, content["fusion"], content["calibration"])


def _build_net(
    looks: RegionBackbone, does: ImageTransform, model: DictConfig, vectors_KE: Tensor, classes_CK: Tensor
) -> nn.Module:
    """An untrained net for what a backbone makes of images."""
    D = looks.feature_map(torch.zeros(1, 3, does.image_size, does.image_size)).shape[1]
    net: nn.Module = finish(model, vectors_KE, classes_CK, D)
    return net.eval()
