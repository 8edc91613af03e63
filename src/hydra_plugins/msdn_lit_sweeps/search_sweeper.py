"""The sweeper of a search: Optuna says which trials come next, the launcher runs them."""

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


class SearchSweeper(Sweeper):
    """Searches for the settings with the largest objective.

    The study lies in the sweep's folder, so the same command goes on, and more trials are asked for by a larger
    n_trials.

    Args:
        n_trials: Number of trials that shall have finished in the end.
        sampler: Makes Optuna's sampler of a seed.
        seed: Of the sampler.
        params: Override's key -> its values, as on the command line, which comes first.
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
        self.sampler = lambda number: sampler(seed=10_000 * seed + number)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Checks the objective.

        Raises:
            LeakError: Test scores would choose.
            ConfigError: There is no objective, or the protocol does not measure it.
        """
        from msdn_lit.errors import ConfigError, LeakError

        objective = self.objective = str(config.objective)
        action = "Use protocol=validation objective=val/harmonic_mean, as the files of hparams_search do."
        if objective.startswith("test/") or config.protocol.stage != "val":
            found = f"objective={objective} protocol={config.protocol.name}"
            raise LeakError(
                "A search chooses by what it sees, so never on test", found=found, action=action
            )
        if not objective.startswith("val/"):
            raise ConfigError(
                "A search needs an objective", found=f"objective={objective}", action=action
            )
        launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)
        self.trial_launcher = cast("TrialLauncher", launcher)
        self.loader = hydra_context.config_loader

    def sweep(self, arguments: list[str]) -> None:
        """Runs trials until so many have finished."""
        overrides = self._overrides(arguments)
        fixed = [
            override.input_line or "" for override in overrides if not override.is_sweep_override()
        ]
        space = {o.get_key_element(): distribution(o) for o in overrides if o.is_sweep_override()}
        with self.trial_launcher.trials.held():
            search, index = self._search(fixed, space), 0
            for batch in search.batches(self.trial_launcher.slots):
                self._run(search, batch, fixed, index)
                index += len(batch)

    def _overrides(self, arguments: list[str]) -> list[Override]:
        parser = OverridesParser.create(config_loader=self.loader)
        typed = parser.parse_overrides(arguments)
        keys = {override.get_key_element() for override in typed}
        return typed + parser.parse_overrides(
            [f"{k!s}={v}" for k, v in self.params.items() if k not in keys]
        )

    def _search(
        self, fixed: list[str], space: "dict[str, optuna.distributions.BaseDistribution]"
    ) -> "Search":
        from msdn_lit.errors import ConfigError
        from msdn_lit.sweeps.study import JOURNAL, Search
        from msdn_lit.sweeps.trials import trial_id

        if not space:
            raise ConfigError(
                "A search needs something to vary",
                action='E.g. "optimizer.lr=interval(1e-5,1e-3)".',
            )
        if "seed" in space:
            action = "Search with one seed, then train the chosen settings with several."
            raise ConfigError("A search would choose the luckiest seed", action=action)
        asked = {
            "objective": self.objective,
            "space": ", ".join(f"{name}: {values}" for name, values in sorted(space.items())),
            "settings, code or data": trial_id(self.trial_launcher.trials.compose(fixed)),
        }
        return Search(
            self.trial_launcher.trials.folder / JOURNAL, asked, space, self.sampler, self.n_trials
        )

    def _run(
        self, search: "Search", batch: "list[Suggestion]", fixed: list[str], index: int
    ) -> None:
        from msdn_lit.sweeps.trials import Trial

        jobs = [
            [
                *fixed,
                *(f"{name}={value}" for name, value in values.items()),
                f"callbacks.pruning.number={number}",
            ]
            for number, values in batch
        ]
        for suggestion, ended in zip(batch, self.trial_launcher.launch(jobs, index), strict=True):
            trial = Trial(Path(str(ended.working_dir)), tuple(ended.overrides or ()))
            search.tell(suggestion.number, trial.state, trial.objective)


def distribution(override: Override) -> "optuna.distributions.BaseDistribution":
    """What an override may be, as Optuna has it: intervals are numbers, all else are names without an order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    if not isinstance(sweep, IntervalSweep):
        return CategoricalDistribution(tuple(override.sweep_string_iterator()))
    start, end, is_log = cast(Any, sweep.start), cast(Any, sweep.end), "log" in sweep.tags
    kind = IntDistribution if isinstance(start, int) else FloatDistribution
    return kind(start, end, log=is_log)
