"""Searches: suggested trials, resuming of killed searches, and refused studies."""

import json
import sys

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from hydra_plugins.msdn_lit_sweeps.search_sweeper import distribution
from msdn_lit.commands.train import train
from msdn_lit.errors import ConfigError
from msdn_lit.runs.layout import JOURNAL
from msdn_lit.sweeps.study import Search, open_study
from msdn_lit.sweeps.trials import trials_in
from tests.trial_folders import sweep_options

FINGERPRINT = {"objective": "val/harmonic_mean", "space": "x", "settings, code or data": "0123"}
SPACE = {"x": FloatDistribution(0, 1), "kind": CategoricalDistribution(("a", "b"))}


def sampler(seed):
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)


def search(path, n_trials=6, fingerprint=FINGERPRINT):
    return Search(path, fingerprint, SPACE, sampler, n_trials)


def score(suggestion):
    return suggestion.values["x"] ** 2


def run(searching, *, size=1, end=lambda suggestion: "finished", stop_after=None):
    """Runs trials as the sweeper does; the search is killed after `stop_after` trials."""
    told = 0
    for batch in searching.batches(size):
        for suggestion in batch:
            if told == stop_after:
                return
            searching.tell(suggestion.number, end(suggestion), score(suggestion))
            told += 1


def trials(path):
    return [(trial.params, trial.value, trial.state.name) for trial in open_study(path).trials]


class TestSearch:
    def test_a_killed_search_suggests_the_same_trials(self, tmp_path):
        run(search(tmp_path / "whole"))
        for _ in range(4):
            run(search(tmp_path / "killed"), stop_after=2)  # 6 trials need three of the four
        assert trials(tmp_path / "killed") == trials(tmp_path / "whole")
        assert len({json.dumps(params) for params, _, _ in trials(tmp_path / "whole")}) == 6

    @pytest.mark.parametrize("lines", range(1, 9))
    def test_a_search_killed_after_any_line_of_the_journal(self, tmp_path, lines):
        run(search(tmp_path / "whole", n_trials=2))
        content = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
        incomplete_line = b'{"op_code"'  # of a full disk
        (tmp_path / "killed").write_bytes(b"".join(content[:lines]) + incomplete_line)
        run(search(tmp_path / "killed", n_trials=2))
        assert trials(tmp_path / "killed") == trials(tmp_path / "whole")

    def test_more_trials_are_added(self, tmp_path):
        path = tmp_path / "study"
        run(search(path, n_trials=2))
        first = trials(path)
        run(search(path, n_trials=2))
        assert trials(path) == first
        run(search(path, n_trials=5), size=2)
        assert trials(path)[:2] == first
        assert [state for _, _, state in trials(path)] == ["COMPLETE"] * 5

    def test_pruned_trials_count_and_the_next_search_repeats_failed_ones(self, tmp_path):
        path, ends = tmp_path / "study", {0: "pruned", 1: "failed"}
        run(
            search(path, n_trials=3), end=lambda suggestion: ends.get(suggestion.number, "finished")
        )
        assert [state for _, _, state in trials(path)] == ["PRUNED", "FAIL", "COMPLETE"]
        run(search(path, n_trials=3))
        assert [state for _, _, state in trials(path)] == ["PRUNED", "FAIL", "COMPLETE", "COMPLETE"]
        assert trials(path)[3][0] == trials(path)[1][0]
        run(search(path, n_trials=3))
        assert len(trials(path)) == 4

    def test_the_next_search_suggests_the_trial_of_a_dead_worker_again(self, tmp_path):
        path = tmp_path / "study"
        run(
            search(path, n_trials=2),
            end=lambda suggestion: "finished" if suggestion.number else "interrupted",
        )
        assert [state for _, _, state in trials(path)] == ["RUNNING", "COMPLETE"]
        before = trials(path)[0][0]
        run(search(path, n_trials=2))
        assert [state for _, _, state in trials(path)] == ["COMPLETE", "COMPLETE"]
        assert trials(path)[0][0] == before


class TestOtherStudies:
    @pytest.mark.parametrize("name", FINGERPRINT)
    def test_of_another_search(self, tmp_path, name):
        search(tmp_path / "study")
        with pytest.raises(
            ConfigError, match=f"belongs to another search: {name}: expected other, found"
        ):
            search(tmp_path / "study", fingerprint=FINGERPRINT | {name: "other"})

    @pytest.mark.parametrize(
        ("name", "direction"),
        [("msdn-lit", "minimize"), ("msdn-lit", "maximize"), ("x", "maximize")],
    )
    def test_of_another_program(self, tmp_path, name, direction):
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "study")))
        optuna.create_study(storage=storage, study_name=name, direction=direction).add_trial(
            optuna.trial.create_trial(value=1.0)
        )
        with pytest.raises(ConfigError, match="belongs to another search"):
            search(tmp_path / "study")

    @pytest.mark.parametrize(
        "content", [b"nonsense\n", b'{"op_code": 99}\n', b"[]\n", b"\xff\xfe\n\n"]
    )
    def test_damaged(self, tmp_path, content):
        (tmp_path / "study").write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as a study"):
            search(tmp_path / "study")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("x=interval(0,1)", FloatDistribution(0, 1)),
        ("x=tag(log,interval(0.01,1))", FloatDistribution(0.01, 1, log=True)),
        ("x=int(interval(1,8))", IntDistribution(1, 8)),
        ("x=tag(log,int(interval(1,8)))", IntDistribution(1, 8, log=True)),
        ("x=1,2.5,null,a", CategoricalDistribution(("1", "2.5", "null", "a"))),
        ("x=choice(true,'a b')", CategoricalDistribution(("True", "a\\ b"))),
        ("x=range(1,4)", CategoricalDistribution(("1", "2", "3"))),
    ],
)
def test_distributions(override, expected):
    assert distribution(OverridesParser.create().parse_override(override)) == expected


class TestRefused:
    """Refused before training starts, in one line and with exit code 2."""

    def refusal(self, command, *arguments):
        code, _, err = command(train, "-m", "experiment=demo", *arguments)
        assert (code, err.count("\n")) == (2, 1), err
        return err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["objective=test/harmonic_mean"],
                "must not use test scores: found objective=test/harmonic_mean",
            ),
            (["objective=test/harmonic_mean", "protocol=paper"], "must not use test scores"),
            (
                ["protocol=paper"],
                "must not use test scores: found objective=val/harmonic_mean protocol=paper",
            ),
            (["objective=null"], "A search needs an objective"),
            (["seed=0,1"], "the luckiest seed"),
            (["~hydra.sweeper.params"], "A search needs a setting to vary"),
            (["hydra.sweeper.n_trial=3"], "Did you mean hydra.sweeper.n_trials"),
            (["hydra/sweeper=nothing"], "Could not find 'hydra/sweeper/nothing'"),
            (
                ["trial_launcher=nothing"],
                "There is no trial_launcher=nothing. Type trial_launcher=joblib|",
            ),
            (
                ["hparams_search=nothing"],
                "There is no hparams_search=nothing. "
                "Type hparams_search=none|optuna_cub|optuna_cub_best.",
            ),
        ],
    )
    def test_wrong_arguments(self, command, arguments, message):
        assert message in self.refusal(command, "hparams_search=optuna_cub", *arguments)

    @pytest.mark.parametrize(
        ("package", "choice", "extra"),
        [
            ("optuna", "hparams_search=optuna_cub", "sweeps"),
            ("hydra_plugins.hydra_joblib_launcher", "trial_launcher=joblib", "sweeps"),
            ("submitit", "trial_launcher=submitit_local", "sweeps"),
            ("ray", "trial_launcher=ray", "ray"),
        ],
    )
    def test_missing_packages(self, command, monkeypatch, package, choice, extra):
        for name in [
            name for name in sys.modules if name == package or name.startswith(f"{package}.")
        ]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
        assert f'is not installed. pip install "msdn-lit[{extra}]"' in self.refusal(command, choice)

    def test_a_folder_of_something_else(self, command, tmp_path):
        (tmp_path / "logs" / "sweeps" / "mine").mkdir(parents=True)
        (tmp_path / "logs" / "sweeps" / "mine" / "thesis.tex").touch()
        assert "is not the folder of a sweep: it contains thesis.tex" in self.refusal(
            command, "sweep_name=mine", "seed=0,1"
        )


@pytest.fixture
def sweep(command, mini_overrides, tmp_path):
    """Runs a search: (exit code, standard output, standard error)."""
    options = sweep_options(mini_overrides, tmp_path / "logs", "search")
    space = "hydra.sweeper.params={optimizer.lr: 'tag(log,interval(1e-4,1e-1))'}"
    search = ["hparams_search=optuna_cub", space, "callbacks.pruning.pruner.n_warmup_steps=0"]
    return lambda *more: command(train, *options, *search, *more)


def test_a_search_of_the_miniature_benchmark(sweep, tmp_path):
    folder = tmp_path / "logs" / "sweeps" / "search"
    sizes = ["hydra.sweeper.n_trials=3", "callbacks.pruning.pruner.n_startup_trials=1"]
    code, out, err = sweep(*sizes)
    assert code == 0, err
    study, trials = open_study(folder / JOURNAL), trials_in(folder)
    assert len(study.trials) == len(trials) == 3
    values = {trial.folder.name: trial.objective for trial in trials if trial.state == "finished"}
    assert sorted(
        trial.value for trial in study.get_trials(states=[TrialState.COMPLETE])
    ) == sorted(values.values())
    assert sum(trial.state == "pruned" for trial in trials) == len(
        study.get_trials(states=[TrialState.PRUNED])
    )
    assert {trial.intermediate_values.keys() >= {5} for trial in study.trials} == {True}
    assert "callbacks.pruning" not in out.partition("3 trials")[2]
    assert sweep(*sizes)[0] == 0
    assert len(open_study(folder / JOURNAL).trials) == 3
    code, _, err = sweep(*sizes, "optimizer.momentum=0.5")
    assert (code, err.count("\n")) == (2, 1)
    assert "belongs to another search: settings, code or data" in err


def test_pruned_trials_do_not_fail_the_sweep(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(
        optuna.pruners.MedianPruner, "prune", lambda _, study, trial: trial.number > 0
    )
    code, out, _ = sweep("hydra.sweeper.n_trials=2")
    study = open_study(tmp_path / "logs" / "sweeps" / "search" / JOURNAL)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert study.trials[1].intermediate_values.keys() == {5}
    assert code == 0
    assert "pruned" in out
