"""Settings in which runs differ, besides the seed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from msdn_lit.runs.reader import Run
from msdn_lit.runs.summary import is_number, partial

Settings = dict[str, Any]

# Of the data of a run: they stand among its settings, and are no overrides.
DATA_IDENTITIES = ("split", "weights", "word_vectors")
# Settings that change no score, or that belong to a machine or to one run. trainer.devices and
# trainer.strategy may change scores: a net draws other dropout masks in each process.
NO_SETTING = (
    "seed",
    "paths",
    "ckpt_path",
    "task_name",
    "name",
    "tags",
    "print_config",
    "sweep_name",
    "resume",
    "overwrite",
    "objective",
    "callbacks",
    "logger",
    "debug",
    "recipe_of",
    "data.data_dir",
    "data.folder",
    "data.store_dir",
    "data.feature_cache",
    "data.num_workers",
    "data.eval_batch_size",
    "features.device",
    "features.batch_size",
    "features.num_workers",
    "features.processes",
    "features.backbone.weights_file",
    "features.backbone.weights_package",
    "trainer.accelerator",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "trainer.detect_anomaly",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "protocol.selection",
    "protocol.save_all_scores",
)
_COUNT_OR_SHARE = "trainer.val_check_interval"  # 1 is every step, 1.0 is once a pass
# Config groups whose choice is a column of every table, and the entry of result.json.
COLUMNS = {"data": "benchmark", "features": "features", "protocol": "protocol"}


class RunSettings(NamedTuple):
    """A run and all its settings by dotted key."""

    run: Run
    settings: Settings

    @property
    def context(self) -> tuple[str, str]:
        """Benchmark and backbone. A name distinguishes runs of the same context."""
        return self.run.result["benchmark"], self.run.result["features"]

    @property
    def key(self) -> str:
        """Identity of the settings: equal for runs that differ only in their seed."""
        result = self.run.result
        parts = [*self.context, result["protocol"], result["stage"], partial(result)]
        given = {
            name: value if name == _COUNT_OR_SHARE else _plain(value)
            for name, value in self.settings.items()
            if value is not None
        }
        return json.dumps([parts, given], sort_keys=True, default=str)

    def choice(self, group: str) -> str | None:
        """Chosen file of a config group; None if the choice says nothing about the scores."""
        if group in COLUMNS:
            return str(self.run.result[COLUMNS[group]])
        choice = self.run.result["choices"].get(group)
        is_of_machine = group == "trainer"  # trainers are named after machines
        return None if choice is None or is_of_machine else str(choice)


def settings_of(runs: Sequence[Run]) -> list[RunSettings]:
    """Returns the settings of some runs.

    Older code lacks some settings. Such a setting gets the value that all other runs with the same
    choices have, if they agree.
    """
    variants = [RunSettings(run, _settings(run)) for run in runs]
    missing = [_fill_missing(variant, variants) for variant in variants]
    return [
        RunSettings(variant.run, variant.settings | more)
        for variant, more in zip(variants, missing, strict=True)
    ]


def flatten(node: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested mappings by dotted key; lists and empty mappings are leaves."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: Any) -> Any:  # noqa: ANN401 - any setting
    """Returns a setting in one spelling: 0 and 0.0 are one number."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if is_number(value) else value


def _settings(run: Run) -> Settings:
    """Settings from the config, absolute paths by their last part, and identities of the data."""
    settings = {
        name: _strip_folder(value)
        for name, value in flatten(run.config)
        if not is_below(name, NO_SETTING)
    }
    if settings.get("sampler.seed") in (run.seed, "${seed}"):
        del settings["sampler.seed"]
    data = run.result["data"]
    word_vectors = data.get("word_vectors")
    vectors = word_vectors.get("sha256") if isinstance(word_vectors, dict) else None
    identities = (data.get("split"), data.get("weights"), vectors)
    return settings | dict(zip(DATA_IDENTITIES, identities, strict=True))


def _fill_missing(variant: RunSettings, others: Sequence[RunSettings]) -> Settings:
    """Settings that a variant lacks and runs of other code have, all with one value."""
    values: dict[str, list[Any]] = {}
    for other in others:
        is_other_code = other.run.result.get("code") != variant.run.result.get("code")
        if other.context == variant.context and is_other_code:
            for name in other.settings.keys() - variant.settings.keys():
                group = name.partition(".")[0]
                if other.choice(group) == variant.choice(group):
                    values.setdefault(name, []).append(other.settings[name])
    return {
        name: found[0]
        for name, found in values.items()
        if all(value == found[0] for value in found)
    }


def _strip_folder(value: object) -> object:
    return PurePath(value).name if isinstance(value, str) and value.startswith("/") else value


def is_below(name: str, roots: Sequence[str]) -> bool:
    """Whether a dotted key is one of some keys, or is inside one of them."""
    return any(name == root or name.startswith(f"{root}.") for root in roots)
