"""What a config that is read from a folder may build: such a config is data, not code.

A run folder or a bundle may come from anybody. Its config may name only objects of the list below,
each in its own part of the config; the list is what conf/ names and the like of it. References to
other settings (`${paths.data_dir}`) are allowed, and no other resolver of OmegaConf is.

The check looks at plain values, before OmegaConf and Hydra see them. It imports nothing that a
config names.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from msdn_lit.errors import CheckpointError
from msdn_lit.runs.layout import CONFIG

_SAMPLERS = "ClassBalancedBatches ShuffledEpochs UniformBatches"
# Part of the config -> module -> its objects that may be built there.
_ALLOWED: Mapping[str, Mapping[str, str]] = {
    "data": {"msdn_lit.data": f"SemanticsConfig ZSLDataModule split_images {_SAMPLERS}"},
    "sampler": {"msdn_lit.data": _SAMPLERS},
    "features": {
        "msdn_lit.data": "AttributeRegions Augmentation ImageTransform",
        "msdn_lit.models": "RegionBackbone",
    },
    "model": {
        "msdn_lit.models": "AttributeToVisual AttributeToVisualTransformer "
        "BilinearCompatibility DAZLE DEDN ESZSL MSDN TransZero VisualToAttribute "
        "VisualToAttributePaper VisualToAttributeTransformer over_attributes over_regions"
    },
    "loss": {
        "msdn_lit.losses": "CounterfactualLoss DEDNLoss MSDNLoss RankingLoss TransZeroLoss "
        "ale cross_entropy_paper cross_entropy_release "
        "devise distillation_paper distillation_release self_calibration_paper "
        "self_calibration_release sje"
    },
    "optimizer": {
        "torch.optim": "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS NAdam RAdam "
        "RMSprop Rprop SGD"
    },
    "scheduler": {
        "torch.optim.lr_scheduler": "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts "
        "CyclicLR ExponentialLR LinearLR MultiStepLR OneCycleLR PolynomialLR StepLR"
    },
    "compile": {"torch": "compile", "msdn_lit.tasks": "CUDAGraph"},
    "trainer": {"lightning": "Trainer", "lightning.pytorch": "Trainer"},
    "callbacks": {
        "msdn_lit.callbacks": "AttentionScores Checkpoints EvaluationHistory Figures LeakGuard "
        "LoggedFigures Preemption Progress RandomState ScoreCacheWriter WandbTables",
        "msdn_lit.sweeps": "Pruning",
        "lightning.pytorch.callbacks": "EarlyStopping LearningRateMonitor ModelCheckpoint "
        "ModelSummary RichModelSummary RichProgressBar TQDMProgressBar",
        "optuna.pruners": "HyperbandPruner MedianPruner NopPruner PercentilePruner "
        "SuccessiveHalvingPruner ThresholdPruner",
    },
    "logger": {
        "msdn_lit.training": "ResumableWandbLogger",
        "lightning.pytorch.loggers": "CSVLogger TensorBoardLogger WandbLogger",
    },
}
# The only special keys of Hydra. `_args_` would hide the name of an argument.
_SPECIAL = {"_target_", "_partial_", "_convert_"}
# torch.compile's other arguments choose compilers, which are programs.
_OF_COMPILE = {"mode", "fullgraph", "dynamic", *_SPECIAL}
# Arguments of timm.create_model that name files, which timm reads as pickles, or addresses.
_FILES_OF_TIMM = {"checkpoint_path", "cache_dir"}
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_MAX_DEPTH, _MAX_VALUES = 100, 100_000  # our own configs have 6 and 250
_MISSING = object()


class Foreign(NamedTuple):
    """A part of a config that is not allowed.

    Attributes:
        key: Dotted key.
        reason: Description of the part, and the reason against it.
    """

    key: str
    reason: str


def check_config(config: Mapping[str, Any], folder: Path) -> None:
    """Checks the config of a run folder.

    Args:
        config: Plain mappings, lists and values.
        folder: Run folder, for the message.

    Raises:
        CheckpointError: The config names an object that is not part of the program, or would run a
            resolver.
    """
    found = next(_Check(config).parts(), None)
    if found:
        problem = f"{folder / CONFIG}: {found.key} is {found.reason}"
        action = (
            "Add --trust (in Python: trust=True) if you trust whoever wrote it: it may run code."
        )
        raise CheckpointError(problem, action=action)


def foreign_part(model: Mapping[str, Any], backbone: Mapping[str, Any]) -> Foreign | None:
    """Returns a part of the settings of a bundle that is not allowed; None if there is none.

    A bundle has no references, since its settings are resolved when it is written.

    Args:
        model: Config of the net.
        backbone: Config of the backbone.
    """
    found = next(_Check({"model": model, "features": {"backbone": backbone}}).parts(), None)
    if found is None and "${" in json.dumps([model, backbone], default=str):
        return Foreign("a setting", "a reference, ${...}")
    return found


def is_plain(text: str) -> bool:
    """Whether OmegaConf would run no resolver for a text: it has only references to settings."""
    return "${" not in _REFERENCE.sub("", text)


class _Check:
    """A walk through a config. References are followed, and what they stand for is checked, too."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.visited = 0

    def parts(self) -> Iterator[Foreign]:
        yield from _wrong_keys(self.config, "", "config")
        for name, value in self.config.items():
            yield from self._values(value, str(name), str(name), 1)

    def _values(self, node: object, group: str, key: str, depth: int) -> Iterator[Foreign]:
        self.visited += 1
        if depth > _MAX_DEPTH or self.visited > _MAX_VALUES:
            yield Foreign(_printable(key), "nested too deep")
        elif isinstance(node, Mapping):
            yield from _wrong_keys(node, group, key)
            for name, value in node.items():
                yield from self._values(value, group, f"{key}.{name}", depth + 1)
        elif isinstance(node, list):
            for index, value in enumerate(node):
                yield from self._values(value, group, f"{key}.{index}", depth + 1)
        elif isinstance(node, str) and "${" in node:
            yield from self._references(node, group, key, depth)

    def _references(self, text: str, group: str, key: str, depth: int) -> Iterator[Foreign]:
        if not is_plain(text):
            yield Foreign(_printable(key), f"{_printable(text)}, which is no plain reference")
            return
        for path in _REFERENCE.findall(text):
            value = self._lookup(path)
            if value is _MISSING:
                yield Foreign(_printable(key), f"{_printable(text)}, which refers to nothing")
            yield from self._values(value, group, key, depth + 1)

    def _lookup(self, path: str) -> object:
        """Returns the value of a dotted key, without following references on the way."""
        node: Any = self.config
        for part in path.split("."):
            if isinstance(node, Mapping) and part in node:
                node = node[part]
            elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            else:
                return _MISSING
        return node


def _wrong_keys(node: Mapping[Any, Any], group: str, key: str) -> Iterator[Foreign]:
    is_object = "_target_" in node
    if is_object and not _is_allowed(node["_target_"], group):
        target = _printable(node["_target_"])
        yield Foreign(_printable(f"{key}._target_"), f"{target}, which is no part of msdn-lit")
    for name in map(str, node):
        is_special = is_object and name.startswith("_") and name not in _SPECIAL
        is_of_compiler = group == "compile" and name not in _OF_COMPILE
        is_file = group == "features" and (name in _FILES_OF_TIMM or name.startswith("pretrained_"))
        if is_special or is_of_compiler or is_file:
            yield Foreign(_printable(f"{key}.{name}"), "an argument that is not allowed")


def _is_allowed(target: object, group: str) -> bool:
    """Whether a target is an object of the list, by its public name or where it is defined."""
    modules = _ALLOWED.get(group, {})
    if not isinstance(target, str):
        return False
    module, _, name = target.rpartition(".")
    if name in modules.get(module, "").split():
        return True
    return target in _definitions(group)


@cache
def _definitions(group: str) -> set[str]:
    """The full names under which the objects of a part are defined, e.g. torch.optim.sgd.SGD."""
    found = set()
    for module, names in _ALLOWED.get(group, {}).items():
        try:
            imported = import_module(module)
        except ImportError:  # an optional package
            continue
        objects = [getattr(imported, name, None) for name in names.split()]
        found |= {f"{one.__module__}.{one.__qualname__}" for one in objects if one is not None}
    return found


def _printable(text: object) -> str:
    """Cuts a text of a stranger, and replaces what would change a terminal."""
    start = str(text)[:100]
    return "".join(character if character.isprintable() else "?" for character in start)
