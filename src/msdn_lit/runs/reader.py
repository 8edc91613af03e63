"""Run folders: finding them, and reading what they say without trusting it.

A run folder holds config.yaml from its first moment and result.json from its last. A folder with metrics.json is a
record (`records`), not a run.
"""

import csv
import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.metrics.curve import best_point, seen_unseen_auc
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.score_cache import CLASS_NAMES, ScoreCache, read_class_names

CONFIG, RESULT, RECORD = "config.yaml", "result.json", "metrics.json"
Scores = Mapping[str, float]

_NEEDED: Mapping[str, Any] = {
    **dict.fromkeys(("benchmark", "features", "protocol", "stage", "code", "device"), str),
    **dict.fromkeys(("choices", "scores", "data", "versions"), dict),
    **{"seed": int, "wall_time_s": (int, float)},
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CurvePoint(NamedTuple):
    """What a score cache tells beyond the scores; fractions, but for the calibration.

    Attributes:
        ausuc: Area under the seen-unseen curve.
        best_harmonic_mean: The largest H of the curve.
        best_calibration: The calibration that gives it; an oracle where the images are test images.
    """

    ausuc: float
    best_harmonic_mean: float
    best_calibration: float


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        folder: Where it lies.
        result: Content of its result.json, checked as far as `read_run` says.
        config: Content of its config.yaml, with references as they are written.
        curves: Of each evaluation whose score cache is there and whole.
        history: Scores of every evaluation by training step; none where metrics/ is not there or not whole.
        losses: The training loss and its terms by step, as far as they were logged.
    """

    folder: Path
    result: Mapping[str, Any]
    config: Mapping[str, Any]
    curves: Mapping[str, CurvePoint]
    history: Mapping[int, Scores]
    losses: Mapping[int, Scores]

    @property
    def seed(self) -> int:
        """Of initialisation and batches."""
        seed: int = self.result["seed"]
        return seed

    @property
    def recipe(self) -> str:
        """Its experiments, e.g. "cub_gzsl + ablation/full"; "" without one."""
        return recipe_of(shlex.split(str(self.result.get("command", ""))))

    @property
    def scores(self) -> Mapping[str, Scores]:
        """Evaluation -> step and scores as fractions."""
        scores: Mapping[str, Scores] = self.result["scores"]
        return scores

    @property
    def class_names(self) -> list[str] | None:
        """Names by class id, if the run left them beside its caches."""
        path = cache_path(self.folder, "last").with_name(CLASS_NAMES)
        return read_class_names(path) if path.is_file() else None

    def cache(self, evaluation: str) -> ScoreCache:
        """The score cache of an evaluation that is among `curves`."""
        return ScoreCache.load(cache_path(self.folder, evaluation))


class RunScan(NamedTuple):
    """What some paths hold.

    Attributes:
        runs: Finished runs, in the order of their paths.
        unfinished: Folders of runs without a result.
        faults: One sentence for each damaged file; the runs without it are among `runs` where that is possible.
    """

    runs: list[Run]
    unfinished: list[Path]
    faults: list[str]


def find_runs(paths: Sequence[Path]) -> RunScan:
    """Reads all runs in some folders, at any depth.

    Raises:
        CheckpointError: There is no such folder.
    """
    found = RunScan([], [], [])
    known: set[str] = set()
    for path in paths:
        if not path.is_dir():
            raise CheckpointError(
                f"{path} is no folder", action="Name run folders, or folders that contain some."
            )
        for folder in _run_folders(path, known):
            if not (folder / RESULT).exists():
                found.unfinished.append(folder)
                continue
            try:
                run, faults = read_run(folder)
            except CheckpointError as error:
                found.faults.append(str(error))
                continue
            found.runs.append(run)
            found.faults.extend(faults)
    return found


def read_run(folder: Path) -> tuple[Run, list[str]]:
    """Reads one finished run.

    Returns:
        The run, and a sentence for each of its other files that is damaged or of another evaluation.

    Raises:
        CheckpointError: result.json or config.yaml is missing, damaged, or holds scores that are no numbers.
    """
    result, config = _load(folder / RESULT, json.loads), _load(folder / CONFIG, _load_yaml)
    _check_result(folder / RESULT, result)
    curves: dict[str, CurvePoint] = {}
    history: Mapping[int, Scores] = {}
    losses: Mapping[int, Scores] = {}
    faults = []
    for evaluation, scores in result["scores"].items():
        if cache_path(folder, evaluation).exists():
            try:
                curves[evaluation] = _read_curve(cache_path(folder, evaluation), scores["step"])
            except CheckpointError as error:
                faults.append(str(error))
    try:
        rows = _read_metrics(folder)
        history = _history(rows, f"{result['stage']}/", result["scores"].get("last"))
        losses = {int(row["step"]) + 1: found for row in rows if (found := _losses(row))}
    except CheckpointError as error:
        faults.append(str(error))
    return Run(folder, result, config, curves, history, losses), faults


def recipe_of(words: Sequence[str]) -> str:
    """The experiments among the words of a command, as `Run.recipe`; Hydra's own choices leave lists out."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    return " + ".join(chosen[-1].strip("[]").split(",")) if chosen else ""


def cache_path(folder: Path, evaluation: str) -> Path:
    """Where a run keeps the scores of one evaluation."""
    return folder / "scores" / f"{evaluation}.npz"


def is_number(value: object) -> bool:
    """Whether a value read from a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _run_folders(root: Path, known: set[str]) -> Iterator[Path]:
    """Looks below a folder, through links too, but at no folder twice."""
    for place, folders, files in os.walk(root, followlinks=True):
        if os.path.realpath(place) in known:
            folders.clear()
            continue
        known.add(os.path.realpath(place))
        folders[:] = sorted(
            name for name in folders if not name.startswith(".")
        )  # .hydra holds a config.yaml, too
        if CONFIG in files and (RESULT in files or RECORD not in files):
            folders.clear()
            yield Path(place)


def _load(path: Path, parse: Any) -> dict[str, Any]:  # noqa: ANN401 - json.loads takes and gives anything
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (*READ_ERRORS, yaml.YAMLError) as error:
        raise CheckpointError(
            f"{path} is damaged ({one_line(error)})", action="Train again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} is damaged", expected="names and values", action="Train again."
        )
    return content


def _load_yaml(text: str) -> object:
    return yaml.load(text, _LOADER)


def _check_result(path: Path, result: Mapping[str, Any]) -> None:
    for name, kind in _NEEDED.items():
        if not isinstance(result.get(name), kind):
            raise CheckpointError(f"{path} has no {name}", action="Train again.")
    for evaluation, scores in result["scores"].items():
        if not isinstance(scores, dict) or not all(
            is_number(scores.get(name)) for name in ("step", *SCORES)
        ):
            raise CheckpointError(
                f"{path}: scores of {evaluation} are no numbers", action="Train again."
            )


def _read_curve(path: Path, step: float) -> CurvePoint:
    cache = ScoreCache.load(path)
    if cache.step != step:
        raise CheckpointError(
            f"{path} is of another evaluation",
            expected=f"step {step}",
            found=cache.step,
            action="Evaluate again.",
        )
    C, N = cache.logits_ONC.shape[-1], len(cache.labels_N)
    ids = (cache.labels_N, cache.seen, cache.unseen)
    if cache.logits_ONC.shape != (len(cache.fusion), N, C) or any(
        ((x < 0) | (x >= C)).any() for x in ids
    ):
        raise CheckpointError(f"{path} does not fit together", action="Evaluate again.")
    if not np.isfinite(cache.logits_ONC).all():
        raise CheckpointError(
            f"{path} holds NaN or infinity", action="Its training has diverged; train again."
        )
    curve = cache.curve()
    best = best_point(curve)
    return CurvePoint(
        float(seen_unseen_auc(curve)), float(best.harmonic_mean), float(best.calibration)
    )


def _read_metrics(folder: Path) -> list[dict[str, float]]:
    """Reads metrics/: what has a value in each row.

    Raises:
        CheckpointError: A file is damaged.
    """
    rows: list[dict[str, float]] = []
    for path in sorted(
        folder.glob("metrics/version_*/metrics.csv")
    ):  # a resumed run goes on in the next version
        try:
            with path.open(newline="", encoding="utf-8") as file:
                known = [
                    {name: float(text) for name, text in row.items() if text}
                    for row in csv.DictReader(file)
                ]
            rows += [row for row in known if int(row["step"]) >= 0]
        except (*READ_ERRORS, csv.Error) as error:
            raise CheckpointError(
                f"{path} is damaged ({one_line(error)})", action="Delete it."
            ) from error
    return rows


def _history(rows: Sequence[Scores], prefix: str, last: Scores | None) -> dict[int, Scores]:
    """Lightning counts evaluations during training from step zero, and the one after it from one."""
    history: dict[int, Scores] = {}
    for row in rows:
        scores = {name: row[prefix + name] for name in SCORES if prefix + name in row}
        if len(scores) == len(SCORES):
            step = int(row["step"]) + 1
            history[min(step, int(last["step"])) if last else step] = scores
    return history


def _losses(row: Scores) -> Scores:
    return {
        name.removeprefix("train/"): value
        for name, value in row.items()
        if name.startswith("train/")
    }
