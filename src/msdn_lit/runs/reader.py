"""Finding and reading run folders. Every file is checked, since it may come from elsewhere.

A run folder has config.yaml from the start of the run and result.json after its end. A folder with
metrics.json is a record (`analysis.output.records`), not a run.
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

from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.metrics.curve import best_point, seen_unseen_auc
from msdn_lit.runs.config import read_config
from msdn_lit.runs.layout import (
    CLASS_NAMES,
    CONFIG,
    RECORD_METRICS,
    RESULT,
    SCORES,
    score_cache_path,
)
from msdn_lit.runs.score_cache import ScoreCache, read_class_names
from msdn_lit.runs.version_0_1 import translate_choices, translate_experiment

Scores = Mapping[str, float]

_NEEDED: Mapping[str, Any] = {
    **dict.fromkeys(("benchmark", "features", "protocol", "stage", "code", "device"), str),
    **dict.fromkeys(("choices", "scores", "data", "versions"), dict),
    **{"seed": int, "wall_time_s": (int, float)},
}


class CurvePoint(NamedTuple):
    """Numbers from a score cache beyond the reported scores.

    Attributes:
        ausuc: Area under the seen-unseen curve, a fraction.
        best_harmonic_mean: The largest H of the curve, a fraction.
        best_calibration: The calibration that gives it. On test images it is an oracle.
    """

    ausuc: float
    best_harmonic_mean: float
    best_calibration: float


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        folder: Run folder.
        result: Content of result.json, with the checks of `read_run`.
        config: Content of config.yaml, with unresolved references.
        curves: Numbers of each evaluation whose score cache exists and is complete.
        history: Scores of every evaluation by training step; empty if metrics/ is missing or
            incomplete.
        losses: The logged training loss and its terms by step.
    """

    folder: Path
    result: Mapping[str, Any]
    config: Mapping[str, Any]
    curves: Mapping[str, CurvePoint]
    history: Mapping[int, Scores]
    losses: Mapping[int, Scores]

    @property
    def seed(self) -> int:
        """Seed of initialisation and batches."""
        seed: int = self.result["seed"]
        return seed

    @property
    def recipe(self) -> str:
        """The experiments of the command, e.g. "cub_gzsl + ablation/full"; "" without one."""
        return recipe_of(shlex.split(str(self.result.get("command", ""))))

    @property
    def scores(self) -> Mapping[str, Scores]:
        """Evaluation -> step and scores as fractions."""
        scores: Mapping[str, Scores] = self.result["scores"]
        return scores

    @property
    def class_names(self) -> list[str] | None:
        """Names by class id, if the run left them beside its caches."""
        path = score_cache_path(self.folder, "last").with_name(CLASS_NAMES)
        return read_class_names(path) if path.is_file() else None

    def cache(self, evaluation: str) -> ScoreCache:
        """The score cache of an evaluation that is among `curves`."""
        return ScoreCache.load(score_cache_path(self.folder, evaluation))


class RunScan(NamedTuple):
    """What some paths hold.

    Attributes:
        runs: Finished runs, in the order of their paths.
        unfinished: Folders of runs without a result.
        faults: One sentence for each damaged file; the runs without it are among `runs` where that
            is possible.
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
        The run, and a sentence for each of its other files that is damaged or of another
        evaluation.

    Raises:
        CheckpointError: result.json or config.yaml is missing, damaged, or holds scores that are no
            numbers.
    """
    result = _load_result(folder / RESULT)
    config = read_config(folder)
    _check_result(folder / RESULT, result)
    curves: dict[str, CurvePoint] = {}
    history: Mapping[int, Scores] = {}
    losses: Mapping[int, Scores] = {}
    faults = []
    for evaluation, scores in result["scores"].items():
        if score_cache_path(folder, evaluation).exists():
            try:
                curves[evaluation] = _read_curve(
                    score_cache_path(folder, evaluation), scores["step"]
                )
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
    """Returns the experiments among the words of a command, in the form of `Run.recipe`."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    names = chosen[-1].strip("[]").split(",") if chosen else []
    return " + ".join(translate_experiment(name) for name in names)


def is_number(value: object) -> bool:
    """Whether a value read from a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _run_folders(root: Path, known: set[str]) -> Iterator[Path]:
    """Yields the run folders below a folder. Links are followed; no folder is visited twice."""
    for place, folders, files in os.walk(root, followlinks=True):
        if os.path.realpath(place) in known:
            folders.clear()
            continue
        known.add(os.path.realpath(place))
        folders[:] = sorted(
            name for name in folders if not name.startswith(".")
        )  # .hydra holds a config.yaml, too
        if CONFIG in files and (RESULT in files or RECORD_METRICS not in files):
            folders.clear()
            yield Path(place)


def _load_result(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except READ_ERRORS as error:
        problem = f"{path} is damaged ({one_line(error)})"
        raise CheckpointError(problem, action="Train again.") from error
    if not isinstance(content, dict):
        expected = "names and values"
        raise CheckpointError(f"{path} is damaged", expected=expected, action="Train again.")
    if isinstance(content.get("choices"), dict):
        content["choices"] = translate_choices(content["choices"])
    return content


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
    curve = cache.curve()
    best = best_point(curve)
    return CurvePoint(
        float(seen_unseen_auc(curve)), float(best.harmonic_mean), float(best.calibration)
    )


def _read_metrics(folder: Path) -> list[dict[str, float]]:
    """Reads the CSV files in metrics/: the non-empty cells of each row.

    Raises:
        CheckpointError: A file is damaged.
    """
    rows: list[dict[str, float]] = []
    for path in sorted(folder.glob("metrics/version_*/metrics.csv")):
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
    """Returns the scores by step. Lightning logs evaluations during training one step earlier."""
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
