"""A predictor in a folder of its own: weights as safetensors, all else as JSON. Nothing in it can run code."""

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, finfo, float32, from_numpy, nn

from msdn_lit.data.features.images import ImageTransform
from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.inference.candidates import SEEN, UNSEEN, Candidates
from msdn_lit.inference.predictor import Predictor
from msdn_lit.models.attention import over_attributes, over_regions
from msdn_lit.models.backbone import RegionBackbone
from msdn_lit.models.weights import are_finite

CONTENT, WEIGHTS = "bundle.json", "weights.safetensors"
FORMAT, VERSION = "msdn-lit bundle", 1
_NEEDED: dict[str, Any] = dict.fromkeys(
    ("classes", "transform", "fusion", "model", "backbone"), dict
)
_NEEDED |= {"attribute_names": list, "calibration": int | float}
_NO_OTHER_WEIGHTS = {"weights_file": None, "pretrained": False}  # the bundle has them
_FILES_OF_TIMM = {"checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"}


class Bundle(NamedTuple):
    """What a bundle holds.

    Attributes:
        content: Of bundle.json.
        weights: By name: "net.*", "backbone.*" and "classes", the known classes' attributes (C, K).
    """

    content: dict[str, Any]
    weights: dict[str, Tensor]

    @property
    def classes(self) -> Candidates:
        """The known classes."""
        found = self.content["classes"]
        return Candidates(
            tuple(found["names"]), self.weights["classes"].numpy(), tuple(found["sides"])
        )

    def part(self, name: str) -> dict[str, Tensor]:
        """Weights of "net" or "backbone", by their own names."""
        return {
            key.removeprefix(f"{name}."): w
            for key, w in self.weights.items()
            if key.startswith(f"{name}.")
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
        folder: Where; made if it is not there.
        predictor: What to write.
        model: Resolved config of its net.
        backbone: Resolved config of its backbone; where its weights came from is left out.
        origin: What is known of the training, for people.
    """
    transform, classes = predictor.transform, predictor.classes
    content = {
        "format": FORMAT,
        "version": VERSION,
        "attribute_names": list(predictor.attribute_names),
        "classes": {"names": list(classes.names), "sides": list(classes.sides)},
        "transform": {
            "image_size": transform.image_size,
            "mean": list(transform.mean),
            "std": list(transform.std),
        },
        "fusion": dict(predictor.fusion),
        "calibration": float(predictor.calibration),
        "model": model,
        "backbone": backbone | _NO_OTHER_WEIGHTS,
        "origin": dict(origin),
    }
    parts = {"net": predictor.net, "backbone": predictor.backbone}
    weights = {
        f"{part}.{key}": w.contiguous()
        for part, of in parts.items()
        for key, w in of.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights | {"classes": from_numpy(classes.attributes_CK)}, folder / WEIGHTS)
    (folder / CONTENT).write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def read_bundle(folder: Path) -> Bundle:
    """Reads and checks a bundle, without making anything of it.

    Raises:
        CheckpointError: It is of another version, damaged, incomplete, or names code that is not a model of ours.
    """
    try:
        content = json.loads((folder / CONTENT).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, *READ_ERRORS) as error:
        raise _damaged(folder, one_line(error)) from error
    _check_content(folder, content)
    try:
        _check_settings(folder, content["model"], content["backbone"])
    except RecursionError as error:
        raise _damaged(folder, "its settings are nested too deep") from error
    if not are_finite(weights.values()):
        raise _damaged(folder, "a weight is NaN or infinite")
    _check_sizes(folder, content, weights)
    return Bundle(content | {"backbone": content["backbone"] | _NO_OTHER_WEIGHTS}, weights)


def read_transform(content: Mapping[str, Any], folder: Path) -> ImageTransform:
    """What the backbone wants done to images.

    Raises:
        CheckpointError: It makes no sense.
    """
    found = content["transform"]
    try:
        mean, std = (tuple(map(float, found[name])) for name in ("mean", "std"))
        size = int(found["image_size"])
    except READ_ERRORS as error:
        raise _damaged(folder, "transform makes no sense") from error
    if not (
        len(mean) == len(std) == 3
        and _are_numbers([*mean, *std])
        and all(std)
        and 0 < size < 10_000
    ):
        raise _damaged(folder, "transform makes no sense")
    return ImageTransform(size, mean, std)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Loads all weights of a module.

    Raises:
        CheckpointError: One is missing, foreign, or has another shape or precision.
    """
    wanted = {
        name: (tuple(value.shape), value.dtype) for name, value in module.state_dict().items()
    }
    found = {name: (tuple(value.shape), value.dtype) for name, value in weights.items()}
    for name in sorted(name for name, _ in wanted.items() ^ found.items()):
        raise CheckpointError(
            f"{folder} does not fit its own settings: {name}",
            expected=wanted.get(name, "absent"),
            found=found.get(name, "absent"),
        )
    module.load_state_dict(dict(weights))


def _check_content(folder: Path, content: object) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _damaged(folder, f"it is no {FORMAT}")
    if content.get("version") != VERSION:
        action = "Export it again, or use the version of msdn-lit that wrote it."
        found = content.get("version")
        raise CheckpointError(
            f"{folder} is of another version", expected=VERSION, found=found, action=action
        )
    for name, kind in _NEEDED.items():
        if not isinstance(content.get(name), kind):
            raise _damaged(folder, f"{name} is missing")
    fusion, subnets = content["fusion"], content["model"].get("subnets")
    names = list(subnets) if isinstance(subnets, dict) else list(fusion)[:1]
    if list(fusion) != names or not _are_numbers([*fusion.values(), content["calibration"]]):
        raise _damaged(folder, "fusion or calibration makes no sense")


def _check_settings(folder: Path, model: Mapping[str, Any], backbone: Mapping[str, Any]) -> None:
    """Nothing but nets of ours and our backbone may be made of them, without files and without interpolations."""
    foreign = [
        value
        for name, value in _settings(model)
        if name == "_target_" and not _is_net(_found(value))
    ]
    for name, value in _settings(backbone):
        if name in _FILES_OF_TIMM or (name == "_target_" and _found(value) is not RegionBackbone):
            foreign.append(value)
    if "${" in json.dumps([model, backbone]):  # OmegaConf's resolvers could make a target of a text
        foreign.append("${...}")
    if foreign:
        raise CheckpointError(f"{folder} would run code that is no model of ours", found=foreign[0])


def _check_sizes(folder: Path, content: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    classes, K = content["classes"], len(content["attribute_names"])
    names, sides = classes.get("names"), classes.get("sides")
    if not isinstance(names, list) or not isinstance(sides, list) or len(names) != len(sides):
        raise _damaged(folder, "classes are incomplete")
    if not all(isinstance(name, str) for name in (*names, *content["attribute_names"])):
        raise _damaged(folder, "a class or an attribute has no name")
    if not all(side in (SEEN, UNSEEN) for side in sides):
        raise _damaged(folder, f"a class is neither {SEEN} nor {UNSEEN}")
    found = tuple(weights["classes"].shape) if "classes" in weights else None
    if found != (len(names), K):
        raise _damaged(folder, f"classes have the shape {found} instead of {(len(names), K)}")
    if weights["classes"].dtype != float32:
        raise _damaged(folder, f"classes are {weights['classes'].dtype} instead of {float32}")
    if len(weights.get("net.attribute_vectors_KE", content["attribute_names"])) != K:
        raise _damaged(folder, "its net has other attributes")


def _is_net(found: object) -> bool:
    """Whether it is a net or a sub-net, or a way to attend."""
    is_module = (
        isinstance(found, type) and issubclass(found, nn.Module) and found is not RegionBackbone
    )
    return is_module or found in (over_regions, over_attributes)


def _found(target: object) -> object:
    """What a name stands for, if it is one of our models."""
    module, _, name = str(target).rpartition(".")
    if not f"{module}.".startswith("msdn_lit.models."):
        return None
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return None
    return found if str(getattr(found, "__module__", "")).startswith("msdn_lit.models.") else None


def _settings(content: object) -> Iterator[tuple[str, object]]:
    """Names and values, however deep."""
    if isinstance(content, Mapping):
        yield from content.items()
        content = list(content.values())
    if isinstance(content, list):
        yield from (setting for value in content for setting in _settings(value))


def _are_numbers(values: Iterable[object]) -> bool:
    """Whether all are, and finite, also as float32; an integer of JSON may be too large for any float."""
    return all(
        isinstance(value, int | float) and abs(value) <= finfo(float32).max for value in values
    )


def _damaged(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{folder} is damaged ({reason})", action="Export it again.")
