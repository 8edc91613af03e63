"""Hydra's callback of a sweep: records failures, lets the other trials run, prints a table."""

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
from msdn_lit.files import write_atomically
from msdn_lit.runs.layout import FAILURE, PRUNED, SCORES
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
        if isinstance(error, UserError):
            print_error(f"trial {folder.name}", error)
        elif not isinstance(error, Pruned):
            print("".join(traceback.format_exception(error)), file=sys.stderr)
        if not isinstance(error, OutputError):  # that trial stays interrupted, and resumes
            _write_error(folder, error)
        job_return.status = JobStatus.COMPLETED
        job_return.return_value = None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's
        """Prints a table of all trials in the folder of the sweep.

        Raises:
            SystemExit: A trial has failed, or a worker died before the trial was finished.
        """
        from msdn_lit.analysis.output.tables import terminal

        folder = Path(str(config.hydra.sweep.dir))
        trials = sorted(trials_in(folder), key=lambda trial: trial.overrides)
        terminal().print(_table(trials, config.objective))
        terminal().print(str(folder), style="bold", soft_wrap=True)
        if any(trial.state not in ("finished", "partial", "pruned") for trial in trials):
            sys.exit(SOME_TRIALS_FAILED)


def _write_error(folder: Path, error: BaseException) -> None:
    """Marks a trial as failed or pruned: the message of a user error, the traceback of a bug."""
    is_expected = isinstance(error, UserError | Pruned)
    text = f"{error}\n" if is_expected else "".join(traceback.format_exception(error))
    write_atomically(folder / (PRUNED if isinstance(error, Pruned) else FAILURE), text)


def _table(trials: Sequence[Trial], objective: str | None) -> "Table":
    """Returns a table with one row for each trial: settings, state or failure, last scores (%)."""
    from rich.table import Table

    common: set[str] = set()
    if len(trials) > 1:
        common = set.intersection(*(set(trial.settings) for trial in trials))
    whole = [trial for trial in trials if trial.state == "finished"]
    scored = [trial for trial in whole if trial.objective is not None]
    best = max(scored, key=lambda trial: trial.objective or 0.0, default=None)
    table = Table(title=f"{len(trials)} trials (%)", title_justify="left")
    for name in ("trial", "settings", "state"):
        table.add_column(name)
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
