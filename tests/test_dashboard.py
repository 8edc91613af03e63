"""The W&B sweep file and the W&B workspace, tested without an account."""

import itertools
import json
import os
import sys

import pytest
import yaml

from msdn_lit.commands._overrides import check_overrides
from msdn_lit.commands._words import read_words
from msdn_lit.commands.results import wandb_workspace as dashboard
from msdn_lit.files import PACKAGE
from msdn_lit.runs.layout import SCORES


def settings_of(parameter):
    """All values, or both ends of a range."""
    return parameter["values"] if "values" in parameter else [parameter["min"], parameter["max"]]


class TestSearch:
    @pytest.fixture
    def sweep(self):
        return yaml.safe_load((PACKAGE.parents[1] / "docs" / "wandb_sweep_cub.yaml").read_text())

    def commands(self, sweep):
        """What an agent would run at the corners of the search, by W&B's own rules."""
        utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
        names = list(sweep["parameters"])
        for values in itertools.product(*map(settings_of, sweep["parameters"].values())):
            arguments = {
                "args": {name: {"value": value} for name, value in zip(names, values, strict=True)}
            }
            macros = utils.create_sweep_command_args(arguments) | {"program": [sweep["program"]]}
            words = [
                macros.get(word.strip("${}"), [word])
                for word in utils.create_sweep_command(sweep["command"])
            ]
            yield list(itertools.chain.from_iterable(words))

    def test_its_commands_are_ours(self, sweep, load_config):
        commands = list(self.commands(sweep))
        assert {tuple(words[:2]) for words in commands} == {("msdn", "train")}
        for words in (commands[0], commands[-1]):
            check_overrides("train", read_words("msdn train", words[2:]))
            cfg = load_config(*words[2:])
            assert cfg.logger.wandb.offline is False
            assert (cfg.protocol.name, list(cfg.protocol.eval_splits)) == (
                "validation",
                ["val_seen", "val"],
            )
            assert sweep["metric"] == {
                "name": f"{cfg.protocol.stage}/harmonic_mean",
                "goal": "maximize",
            }
            assert (
                sweep["early_terminate"]["min_iter"]
                < cfg.trainer.max_steps // cfg.trainer.val_check_interval
            )
            assert str(cfg.optimizer.lr) == words[-3].partition("=")[2]
        assert set(dashboard.SEARCHED) == set(sweep["parameters"]) - {"seed"}


@pytest.mark.filterwarnings("ignore:Pydantic V1 style")  # wandb-workspaces 0.4
class TestWorkspace:
    @pytest.fixture(autouse=True)
    def _needs_the_extra(self, monkeypatch):
        pytest.importorskip("wandb_workspaces", reason="the extra [wandb] is not installed")
        monkeypatch.delenv("WANDB_MODE")

    def test_has_every_panel(self, command):
        code, out, err = command(dashboard, "--entity", "us", "--project", "birds", "--dry-run")
        assert (code, err) == (0, "")
        view = json.loads(out)
        assert (view["entity"], view["project"]) == ("us", "birds")
        sections = {
            section["name"]: section["panels"]
            for section in view["spec"]["section"]["panelBankConfig"]["sections"]
        }
        assert list(sections) == ["Scores", "Losses", "Classes", "Search", "System"]
        drawn = [
            name
            for panels in sections.values()
            for panel in panels
            for name in panel["config"].get("metrics", [])
        ]
        assert set(drawn) >= {f"{stage}/{score}" for stage in ("test", "val") for score in SCORES}
        assert set(drawn) >= {
            "train/loss",
            "train/cross_entropy",
            "train/self_calibration",
            "train/distillation",
        }
        kinds = {panel["viewType"] for panels in sections.values() for panel in panels}
        assert kinds >= {
            "Run History Line Plot",
            "Vega2",
            "Parameter Importance",
            "Parallel Coordinates Plot",
        }
        for table in ("classes", "confusions", "seen_unseen_curve_table", "attention"):
            assert f'"{table}"' in out

    def test_logged_out_is_one_line(self, command, monkeypatch, tmp_path):
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", os.devnull)
        code, out, err = command(dashboard)
        assert (code, out) == (2, "")
        (line,) = [line for line in err.splitlines() if line.startswith("msdn wandb-workspace: ")]
        assert "The workspace is not saved" in line
        assert "Log in (wandb login)" in line

    @pytest.mark.parametrize("arguments", [["--dash"], ["here"]])
    def test_wrong_commands_are_one_line(self, command, arguments):
        code, _, err = command(dashboard, *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert "msdn wandb-workspace --help" in err


def test_without_the_extra_it_says_what_to_install(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    code, _, err = command(dashboard, "--dry-run")
    assert (code, err.count("\n")) == (2, 1)
    assert 'pip install "msdn-lit[wandb]"' in err
