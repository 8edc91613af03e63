"""What a bundle tells of its training: facts of a run and of one of its checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msdn_lit.errors import CheckpointError
from msdn_lit.runs.config import without_paths
from msdn_lit.runs.layout import RESULT, score_cache_path
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.texts import read_json

_OF_THE_DATA = ("benchmark", "features")
_OF_THE_CHECKPOINT = ("protocol", "stage", "seed", "partial", "warning", "chance")
_OF_THE_RUN = ("choices", "device", "wall_time_s", "code", "versions")
_SETTINGS = ("model", "loss", "optimizer", "scheduler", "sampler")


def origin(folder: Path, checkpoint: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns facts of a run and its checkpoint.

    Args:
        folder: Run folder.
        checkpoint: Name of the checkpoint. Of one that the run has not evaluated, only the facts
            of the data are returned.
        config: Config of the run, resolved.
    """
    result = read_json(folder / RESULT) or {}
    evaluations = result.get("scores", {})
    if not isinstance(evaluations, dict):
        result, evaluations = {}, {}
    facts: dict[str, Any] = {"checkpoint": Path(checkpoint).name}
    facts |= _known(result, _OF_THE_DATA)
    backbone = config["features"]["backbone"]
    facts["backbone_weights"] = _source_of_weights(backbone)
    if facts["backbone_weights"] == "package":
        facts["backbone_package"] = backbone["weights_package"]
    if checkpoint not in evaluations:
        return facts
    facts |= _known(result, (*_OF_THE_CHECKPOINT, *_OF_THE_RUN))
    facts["scores"] = evaluations[checkpoint]
    if numbers := _numbers_of_images(folder, checkpoint, result):
        facts["images"] = numbers
    if "command" in result:
        facts["command"] = without_paths(str(result["command"]), config.get("paths"))
    facts["settings"] = {name: _described(config[name]) for name in _SETTINGS if config.get(name)}
    return facts


def _known(result: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: result[name] for name in names if result.get(name) not in (None, "")}


def _numbers_of_images(folder: Path, checkpoint: str, result: Mapping[str, Any]) -> dict[str, int]:
    """Returns the numbers of images of the training and of the evaluation, as far as known."""
    data = result.get("data", {})
    numbers = {"train": data["num_train"]} if "num_train" in data else {}
    path = score_cache_path(folder, checkpoint)
    try:
        cache = ScoreCache.load(path) if path.is_file() else None
    except CheckpointError:
        cache = None
    if cache is not None and cache.step == result["scores"][checkpoint].get("step"):
        of_seen = sum(label in cache.seen for label in cache.labels_N)
        numbers |= {"seen": of_seen, "unseen": len(cache.labels_N) - of_seen}
    return numbers


def _source_of_weights(backbone: Mapping[str, Any]) -> str:
    """Returns "file", "package", "timm" or "random", as RegionBackbone chooses."""
    file = backbone.get("weights_file")
    if file and Path(file).is_file():
        return "file"
    if backbone.get("weights_package") and not file:
        return "package"
    return "timm" if backbone.get("pretrained", True) else "random"


def _described(part: Mapping[str, Any]) -> str:
    """Returns an object's config in words: "RMSprop, lr 0.001, weight_decay 0.0001"."""
    values = {name: value for name, value in part.items() if name not in ("_target_", "_partial_")}
    texts = [f"{name} {_short(value)}" for name, value in values.items()]
    return ", ".join([_short(part), *texts])


def _short(value: object) -> str:
    """Returns a value, the name of a part's class, or those of its parts."""
    if not isinstance(value, Mapping):
        return str(value)
    if "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    return " and ".join(map(_short, value.values()))
