"""What tells one run from another, besides its seed; how to say so briefly, and without naming a machine's folders."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from msdn_lit.runs.reader import Run

Settings = dict[str, Any]

# Changes no score, or belongs to a machine or to one run. (trainer.devices and trainer.strategy do change scores: among
# several processes the self-calibration is another number.)
_NO_SETTING = (
    *(
        "seed",
        "paths",
        "ckpt_path",
        "task_name",
        "sweep_name",
        "resume",
        "objective",
        "callbacks",
        "logger",
        "debug",
    ),
    *(
        "data.data_dir",
        "data.store_dir",
        "data.feature_cache",
        "data.num_workers",
        "data.eval_batch_size",
    ),
    *(
        "features.device",
        "features.batch_size",
        "features.num_workers",
        "features.backbone.weights_file",
    ),
    *(
        "trainer.accelerator",
        "trainer.log_every_n_steps",
        "trainer.profiler",
        "trainer.detect_anomaly",
    ),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary"),
    *("protocol.selection", "protocol.save_all_scores"),
)
_PLACEHOLDERS = {
    "run_dir": "LOGS/RUN",
    "feature_dir": "FEATURES",
    "data_dir": "DATA",
    "log_dir": "LOGS",
}
_ABSOLUTE = re.compile(r"(?<![\w.}/:])/[\w.+@~-]+(?:/[\w.+@~-]+)*")
_COLUMNS = {
    "data": "benchmark",
    "features": "features",
    "protocol": "protocol",
}  # choices that every table names


class RunSettings(NamedTuple):
    """A run and all its settings by dotted key."""

    run: Run
    settings: Settings

    @property
    def place(self) -> tuple[str, str]:
        """Benchmark and backbone: names tell apart what is at one place."""
        return self.run.result["benchmark"], self.run.result["features"]

    @property
    def key(self) -> str:
        """Equal for runs that differ in their seed alone."""
        parts = [*self.place, self.run.result["protocol"], self.run.result["stage"]]
        given = {name: value for name, value in self.settings.items() if value is not None}
        return json.dumps([parts, given], sort_keys=True, default=str)

    def choice(self, group: str) -> str | None:
        """Which file of a config group the run took; None where that says nothing."""
        if group in _COLUMNS:
            return str(self.run.result[_COLUMNS[group]])
        choice = self.run.result["choices"].get(group)
        return (
            None if choice is None or group == "trainer" else str(choice)
        )  # trainers are named after machines


def settings_of(runs: Sequence[Run]) -> list[RunSettings]:
    """The settings of some runs.

    A setting that older code did not have yet counts as all other runs of the same choices have it, if they agree.
    """
    variants = [RunSettings(run, _settings(run)) for run in runs]
    added = [_fill_missing(variant, variants) for variant in variants]
    return [
        RunSettings(variant.run, variant.settings | more)
        for variant, more in zip(variants, added, strict=True)
    ]


def short_names(variants: Sequence[RunSettings]) -> list[str]:
    """What each differs in from others at its place, e.g. "cub_gzsl, loss.lambda_cal=0.1" or "model=msdn".

    Where all have experiments, and not all the same, these come first, and stand for all that they set.
    A setting that a variant lacks, as runs of older code do, is not named; but null where it alone tells two apart.
    """
    names = [
        (v.place, _name(v, variants, nulls=False), _name(v, variants, nulls=True)) for v in variants
    ]
    return [
        full if any(other[:2] == (place, brief) and other[2] != full for other in names) else brief
        for place, brief, full in names
    ]


def _name(variant: RunSettings, others: Sequence[RunSettings], *, nulls: bool) -> str:
    rivals = [other for other in others if other.place == variant.place]
    recipes, parts = {rival.run.recipe for rival in rivals}, []
    if len(recipes) > 1 and "" not in recipes:
        rivals = [rival for rival in rivals if rival.run.recipe == variant.run.recipe]
        parts.append(variant.run.recipe)
    names = {name for rival in rivals for name in rival.settings}
    for name in sorted(names, key=lambda name: (not name.startswith("model."), name)):
        group, mine = name.partition(".")[0], variant.settings.get(name)
        different = [rival for rival in rivals if rival.settings.get(name) != mine]
        is_other_choice = [rival.choice(group) != variant.choice(group) for rival in different]
        if any(is_other_choice) and group not in _COLUMNS:
            parts.append(f"{group}={variant.choice(group)}")
        if not all(is_other_choice) and (nulls or name in variant.settings):
            parts.append(f"{name.removesuffix('._target_')}={_short(mine)}")
    return ", ".join(dict.fromkeys(parts)) or f"model={variant.choice('model') or 'the only one'}"


def flatten(node: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings by dotted key; lists and empty mappings are leaves."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without_paths(text: str, paths: object) -> str:
    """Replaces folders by words: DATA, FEATURES, LOGS; and any other absolute path by PATH and its end.

    Args:
        text: Anything.
        paths: A config's `paths`; of what is no mapping nothing is known.
    """
    places = (
        {paths.get(name): word for name, word in _PLACEHOLDERS.items()}
        if isinstance(paths, Mapping)
        else {}
    )
    for place in sorted(
        (p for p in places if isinstance(p, str) and p.startswith("/")), key=len, reverse=True
    ):
        text = text.replace(place, places[place])
    return _ABSOLUTE.sub(lambda match: f"PATH/{match[0].rpartition('/')[2]}", text)


def _settings(run: Run) -> Settings:
    """From the config, where absolute paths count by their last part; and what the data really were."""
    settings = {
        name: _strip_folder(value)
        for name, value in flatten(run.config)
        if not _is_below(name, _NO_SETTING)
    }
    if settings.get("sampler.seed") in (run.seed, "${seed}"):
        del settings["sampler.seed"]
    return settings | {name: run.result["data"].get(name) for name in ("split", "weights")}


def _fill_missing(variant: RunSettings, others: Sequence[RunSettings]) -> Settings:
    """Settings that a variant lacks and runs of other code have, all with one value."""
    values: dict[str, list[Any]] = {}
    for other in others:
        if other.place == variant.place and other.run.result.get("code") != variant.run.result.get(
            "code"
        ):
            for name in other.settings.keys() - variant.settings.keys():
                group = name.partition(".")[0]
                if other.choice(group) == variant.choice(group):
                    values.setdefault(name, []).append(other.settings[name])
    return {
        name: found[0]
        for name, found in values.items()
        if all(value == found[0] for value in found)
    }


def _short(value: object) -> str:
    """A value as in an override; of a function or class its last name, of a hash its first digits."""
    if not isinstance(value, str):
        return json.dumps(value, default=str)
    is_hash = len(value) == 64 and set(value) <= set("0123456789abcdef")
    return (
        value[:8]
        if is_hash
        else value.rpartition(".")[2]
        if value.startswith(("msdn_lit.", "torch."))
        else value
    )


def _strip_folder(value: object) -> object:
    return PurePath(value).name if isinstance(value, str) and value.startswith("/") else value


def _is_below(name: str, roots: Sequence[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)
