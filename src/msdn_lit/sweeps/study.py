"""The state of a search: an Optuna study in a file, to which the workers report.

It is a journal, not a database. SQLite's locks do not work on network file systems.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msdn_lit.errors import READ_ERRORS, ConfigError, one_line
from msdn_lit.files import make_folder

if TYPE_CHECKING:
    import optuna

_NAME = "msdn-lit"
_FINGERPRINT = "asked"  # version 0.1 stored the fingerprint under this name
_ACTION = "Use another sweep_name for this search."


class Suggestion(NamedTuple):
    """A trial to run.

    Attributes:
        number: Number of the trial in the study.
        values: Value of each setting that the search varies.
    """

    number: int
    values: Mapping[str, Any]


class Search:
    """Suggests trials until enough of them have finished, in this process or earlier ones.

    Each value is sampled with its own seed and depends only on the content of the study. So a
    search of one trial at a time that is killed, even between two values, and resumed suggests the
    same trials as an undisturbed search.

    Args:
        path: Journal of the study.
        fingerprint: Properties of this search by name. A study with other ones is refused.
        space: Distribution of each setting that the search varies.
        sampler: Function that makes an Optuna sampler of a seed.
        n_trials: Total number of trials that must finish, including pruned ones.

    Raises:
        ConfigError: The journal belongs to another search, or is damaged.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: Mapping[str, str],
        space: "Mapping[str, optuna.distributions.BaseDistribution]",
        sampler: "Callable[[int], optuna.samplers.BaseSampler]",
        n_trials: int,
    ) -> None:
        self.study = _load_or_create(path, fingerprint)
        self.space = dict(space)
        self.sampler = sampler
        self.n_trials = n_trials

    @property
    def num_done(self) -> int:
        """Number of trials that have finished or were pruned."""
        return len(self._in("COMPLETE", "PRUNED"))

    def batches(self, size: int) -> Iterator[list[Suggestion]]:
        """Returns batches of trials. Call `tell` for a batch before the next one is requested.

        Trials that a killed search left running come first, then those that had failed, then new
        ones. A trial that fails during this search is not repeated by it.

        Args:
            size: Maximum number of trials in a batch.
        """
        interrupted = [trial.number for trial in self._in("RUNNING")]
        new = self.n_trials - self.num_done - len(interrupted)
        self._queue_failed()
        while interrupted or new > 0:
            batch, interrupted = interrupted[:size], interrupted[size:]
            num_asked = max(0, min(size - len(batch), new))
            new -= num_asked
            again = [self._suggest_again(number) for number in batch]
            yield again + [self._ask() for _ in range(num_asked)]

    def tell(self, number: int, state: str, objective: float | None) -> None:
        """Records how a trial ended. A trial that did not end stays running, and is resumed."""
        from optuna.trial import TrialState

        if state == "finished":
            self.study.tell(number, objective)
        elif state == "pruned":
            self.study.tell(number, state=TrialState.PRUNED)
        elif state == "failed":
            self.study.tell(number, state=TrialState.FAIL)

    def _ask(self) -> Suggestion:
        self._seed(len(self.study.trials), 0)
        return self._suggestion(self.study.ask())

    def _suggest_again(self, number: int) -> Suggestion:
        """Returns an interrupted trial; samples the values that its search had not stored."""
        import optuna

        self._seed(number, 0)
        return self._suggestion(optuna.Trial(self.study, self.study.trials[number]._trial_id))

    def _suggestion(self, trial: "optuna.Trial") -> Suggestion:
        values = {}
        for position, (name, distribution) in enumerate(self.space.items()):
            self._seed(trial.number, position)
            values[name] = trial._suggest(name, distribution)
        return Suggestion(trial.number, values)

    def _seed(self, number: int, position: int) -> None:
        self.study.sampler = self.sampler(number * len(self.space) + position)

    def _queue_failed(self) -> None:
        """Queues the failed trials that were not repeated yet."""
        repeated = [trial.params for trial in self._in("COMPLETE", "PRUNED", "RUNNING")]
        repeated += [trial.system_attrs["fixed_params"] for trial in self._in("WAITING")]
        for trial in self._in("FAIL"):
            if trial.params not in repeated:
                repeated.append(trial.params)
                self.study.enqueue_trial(trial.params)

    def _in(self, *states: str) -> "list[optuna.trial.FrozenTrial]":
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.name in states]


def open_study(path: Path, pruner: "optuna.pruners.BasePruner | None" = None) -> "optuna.Study":
    """Returns the study in a journal that exists, for a worker."""
    import optuna

    return optuna.load_study(study_name=_NAME, storage=_storage(path), pruner=pruner)


def _load_or_create(path: Path, fingerprint: Mapping[str, str]) -> "optuna.Study":
    """Returns the study in a journal, a new one if there is none.

    Raises:
        ConfigError: The study has another fingerprint, or its journal is damaged.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_folder(path.parent)
    try:
        _remove_incomplete_line(path)
        storage = _storage(path)
        others = set(optuna.get_all_study_names(storage)) - {_NAME}
        study = optuna.create_study(
            storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True
        )
        without = {} if others or study.trials else dict(fingerprint)
        found = study.user_attrs.get(_FINGERPRINT, without)
        found = found | {"direction": study.direction.name.lower()}
    except READ_ERRORS as error:
        problem = f"{path} cannot be read as a study ({one_line(error)})"
        raise ConfigError(problem, action=_ACTION) from error
    for name, expected in {**fingerprint, "direction": "maximize"}.items():
        if found.get(name) != expected:
            problem = f"{path} belongs to another search: {name}"
            value = found.get(name, "none")
            raise ConfigError(problem, expected=expected, found=value, action=_ACTION)
    study.set_user_attr(_FINGERPRINT, dict(fingerprint))
    return study


def _storage(path: Path) -> "optuna.storages.JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def _remove_incomplete_line(path: Path) -> None:
    """Removes an incomplete last line, which a full disk leaves; Optuna would append to it.

    The file is shortened in place, since a full disk has no room for a copy.
    """
    content = path.read_bytes() if path.is_file() else b""
    complete = content.rfind(b"\n") + 1
    if complete != len(content):
        os.truncate(path, complete)
