"""Hydra's callback of a sweep: records failures, lets the other trials run, prints a table."""

import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from msdn_lit.errors import OutputError, Pruned, UserError, print_error
from msdn_lit.files import is_first_process, short_path, write_atomically
from msdn_lit.runs.layout import CONFIG, FAILURE, PRUNED, SCORES, WANDB, offline_wandb_runs
from msdn_lit.sweeps.lines import common_overrides
from msdn_lit.sweeps.trials import Trial, trials_in

if TYPE_CHECKING:
    from rich.table import Table

SOME_TRIALS_FAILED = 1  # exit code


class SweepCallback(Callback):
    """Handles the end of each trial and of the sweep. It does nothing for single runs."""

    def on_job_end(
        self,
        config: DictConfig,
        job_return: JobReturn,
        **kwargs: Any,  # noqa: ANN401 - Hydra's
    ) -> None:
        """Writes the error of a failed trial into its folder, and lets the sweep continue."""
        if config.hydra.mode != RunMode.MULTIRUN or job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value
        folder = Path(config.hydra.runtime.output_dir)
        is_first = is_first_process()
        if isinstance(error, UserError):
            if is_first:
                print_error(f"trial {folder.name}", error)
        elif not isinstance(error, Pruned):
            print("".join(traceback.format_exception(error)), file=sys.stderr)
        if is_first and not isinstance(error, OutputError):  # that trial stays interrupted
            _write_error(folder, error)
        job_return.status = JobStatus.COMPLETED
        job_return.return_value = None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's
        """Prints a table of all trials in the folder of the sweep, on the first process.

        Raises:
            SystemExit: A trial has failed, or a worker died before the trial was finished.
        """
        from msdn_lit.analysis.output.tables import print_next, terminal

        if not is_first_process():  # it may end before the first one has written the results
            return
        folder = Path(str(config.hydra.sweep.dir)).expanduser().absolute()
        trials = sorted(trials_in(folder), key=_rank)
        terminal().print(_table(trials, config.objective))
        terminal().print(str(folder), style="bold", soft_wrap=True)
        if trials and trials[0].state == "finished":
            print_next(*_next_commands(folder, trials[0], config))
        if any(offline_wandb_runs(trial.folder) for trial in trials):
            runs = f"{shlex.quote(short_path(folder))}/*/{WANDB}"
            terminal().print(f"Send to W&B with: wandb sync {runs}", soft_wrap=True)
        if any(trial.state not in ("finished", "partial", "pruned") for trial in trials):
            sys.exit(SOME_TRIALS_FAILED)


def _rank(trial: Trial) -> tuple[float, tuple[str, ...]]:
    """Returns a key that sorts trials: by objective or else by H, the best first."""
    if trial.state != "finished":
        return 1.0, trial.overrides
    scores = (trial.result or {}).get("scores", {}).get("last", {})
    score = scores.get("harmonic_mean", 0.0) if trial.objective is None else trial.objective
    return -score, trial.overrides


def _next_commands(folder: Path, best: Trial, config: DictConfig) -> list[list[str]]:
    report = ["msdn", "report", short_path(folder)]
    if config.protocol.name == "validation":
        return [report, ["msdn", "select", short_path(folder)]]
    is_run = (best.folder / CONFIG).is_file()  # and not several seeds
    return [report, ["msdn", "evaluate", short_path(best.folder)]] if is_run else [report]


def _write_error(folder: Path, error: BaseException) -> None:
    """Marks a trial as failed or pruned: the message of a user error, the traceback of a bug."""
    is_expected = isinstance(error, UserError | Pruned)
    text = f"{error}\n" if is_expected else "".join(traceback.format_exception(error))
    write_atomically(folder / (PRUNED if isinstance(error, Pruned) else FAILURE), text)


def _table(trials: Sequence[Trial], objective: str | None) -> "Table":
    """Returns a table with one row for each trial: settings, state or failure, last scores (%)."""
    from msdn_lit.analysis.output.tables import new_table

    common = common_overrides(trials)
    whole = [trial for trial in trials if trial.state == "finished"]
    scored = [trial for trial in whole if trial.objective is not None]
    best = max(scored, key=lambda trial: trial.objective or 0.0, default=None)
    table = new_table("trial", "settings", "state")
    table.title, table.title_justify = f"{len(trials)} trials (%)", "left"
    for name in (*SCORES.values(), *([objective] if objective else [])):
        table.add_column(name, justify="right")
    for trial in trials:
        last = (trial.result or {}).get("scores", {}).get("last", {})
        numbers = [f"{100 * last[score]:.1f}" if score in last else "" for score in SCORES]
        if objective:
            value = "" if trial.objective is None else f"{100 * trial.objective:.1f}"
            numbers.append(f"{value} best" if trial is best else value)
        settings = " ".join(override for override in trial.settings if override not in common)
        table.add_row(trial.folder.name, settings, trial.failure or trial.state, *numbers)
    return table
