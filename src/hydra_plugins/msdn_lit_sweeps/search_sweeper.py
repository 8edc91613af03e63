"""The sweeper of a search: Optuna suggests trials, the launcher runs them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    import optuna

    from hydra_plugins.msdn_lit_sweeps.trial_launcher import TrialLauncher
    from msdn_lit.sweeps.study import Search, Suggestion

_SEEDS_PER_SEARCH = 10_000  # each value of a search is sampled with its own seed
_ACTION = "Use protocol=validation objective=val/harmonic_mean, as in conf/hparams_search/."


class SearchSweeper(Sweeper):
    """Searches for the settings with the largest objective.

    The study is in the folder of the sweep, so the same command resumes it. A larger n_trials adds
    trials.

    Args:
        n_trials: Total number of trials that must finish.
        sampler: Function that makes an Optuna sampler of a seed.
        seed: Seed of the search.
        params: Key of each setting to vary -> its values, written as on the command line, which has
            precedence.
    """

    def __init__(
        self,
        n_trials: int,
        sampler: "Callable[..., optuna.samplers.BaseSampler]",
        seed: int,
        params: DictConfig | None = None,
    ) -> None:
        self.n_trials = n_trials
        self.params = dict(params or {})
        self.sampler = lambda number: sampler(seed=_SEEDS_PER_SEARCH * seed + number)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Checks the objective and makes the launcher.

        Raises:
            LeakError: Test scores would choose the settings.
            ConfigError: There is no objective, or the protocol does not measure it.
        """
        _check_objective(config)
        self.objective = str(config.objective)
        launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)
        self.trial_launcher = cast("TrialLauncher", launcher)
        self.loader = hydra_context.config_loader

    def sweep(self, arguments: list[str]) -> None:
        """Runs trials until enough of them have finished."""
        overrides = self._overrides(arguments)
        fixed = [o.input_line or "" for o in overrides if not o.is_sweep_override()]
        space = {o.get_key_element(): distribution(o) for o in overrides if o.is_sweep_override()}
        with self.trial_launcher.trials.lock():
            search = self._search(fixed, space)
            self.trial_launcher.num_trials = self.n_trials
            self.trial_launcher.num_done = search.num_done
            self.trial_launcher.fixed = fixed
            index = 0
            for batch in search.batches(self.trial_launcher.num_parallel):
                self._run(search, batch, fixed, index)
                index += len(batch)

    def _overrides(self, arguments: list[str]) -> list[Override]:
        parser = OverridesParser.create(config_loader=self.loader)
        typed = parser.parse_overrides(arguments)
        keys = {override.get_key_element() for override in typed}
        configured = [f"{key!s}={value}" for key, value in self.params.items() if key not in keys]
        return typed + parser.parse_overrides(configured)

    def _search(
        self, fixed: list[str], space: "dict[str, optuna.distributions.BaseDistribution]"
    ) -> "Search":
        """Opens the study.

        Raises:
            ConfigError: Nothing varies, or the seed does, or the study is of another search.
        """
        from msdn_lit.errors import ConfigError
        from msdn_lit.runs.layout import JOURNAL
        from msdn_lit.sweeps.identity import trial_id
        from msdn_lit.sweeps.study import Search

        if not space:
            problem = "A search needs a setting to vary"
            raise ConfigError(problem, action='For example "optimizer.lr=interval(1e-5,1e-3)".')
        if "seed" in space:
            action = "Search with one seed, then train the chosen settings with several."
            raise ConfigError("A search over seeds would choose the luckiest seed", action=action)
        trials = self.trial_launcher.trials
        fingerprint = {
            "objective": self.objective,
            "space": ", ".join(f"{name}: {values}" for name, values in sorted(space.items())),
            "settings, code or data": trial_id(trials.compose(fixed)),
        }
        return Search(trials.folder / JOURNAL, fingerprint, space, self.sampler, self.n_trials)

    def _run(
        self, search: "Search", batch: "list[Suggestion]", fixed: list[str], index: int
    ) -> None:
        from msdn_lit.sweeps.trials import Trial

        jobs = []
        for number, values in batch:
            suggested = [f"{name}={value}" for name, value in values.items()]
            jobs.append([*fixed, *suggested, f"callbacks.pruning.number={number}"])
        returns = self.trial_launcher.launch(jobs, index)
        for suggestion, job in zip(batch, returns, strict=True):
            trial = Trial(Path(str(job.working_dir)), tuple(job.overrides or ()))
            search.tell(suggestion.number, trial.state, trial.objective)


def distribution(override: Override) -> "optuna.distributions.BaseDistribution":
    """Returns the values of an override for Optuna; all but intervals are unordered categories."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    if not isinstance(sweep, IntervalSweep):
        return CategoricalDistribution(tuple(override.sweep_string_iterator()))
    start = cast(Any, sweep.start)
    end = cast(Any, sweep.end)
    kind = IntDistribution if isinstance(start, int) else FloatDistribution
    return kind(start, end, log="log" in sweep.tags)


def _check_objective(config: DictConfig) -> None:
    from msdn_lit.errors import ConfigError, LeakError

    objective = str(config.objective)
    if objective.startswith("test/") or config.protocol.stage != "val":
        problem = "A search must not use test scores"
        found = f"objective={objective} protocol={config.protocol.name}"
        raise LeakError(problem, found=found, action=_ACTION)
    if not objective.startswith("val/"):
        problem = "A search needs an objective"
        raise ConfigError(problem, found=f"objective={objective}", action=_ACTION)
