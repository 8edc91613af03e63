"""The memory of a search: an Optuna study in a file, which outlives the search and to which its workers report.

It is a journal, not a database: that works on network file systems too, where SQLite's locks do not.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msdn_lit.errors import READ_ERRORS, ConfigError, one_line

if TYPE_CHECKING:
    import optuna

JOURNAL, _NAME, _ASKED = "study.journal", "msdn-lit", "asked"
_ACTION = "Give this search another sweep_name."


class Suggestion(NamedTuple):
    """A trial to run.

    Attributes:
        number: The trial's in the study.
        values: Value of each setting that the search varies.
    """

    number: int
    values: Mapping[str, Any]


class Search:
    """Says which trials to run next until so many have finished, whenever and by whichever process.

    Each value is drawn with a seed of its own and follows from what the study holds: a search of one trial at a time
    that is killed, even between two values, and goes on makes the trials that it would have made.

    Args:
        path: The study's journal.
        asked: What makes it this search and no other, by name.
        space: Name of a setting -> what it may be.
        sampler: Makes a sampler of a seed.
        n_trials: Number of trials that shall have finished in the end, pruned ones included.

    Raises:
        ConfigError: The journal is another search's, or damaged.
    """

    def __init__(
        self,
        path: Path,
        asked: Mapping[str, str],
        space: "Mapping[str, optuna.distributions.BaseDistribution]",
        sampler: "Callable[[int], optuna.samplers.BaseSampler]",
        n_trials: int,
    ) -> None:
        self.study = _study(path, asked)
        self.space = dict(space)
        self.sampler = sampler
        self.n_trials = n_trials

    def batches(self, size: int) -> Iterator[list[Suggestion]]:
        """Batches of trials; each is to be told before the next one is asked for.

        First those that a killed search left running, then those that had failed, then new ones. One that fails now is
        not repeated now.
        """
        interrupted = [trial.number for trial in self._in("RUNNING")]
        new = self.n_trials - len(self._in("COMPLETE", "PRUNED")) - len(interrupted)
        self._queue_failed()
        while interrupted or new > 0:
            batch, interrupted = interrupted[:size], interrupted[size:]
            num_asked = max(0, min(size - len(batch), new))
            new -= num_asked
            yield [self._again(number) for number in batch] + [
                self._ask() for _ in range(num_asked)
            ]

    def tell(self, number: int, state: str, objective: float | None) -> None:
        """Notes how a trial ended; one that did not end stays running, to be gone on with."""
        from optuna.trial import TrialState

        if state == "finished":
            self.study.tell(number, objective)
        elif state in ("pruned", "failed"):
            self.study.tell(
                number, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL
            )

    def _ask(self) -> Suggestion:
        self._seed(len(self.study.trials), 0)
        return self._suggestion(self.study.ask())

    def _again(self, number: int) -> Suggestion:
        """What was suggested for a trial, and what had not been noted of it when the search was killed."""
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
        """Suggests again what has failed and was not repeated since."""
        again = [trial.params for trial in self._in("COMPLETE", "PRUNED", "RUNNING")]
        again += [trial.system_attrs["fixed_params"] for trial in self._in("WAITING")]
        for trial in self._in("FAIL"):
            if trial.params not in again:
                again.append(trial.params)
                self.study.enqueue_trial(trial.params)

    def _in(self, *states: str) -> "list[optuna.trial.FrozenTrial]":
        return [
            trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name in states
        ]


def open_study(path: Path, pruner: "optuna.pruners.BasePruner | None" = None) -> "optuna.Study":
    """The study of a search, for a worker."""
    import optuna

    return optuna.load_study(study_name=_NAME, storage=_storage(path), pruner=pruner)


def _study(path: Path, asked: Mapping[str, str]) -> "optuna.Study":
    """The study in a journal, made if there is none, and held to what is asked."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _drop_torn_line(path)
        storage = _storage(path)
        others = set(optuna.get_all_study_names(storage)) - {_NAME}
        study = optuna.create_study(
            storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True
        )
        known = study.user_attrs.get(_ASKED, {} if others or study.trials else dict(asked))
        known = known | {"direction": study.direction.name.lower()}
    except READ_ERRORS as error:
        raise ConfigError(
            f"{path} cannot be read as a study ({one_line(error)})", action=_ACTION
        ) from error
    for name, expected in {**asked, "direction": "maximize"}.items():
        if known.get(name) != expected:
            found = known.get(name, "none")
            raise ConfigError(
                f"{path} is of another search: {name}",
                expected=expected,
                found=found,
                action=_ACTION,
            )
    study.set_user_attr(_ASKED, dict(asked))
    return study


def _storage(path: Path) -> "optuna.storages.JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def _drop_torn_line(path: Path) -> None:
    """Removes the half line that a full disk leaves: the next one would be appended to it."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
