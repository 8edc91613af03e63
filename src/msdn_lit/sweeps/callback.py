"""What happens around the jobs of a sweep: failures are written down, the others go on, a table ends it."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from msdn_lit.errors import FullDiskError, Pruned, UserError, print_error
from msdn_lit.sweeps.trials import FAILURE, PRUNED, Trial, trials_in

if TYPE_CHECKING:
    from rich.table import Table

SOME_TRIALS_FAILED = 1


class SweepCallback(Callback):
    """Hydra's callback of msdn-train; single runs pass it by."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's
        """Writes a job's failure into its folder, where it happened, and lets the sweep go on."""
        if config.hydra.mode != RunMode.MULTIRUN or job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value
        folder = Path(config.hydra.runtime.output_dir)
        if isinstance(error, UserError):
            print_error(f"trial {folder.name}", error)
        elif not isinstance(error, Pruned):
            print("".join(traceback.format_exception(error)), file=sys.stderr)
        if not isinstance(error, FullDiskError):  # such a trial stays interrupted, and goes on
            _write_end(folder, error)
        job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's
        """Prints the table of all trials in the sweep's folder.

        Raises:
            SystemExit: Some have failed, or were left unfinished by workers that died.
        """
        from rich.console import Console

        folder = Path(str(config.hydra.sweep.dir))
        trials = sorted(trials_in(folder), key=lambda trial: trial.overrides)
        Console().print(_table(trials, config.objective), f"[bold]{folder}[/bold]")
        if any(trial.state not in ("finished", "pruned") for trial in trials):
            sys.exit(SOME_TRIALS_FAILED)


def _write_end(folder: Path, error: BaseException) -> None:
    """Marks a trial as failed or pruned, with a user's fault as its line and our own as its traceback."""
    is_known = isinstance(error, UserError | Pruned)
    text = f"{error}\n" if is_known else "".join(traceback.format_exception(error))
    (folder / (PRUNED if isinstance(error, Pruned) else FAILURE)).write_text(text)


def _table(trials: Sequence[Trial], objective: str | None) -> "Table":
    """A row for each trial: what it changes, its state or failure, its last scores, and the objective."""
    from rich.table import Table

    from msdn_lit.runs.layout import SCORES

    common = (
        set.intersection(*(set(trial.settings) for trial in trials)) if len(trials) > 1 else set()
    )
    scored = [trial for trial in trials if trial.objective is not None]
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
