"""Finding and reading run folders. Every file is checked, since it may come from elsewhere.

A run folder has config.yaml from the start of the run and result.json after its end. A folder with
metrics.json is a record (`analysis.output.records`), not a run.
"""

import csv
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from msdn_lit.errors import READ_ERRORS, CheckpointError, ConfigError, one_line
from msdn_lit.metrics.curve import best_point, seen_unseen_auc
from msdn_lit.runs.attention_file import read_attention
from msdn_lit.runs.config import read_config
from msdn_lit.runs.layout import (
    ATTENTION,
    CLASS_NAMES,
    CONFIG,
    RECORD_METRICS,
    RESULT,
    SCORES,
    metrics_files,
    score_cache_path,
)
from msdn_lit.runs.score_cache import ScoreCache, read_class_names
from msdn_lit.runs.summary import read_result
from msdn_lit.runs.version_0_1 import translate_experiment

Scores = Mapping[str, float]


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
        class_names: Names by class id, if the run left them beside its caches.
    """

    folder: Path
    result: Mapping[str, Any]
    config: Mapping[str, Any]
    curves: Mapping[str, CurvePoint]
    history: Mapping[int, Scores]
    losses: Mapping[int, Scores]
    class_names: list[str] | None

    @property
    def seed(self) -> int:
        """Seed of initialisation and batches."""
        seed: int = self.result["seed"]
        return seed

    @property
    def recipe(self) -> str:
        """The experiments of the command, e.g. "cub_gzsl + ablation/full"; "" without one."""
        return recipe_of(overrides_of(self.result))

    @property
    def scores(self) -> Mapping[str, Scores]:
        """Evaluation -> step and scores as fractions."""
        scores: Mapping[str, Scores] = self.result["scores"]
        return scores

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
        for folder in _run_folders(path, known, found.faults):
            if not os.path.lexists(folder / RESULT):
                found.unfinished.append(folder)
                continue
            with _collected(found.faults):
                run, faults = read_run(folder)
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
    result = read_result(folder)
    config = read_config(folder)
    faults: list[str] = []
    curves: dict[str, CurvePoint] = {}
    names: list[str] | None = None
    history: Mapping[int, Scores] = {}
    losses: Mapping[int, Scores] = {}
    for evaluation, scores in result["scores"].items():
        path = score_cache_path(folder, evaluation)
        if os.path.lexists(path):
            with _collected(faults):
                cache = ScoreCache.load(path)
                curves[evaluation] = _read_curve(path, cache, scores["step"])
                names = names or _read_names(path.with_name(CLASS_NAMES), cache)
    with _collected(faults):
        rows = _read_metrics(folder)
        history = _history(rows, f"{result['stage']}/", result["scores"].get("last"))
        losses = {int(row["step"]) + 1: found for row in rows if (found := _losses(row))}
    if os.path.lexists(folder / ATTENTION) and read_attention(folder, result["scores"]) is None:
        problem = f"{folder / ATTENTION} is damaged or of another training"
        faults.append(f"{problem}. msdn attention {folder} writes it again.")
    return Run(folder, result, config, curves, history, losses, names), faults


def overrides_of(result: Mapping[str, Any]) -> list[str]:
    """Returns the words after `msdn train`, `msdn finetune` or `msdn-train` (version 0.1)."""
    words = shlex.split(str(result.get("command", "")))
    return words[1 if words[:1] == ["msdn-train"] else 2 :]


def program_of(result: Mapping[str, Any]) -> list[str]:
    """Returns the command that trained a run: `msdn finetune` or `msdn train`."""
    words = shlex.split(str(result.get("command", "")))
    return ["msdn", "finetune" if words[1:2] == ["finetune"] else "train"]


def recipe_of(words: Sequence[str]) -> str:
    """Returns the experiments among the words of a command, in the form of `Run.recipe`."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    names = chosen[-1].strip("[]").split(",") if chosen else []
    return " + ".join(translate_experiment(name) for name in names)


def _run_folders(root: Path, known: set[str], faults: list[str]) -> Iterator[Path]:
    """Yields the run folders below a folder. Links are followed; no folder is visited twice."""

    def report(error: OSError) -> None:
        faults.append(f"{error.filename} cannot be read ({error.strerror}).")

    for place, folders, files in os.walk(root, onerror=report, followlinks=True):
        if os.path.realpath(place) in known:
            folders.clear()
            continue
        known.add(os.path.realpath(place))
        present = {*folders, *files}
        folders[:] = sorted(
            name for name in folders if not name.startswith(".")
        )  # .hydra holds a config.yaml, too
        if CONFIG in present and (RESULT in present or RECORD_METRICS not in present):
            folders.clear()
            yield Path(place)


@contextmanager
def _collected(faults: list[str]) -> Iterator[None]:
    """Adds what is wrong with a file to a list, so that the rest of the run can be read."""
    try:
        yield
    except (CheckpointError, ConfigError) as error:
        if str(error) not in faults:  # several evaluations share the class names
            faults.append(str(error))


def _read_curve(path: Path, cache: ScoreCache, step: float) -> CurvePoint:
    if cache.step != step:
        raise CheckpointError(
            f"{path} is of another evaluation",
            expected=f"step {step}",
            found=cache.step,
            action="Evaluate again.",
        )
    curve = cache.curve()
    best = best_point(curve)
    return CurvePoint(seen_unseen_auc(curve), float(best.harmonic_mean), float(best.calibration))


def _read_names(path: Path, cache: ScoreCache) -> list[str] | None:
    if not os.path.lexists(path):
        return None
    names = read_class_names(path)
    expected, found = cache.logits_ONC.shape[2], len(names)
    if found != expected:
        raise CheckpointError(f"{path} does not fit", expected=f"{expected} classes", found=found)
    return names


def _read_metrics(folder: Path) -> list[dict[str, float]]:
    """Reads the CSV files in metrics/: the non-empty cells of each row.

    Raises:
        CheckpointError: A file is damaged.
    """
    rows: list[dict[str, float]] = []
    for path in metrics_files(folder):
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
