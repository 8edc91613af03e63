"""What a person reads while a sweep runs: a line at the start and at the end of each trial."""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from msdn_lit.progress import Surroundings
from msdn_lit.runs.layout import SCORES
from msdn_lit.sweeps.trials import Trial, trials_in

_MOST_NAMES = 3


@dataclass
class SweepLines:
    """The lines of the trials of one sweep. Processes of launchers have copies.

    Attributes:
        total: Number of trials of the sweep.
        fixed: Overrides that all trials have.
        parallel: Number of trials at the same time.
        first: Number of the trial that Hydra's job 0 is, from 1.
    """

    total: int
    fixed: Collection[str] = ()
    parallel: int = 1
    first: int = 1

    def label(self, job: int) -> str:
        """Returns the name of a trial in the lines: "trial 3 of 12"."""
        return f"trial {self.first + job} of {self.total}"

    def surroundings(self, job: int) -> Surroundings:
        """Returns what the progress line of a trial is among."""
        return Surroundings(self.label(job), has_terminal=self.parallel == 1)

    def start(self, job: int, trial: Trial) -> str:
        """Returns the line at the start of a trial, with the time left if a trial has finished."""
        left = max(1, self.total - self.first - job + 1)
        results = [other.result or {} for other in trials_in(trial.folder.parent)]
        times = [float(result["wall_time_s"]) for result in results if "wall_time_s" in result]
        seconds = statistics.mean(times) * left / min(left, self.parallel) if times else None
        rest = f", {rough_duration(seconds)} left" if seconds else ""
        return f"{self.label(job)}{rest}: {self.settings(trial)}"

    def end(self, job: int, trial: Trial) -> str:
        """Returns the line at the end of a trial: its last scores in percent, and its folder."""
        last = (trial.result or {}).get("scores", {}).get("last", {})
        scores = [f"{name} {100 * last[key]:.1f}" for key, name in SCORES.items() if key in last]
        return "  ".join([self.label(job), *scores, trial.folder.name, self.settings(trial)])

    def settings(self, trial: Trial) -> str:
        """Returns what distinguishes a trial: its overrides that not all trials have."""
        return " ".join(o for o in trial.settings if o not in self.fixed) or "one setting"


def common_overrides(trials: Sequence[Trial]) -> set[str]:
    """Returns the overrides of all trials; of a single one, nothing is common."""
    if len(trials) < 2:
        return set()
    return set.intersection(*(set(trial.overrides) for trial in trials))


def skipped_line(trials: Sequence[Trial], total: int) -> str:
    """Returns one line for the trials that were finished before."""
    names = [trial.folder.name for trial in trials]
    rest = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
    return f"{len(trials)} of {total} trials are finished and skipped: {shown}"


def rough_duration(seconds: float) -> str:
    """Returns a time as a person says it: "about 40 s", "about 20 min", "about 3 h"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.0f} h"
