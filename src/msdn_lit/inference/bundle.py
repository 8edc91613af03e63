"""Bundles: a predictor in a folder, weights as safetensors and the rest as JSON.

No content of a bundle can run code.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, finfo, float32, from_numpy, nn

from msdn_lit.data.features.images import ImageTransform
from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.files import make_folder, write_together
from msdn_lit.inference.candidates import SEEN, UNSEEN, Candidates
from msdn_lit.inference.predictor import Predictor
from msdn_lit.inference.reference import Reference, read_json
from msdn_lit.models.backbones.weights import are_finite
from msdn_lit.runs.layout import BUNDLE, BUNDLE_WEIGHTS
from msdn_lit.runs.version_0_1 import translate_config

FORMAT, VERSION = "msdn-lit bundle", 1
_NEEDED: dict[str, Any] = {
    "attribute_names": list,
    "classes": dict,
    "transform": dict,
    "fusion": dict,
    "calibration": int | float,
    "model": dict,
    "backbone": dict,
}


class Bundle(NamedTuple):
    """Content of a bundle.

    Attributes:
        content: Content of bundle.json.
        weights: Tensors by name: "net.*", "backbone.*", "classes", the attributes of the known
            classes, (C, K), and optionally "likeness", features of training images, (M, D).
        reference: Scores, leads and images of the model's run; older bundles lack them.
    """

    content: dict[str, Any]
    weights: dict[str, Tensor]
    reference: Reference = Reference()

    @property
    def classes(self) -> Candidates:
        """The known classes."""
        classes = self.content["classes"]
        attributes_CK = self.weights["classes"].numpy()
        return Candidates(tuple(classes["names"]), attributes_CK, tuple(classes["domains"]))

    def weights_of(self, module: str) -> dict[str, Tensor]:
        """Returns the weights of "net" or "backbone" by their names in the module."""
        prefix = f"{module}."
        return {
            name.removeprefix(prefix): weight
            for name, weight in self.weights.items()
            if name.startswith(prefix)
        }


def write_bundle(
    folder: Path,
    predictor: Predictor,
    *,
    model: dict[str, Any],
    backbone: dict[str, Any],
    origin: Mapping[str, Any],
) -> None:
    """Writes a predictor.

    Args:
        folder: Folder of the bundle, which is made if it is missing.
        predictor: Predictor to write.
        model: Resolved config of its net.
        backbone: Resolved config of its backbone; the source of its weights is left out.
        origin: Facts about the training, for people.
    """
    transform, classes = predictor.transform, predictor.classes
    content = {
        "format": FORMAT,
        "version": VERSION,
        "attribute_names": list(predictor.attribute_names),
        "classes": {"names": list(classes.names), "domains": list(classes.domains)},
        "transform": {
            "image_size": transform.image_size,
            "mean": list(transform.mean),
            "std": list(transform.std),
        },
        "fusion": dict(predictor.fusion),
        "calibration": float(predictor.calibration),
        "model": model,
        "backbone": _without_weights(backbone),
        "origin": dict(origin),
        "has_attention": predictor.has_attention,
        "reference": predictor.reference.to_json(),
    }
    modules = {"net": predictor.net, "backbone": predictor.backbone}
    weights = {
        f"{module}.{name}": weight.contiguous()
        for module, instance in modules.items()
        for name, weight in instance.state_dict().items()
    }
    weights["classes"] = from_numpy(classes.attributes_CK)
    if predictor.reference.likeness is not None:
        weights["likeness"] = from_numpy(predictor.reference.likeness.training_MD).half()
    tensors = save(weights)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    make_folder(folder)
    write_together({folder / BUNDLE_WEIGHTS: tensors, folder / BUNDLE: f"{text}\n".encode()})


def read_bundle(folder: Path) -> Bundle:
    """Reads and checks a bundle, without building anything from it.

    Raises:
        CheckpointError: The bundle is of another version, damaged, incomplete, or names code that
            is not one of our models.
    """
    try:
        content = json.loads((folder / BUNDLE).read_text(encoding="utf-8"))
        weights = load_file(folder / BUNDLE_WEIGHTS)
    except (SafetensorError, *READ_ERRORS) as error:
        raise _damaged(folder, one_line(error)) from error
    _check_content(folder, content)
    try:
        content = _translated(content)
    except RecursionError as error:
        raise _damaged(folder, "its settings are nested too deep") from error
    if not are_finite(weights.values()):
        raise _damaged(folder, "a weight is NaN or infinite")
    _check_sizes(folder, content, weights)
    try:
        reference = read_json(content.get("reference", {}), weights.get("likeness"))
    except READ_ERRORS as error:
        raise _damaged(folder, f"reference is invalid: {one_line(error)}") from error
    content |= {"backbone": _without_weights(content["backbone"])}
    return Bundle(content, weights, reference)


def _without_weights(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config of a backbone whose weights are those of the bundle."""
    kept = {name: value for name, value in backbone.items() if name != "weights_package"}
    return kept | {"weights_file": None, "pretrained": False}


def read_transform(content: Mapping[str, Any], folder: Path) -> ImageTransform:
    """Reads the preprocessing of images.

    Raises:
        CheckpointError: A value is not valid.
    """
    transform = content["transform"]
    try:
        mean, std = ([float(x) for x in transform[name]] for name in ("mean", "std"))
        size = int(transform["image_size"])
    except READ_ERRORS as error:
        raise _damaged(folder, "transform is invalid") from error
    is_valid = _are_numbers([*mean, *std]) and all(std) and 0 < size < 10_000
    if not (len(mean) == len(std) == 3 and is_valid):
        raise _damaged(folder, "transform is invalid")
    return ImageTransform(size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Loads all weights of a module.

    Raises:
        CheckpointError: A weight is missing, unknown, or has another shape or precision.
    """
    expected, found = _shapes(module.state_dict()), _shapes(weights)
    for name in sorted(name for name, _ in expected.items() ^ found.items()):
        raise CheckpointError(
            f"{folder} does not fit its own settings: {name}",
            expected=expected.get(name, "absent"),
            found=found.get(name, "absent"),
        )
    module.load_state_dict(dict(weights))


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[object, ...]]:
    return {name: (tuple(weight.shape), weight.dtype) for name, weight in weights.items()}


def _translated(content: dict[str, Any]) -> dict[str, Any]:
    """Content with today's names; bundles of version 0.1 have "sides" for "domains"."""
    classes = content["classes"]
    if "sides" not in classes:
        return content
    settings = translate_config({name: content[name] for name in ("model", "backbone")})
    today = {"names": classes.get("names"), "domains": classes["sides"]}
    return content | settings | {"classes": today}


def _check_content(folder: Path, content: object) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _damaged(folder, f"it is not an {FORMAT}")
    if content.get("version") != VERSION:
        problem, found = f"{folder} is of another version", content.get("version")
        action = "Export it again, or use the version of msdn-lit that wrote it."
        raise CheckpointError(problem, expected=VERSION, found=found, action=action)
    for name, kind in _NEEDED.items():
        if not isinstance(content.get(name), kind):
            raise _damaged(folder, f"{name} is missing")
    fusion, subnets = content["fusion"], content["model"].get("subnets")
    names = list(subnets) if isinstance(subnets, dict) else list(fusion)
    if list(fusion) != names or not _are_numbers([*fusion.values(), content["calibration"]]):
        raise _damaged(folder, "fusion or calibration is invalid")


def _check_sizes(folder: Path, content: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    classes, K = content["classes"], len(content["attribute_names"])
    names, domains = classes.get("names"), classes.get("domains")
    if not isinstance(names, list) or not isinstance(domains, list) or len(names) != len(domains):
        raise _damaged(folder, "classes are incomplete")
    if not all(isinstance(name, str) for name in (*names, *content["attribute_names"])):
        raise _damaged(folder, "a class or an attribute has no name")
    if not all(domain in (SEEN, UNSEEN) for domain in domains):
        raise _damaged(folder, f"a class is neither {SEEN} nor {UNSEEN}")
    shape = tuple(weights["classes"].shape) if "classes" in weights else None
    if shape != (len(names), K):
        raise _damaged(folder, f"classes have the shape {shape} instead of {(len(names), K)}")
    if weights["classes"].dtype != float32:
        raise _damaged(folder, f"classes are {weights['classes'].dtype} instead of {float32}")
    if len(weights.get("net.attribute_vectors_KE", content["attribute_names"])) != K:
        raise _damaged(folder, "its net has other attributes")


def _are_numbers(values: Iterable[object]) -> bool:
    """Whether all values are finite numbers, also in float32; JSON integers may be too large."""
    return all(
        isinstance(value, int | float) and abs(value) <= finfo(float32).max for value in values
    )


def _damaged(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{folder} is damaged ({reason})", action="Export it again.")
