"""Translates the names of settings and objects in configs of version 0.1."""

from collections.abc import Mapping
from typing import Any

# Functions and classes: `_target_` of version 0.1 -> public name.
TARGETS = {
    "msdn_lit.callbacks.ScoreFiles": "msdn_lit.callbacks.ScoreCacheWriter",
    "msdn_lit.callbacks.Pruning": "msdn_lit.sweeps.Pruning",
    "msdn_lit.callbacks.attention_scores.AttentionScores": "msdn_lit.callbacks.AttentionScores",
    "msdn_lit.callbacks.dashboard.Dashboard": "msdn_lit.callbacks.WandbTables",
    "msdn_lit.callbacks.figures.Figures": "msdn_lit.callbacks.Figures",
    "msdn_lit.data.datamodule.ZSLDataModule": "msdn_lit.data.ZSLDataModule",
    "msdn_lit.data.images.ImageTransform": "msdn_lit.data.ImageTransform",
    "msdn_lit.data.samplers.ClassBalancedDraw": "msdn_lit.data.ClassBalancedBatches",
    "msdn_lit.data.samplers.EpochDraw": "msdn_lit.data.ShuffledEpochs",
    "msdn_lit.data.samplers.UniformDraw": "msdn_lit.data.UniformBatches",
    "msdn_lit.data.samplers.hold_out": "msdn_lit.data.split_images",
    "msdn_lit.data.semantics.SemanticsSource": "msdn_lit.data.SemanticsConfig",
    "msdn_lit.data.semisynthetic.AttributeRegions": "msdn_lit.data.AttributeRegions",
    "msdn_lit.losses.ranking.RankingLoss": "msdn_lit.losses.RankingLoss",
    "msdn_lit.losses.ranking.ale": "msdn_lit.losses.ale",
    "msdn_lit.losses.ranking.devise": "msdn_lit.losses.devise",
    "msdn_lit.losses.ranking.sje": "msdn_lit.losses.sje",
    "msdn_lit.models.attention.over_attributes": "msdn_lit.models.over_attributes",
    "msdn_lit.models.attention.over_regions": "msdn_lit.models.over_regions",
    "msdn_lit.models.backbone.RegionBackbone": "msdn_lit.models.RegionBackbone",
    "msdn_lit.models.baselines.DAZLE": "msdn_lit.models.DAZLE",
    "msdn_lit.models.baselines.ESZSL": "msdn_lit.models.ESZSL",
    "msdn_lit.models.baselines.Pooled": "msdn_lit.models.BilinearCompatibility",
    "msdn_lit.tracking.TrainingRun": "msdn_lit.training.ResumableWandbLogger",
    **{
        f"msdn_lit.losses.functional.{term}_{form}": f"msdn_lit.losses.{term}_{form}"
        for term in ("cross_entropy", "self_calibration", "distillation")
        for form in ("paper", "release")
    },
}

# Settings: dotted key of version 0.1 -> new last part; "*" is any name.
KEYS = {
    "callbacks.dashboard": "wandb_tables",
    "callbacks.history.peaks": "report_peaks",
    "callbacks.leak_guard.test_chooses": "allow_test_selection",
    "data.draw": "sampler",
    "data.residence": "feature_cache",
    "model.subnets.*.effective_regions": "region_scale",
    "protocol.keeps_every_score": "save_all_scores",
    "protocol.peaks": "report_peaks",
    "protocol.test_chooses": "allow_test_selection",
}

# Files of the config groups, by group.
CHOICES = {
    "loss": {"paper": "msdn_paper", "release": "msdn"},
    "trainer": {"auto": "default"},
}
EXPERIMENTS = {"ablation/full": "ablation/none", "difference/": "paper_vs_release/"}


def translate_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with today's names; a config of today stays as it is."""
    translated: dict[str, Any] = _translate(config, "")
    return translated


def translate_choices(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the choices of a result.json with today's names."""
    return {group: CHOICES.get(group, {}).get(name, name) for group, name in choices.items()}


def translate_experiment(name: str) -> str:
    """Returns today's name of an experiment."""
    for old, new in EXPERIMENTS.items():
        name = name.replace(old, new)
    return name


def _translate(node: Any, path: str) -> Any:  # noqa: ANN401 - any YAML value
    if isinstance(node, Mapping):
        return {
            _new_name(f"{path}{key}", str(key)): _translate(value, f"{path}{key}.")
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_translate(value, path) for value in node]
    if isinstance(node, str):
        return _translate_text(node, path)
    return node


def _translate_text(text: str, path: str) -> str:
    if path.endswith("_target_."):
        return TARGETS.get(text, text)
    if "${" in text:  # a reference to a renamed setting
        for key, name in KEYS.items():
            parent = key.rpartition(".")[0]
            text = text.replace(f"${{{key}}}", f"${{{parent}.{name}}}")
    return text


def _new_name(path: str, name: str) -> str:
    parts = path.split(".")
    for key, new in KEYS.items():
        pattern = key.split(".")
        if len(pattern) == len(parts) and all(
            p in ("*", part) for p, part in zip(pattern, parts, strict=True)
        ):
            return new
    return name
