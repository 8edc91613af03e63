"""Identities of trials: settings, code, data, and a user's own code and configs."""

import sys
from importlib.util import find_spec
from itertools import count

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from msdn_lit.files import PACKAGE, config_dir
from msdn_lit.sweeps import identity, worker
from msdn_lit.sweeps.identity import trial_id
from msdn_lit.sweeps.own_code import source_files
from msdn_lit.sweeps.trials import Trials, trials_in
from tests.mini_train import witnesses
from tests.trial_folders import KILLED, Kill, by_seed


class TestIdentity:
    def test_settings_without_effect_on_scores(self, mini_config, tmp_path):
        name = trial_id(mini_config())
        for same in (
            "paths.log_dir=/elsewhere",
            "sweep_name=x",
            "resume=false",
            "~callbacks.scores",
            "ckpt_path=last",
            "recipe_of=CUB",
            "name=wide",
            "tags=[a,b]",
            "print_config=true",
            "logger=many",
        ):
            assert trial_id(mini_config(same)) == name
        assert trial_id(mini_config("optimizer.lr=1e-4")) == name  # the default

    @pytest.mark.parametrize(
        "other", ["seed=1", "optimizer.lr=2e-4", "model=dazle", "protocol=honest"]
    )
    def test_settings(self, mini_config, other):
        assert trial_id(mini_config(other)) != trial_id(mini_config())

    @pytest.mark.parametrize("name", ["manifest.json", "att_splits.mat", "MINI_attribute.pkl"])
    def test_data(self, mini_config, tmp_path, name):
        before = trial_id(mini_config())
        (path,) = tmp_path.rglob(name)
        path.write_bytes(path.read_bytes() + b" ")
        assert trial_id(mini_config()) != before

    def test_the_home_folder(self, mini_config, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert trial_id(mini_config("paths.data_dir='~/data'")) == trial_id(mini_config())

    def test_files_of_an_own_dataset(self, mini_config, tmp_path):
        own = f"data.folder={tmp_path / 'own'}"
        before = trial_id(mini_config(own))  # a missing folder: the trial fails, with a message
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "attributes.csv").write_text("name,red\n")
        assert trial_id(mini_config(own)) != before

    def test_code(self, mini_config, monkeypatch):
        before = trial_id(mini_config())
        monkeypatch.setattr(identity, "code_hash", lambda: "other")
        assert trial_id(mini_config()) != before

    @pytest.mark.parametrize(
        ("file", "changes"),
        [
            ("models/msdn.py", True),
            ("models/baselines/dazle.py", True),
            ("build/task.py", True),
            ("training/fit.py", True),
            ("tasks/zsl.py", True),
            ("losses/msdn.py", True),
            ("metrics/zsl.py", True),
            ("data/splits/xlsa17.py", True),
            ("commands/train/train.py", False),
            ("sweeps/trials.py", False),
            ("analysis/groups.py", False),
            ("models/notes.txt", False),
            ("errors.py", False),
        ],
    )
    def test_only_code_that_can_change_a_score(self, tmp_path, monkeypatch, file, changes):
        def code_hash():
            return identity.code_hash.__wrapped__()

        monkeypatch.setattr(identity, "PACKAGE", tmp_path / "package")
        path = tmp_path / "package" / file
        path.parent.mkdir(parents=True)
        path.write_text("1")
        before = code_hash()
        path.write_text("2")
        assert (code_hash() != before) == changes

    def test_every_package_of_the_code_exists(self):
        assert all((PACKAGE / name / "__init__.py").is_file() for name in identity.CODE)

    def test_identities_are_stored_until_something_changes(
        self, mini_config, data_dir, tmp_path, monkeypatch
    ):
        calls = count()

        def compose(overrides):
            next(calls)
            return mini_config(*overrides)

        def names():
            trials = Trials(tmp_path / "sweep", compose, [config_dir()])
            with trials.lock():
                found = trials.identify([["seed=1"], ["seed=2"], ["seed=1"]])
            return [trial.folder.name for trial in found]

        first = names()
        assert (first[0], len(set(first))) == (first[2], 2)
        assert names() == first
        assert next(calls) == 2
        path = data_dir / "xlsa17" / "data" / "MINI" / "att_splits.mat"
        path.write_bytes(path.read_bytes() + b" ")
        assert set(names()).isdisjoint(first)
        assert next(calls) == 5
        monkeypatch.setenv("MSDN_DATA_DIR", "/elsewhere")
        names()
        assert next(calls) == 8


NET = """
from msdn_lit.models import MSDN


class Net(MSDN):
    pass
"""
RECIPE = "# @package _global_\ndefaults:\n  - override /model: mine\noptimizer: {lr: 0.01}\n"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's own method in the working directory: mine.py, and configs in own_conf/."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])  # as the command does
    (tmp_path / "mine.py").write_text(NET)
    config = (config_dir() / "model" / "msdn.yaml").read_text()
    for name, text in (
        ("model/mine", config.replace("msdn_lit.models.MSDN", "mine.Net")),
        ("experiment/mine", RECIPE),
        ("experiment/mine/a", RECIPE + "seed: 1\n"),
        ("experiment/mine/b", RECIPE + "seed: 2\n"),
    ):
        path = tmp_path / "own_conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield tmp_path
    sys.modules.pop("mine", None)


OWN_CONFIGS = {
    "config-dir": ["--config-dir", "own_conf"],
    "searchpath": ["hydra.searchpath=[file://own_conf]"],
}
with_own_configs = pytest.mark.parametrize(
    "options", [pytest.param(options, id=name) for name, options in OWN_CONFIGS.items()]
)


class TestOwnMethod:
    @pytest.mark.parametrize(
        ("target", "files"),
        [
            ("single.Net", ["single.py"]),
            ("single.Net.Inner", ["single.py"]),
            ("package.Net", ["package/__init__.py", "package/inside/net.py", "package/net.py"]),
            ("package.net.Net", ["package/net.py"]),
            ("package.inside.net.Net", ["package/inside/net.py"]),
            ("namespace.net.Net", ["namespace/net.py"]),
            ("torch.optim.RMSprop", []),
            ("pathlib.Path", []),
            ("builtins.dict", []),
            ("__main__.Net", []),
            ("missing.Net", []),
            ("Net", []),
            ("${model.name}", []),
        ],
    )
    def test_source_files(self, tmp_path, monkeypatch, target, files):
        code = tmp_path / "code"
        for name in ("single", "package/__init__", "package/net", "package/inside/net"):
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            (code / f"{name}.py").write_text("raise AssertionError('imported')")
        (code / "namespace").mkdir()
        (code / "namespace" / "net.py").touch()
        monkeypatch.syspath_prepend(code)
        assert source_files(target) == [code / file for file in files]

    def test_identity(self, mini_config, own):
        before = trial_id(mini_config("model._target_=mine.Net"))
        assert before != trial_id(mini_config())
        (own / "other.py").write_text("")
        assert trial_id(mini_config("model._target_=mine.Net")) == before
        (own / "mine.py").write_text(NET + "\n\n")
        assert trial_id(mini_config("model._target_=mine.Net")) != before

    def test_a_target_on_the_command_line(self, sweep, folder, own, with_callback):
        arguments = ["model._target_=mine.Net", "seed=0,1"]
        assert sweep(*arguments)[0] == 0
        (first, second) = trials_in(folder)
        assert (first.state, second.state) == ("finished", "finished")
        with_callback(Kill(0))
        assert sweep(*arguments)[0] == 0
        assert len(trials_in(folder)) == 2
        (own / "mine.py").write_text(NET + "\n\n")
        assert sweep(*arguments)[0] == KILLED
        assert len(trials_in(folder)) == 4

    def test_a_job_imports_from_the_directory_of_the_command(self, tmp_path, monkeypatch):
        """A worker may start in another directory with another search path."""
        (tmp_path / "only_here.py").touch()
        job = worker.TrialJob(lambda cfg: find_spec("only_here"))
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        monkeypatch.setattr(sys, "path", list(sys.path))
        hydra = {
            "runtime": {"output_dir": str(tmp_path / "trial")},
            "overrides": {"task": []},
            "job": {"num": 0},
        }
        monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create(hydra))
        assert find_spec("only_here") is None
        assert job(OmegaConf.create()).origin == str(tmp_path / "only_here.py")

    @with_own_configs
    def test_own_configs(self, sweep, folder, own, with_callback, options):
        arguments = ["experiment=mine", "model.region_dropout=0.1,0.2", *options]
        plug = Kill(9)
        with_callback(plug)
        assert sweep(*arguments)[0] == KILLED
        plug.step = None
        assert sweep(*arguments)[0] == 0
        finished = {trial.folder: trial.result for trial in trials_in(folder)}
        assert len(finished) == 2
        plug.step = 0
        assert sweep(*arguments)[0] == 0
        (own / "own_conf" / "experiment" / "mine.yaml").write_text(RECIPE.replace("0.01", "0.02"))
        assert sweep(*arguments)[0] == KILLED
        assert {trial.folder for trial in trials_in(folder)} > finished.keys()

    @with_own_configs
    def test_patterns_match_own_configs(self, sweep, folder, own, options):
        sweep("experiment=glob(mine/*)", "sampler.batch_size=0", *options)  # each trial fails
        typed = {option for trial in trials_in(folder) for option in trial.overrides}
        assert {"experiment=mine/a", "experiment=mine/b"} <= typed

    @pytest.mark.slow
    @pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
    @with_own_configs
    def test_workers_import_own_code(self, start, own, sweeps, launcher, options):
        arguments = ["experiment=mine", "seed=0,1", f"trial_launcher={launcher}", *options]
        for _ in range(2):
            out, _ = (child := start("own", *arguments)).communicate()
            assert child.returncode == 0, out
        found = by_seed(sweeps / "own").values()
        assert [trial.state for trial in found] == ["finished", "finished"]
        assert [len(witnesses(trial.folder)) for trial in found] == [1, 1]
