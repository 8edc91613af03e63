"""A user's own method, in a folder outside the repository, with all commands."""

import re
import sys
from pathlib import Path

import pytest

from msdn_lit.commands.data import extract
from msdn_lit.commands.results import attention, report
from msdn_lit.commands.train import evaluate, train
from msdn_lit.runs.reader import find_runs
from tests.helpers import result_of

NET = '''
import torch
from torch import nn
from torch.nn.functional import normalize

from msdn_lit.models import SubNetOutput


class Net(nn.Module):
    """Attributes attend to regions by a dot product."""

    def __init__(self, attribute_vectors_KE, class_attributes_CK, visual_dim, *, width):
        super().__init__()
        classes_CK = normalize(class_attributes_CK, dim=1)
        self.register_buffer("class_attributes_CK", classes_CK, persistent=False)
        self.register_buffer("vectors_KE", normalize(attribute_vectors_KE, dim=1))
        self.query = nn.Linear(attribute_vectors_KE.shape[1], width)
        self.key = nn.Linear(visual_dim, width)
        self.value = nn.Linear(visual_dim, width)

    def forward(self, regions_BRD):
        regions_BRD = normalize(regions_BRD.float(), dim=2)
        query_KW = self.query(self.vectors_KE)
        attention_BKR = (query_KW @ self.key(regions_BRD).transpose(1, 2)).softmax(dim=2)
        scores_BK = ((attention_BKR @ self.value(regions_BRD)) * query_KW).sum(dim=2)
        return (SubNetOutput(scores_BK @ self.class_attributes_CK.T, scores_BK, attention_BKR),)


class Regression(nn.Module):
    """Cross-entropy over the seen classes, plus the squared error of the attribute scores."""

    def __init__(self, seen, unseen, *, weight):
        super().__init__()
        self.register_buffer("seen", seen)
        self.weight = weight

    def forward(self, outputs, labels_B):
        from collections import namedtuple

        (output,) = outputs
        logits_BC = torch.full_like(output.logits_BC, -1e9)
        logits_BC[:, self.seen] = output.logits_BC[:, self.seen]
        cross_entropy = nn.functional.cross_entropy(logits_BC, labels_B)
        regression = output.attribute_scores_BK.square().mean()
        terms = namedtuple("Terms", ["loss", "cross_entropy", "regression"])
        return terms(cross_entropy + self.weight * regression, cross_entropy, regression)
'''


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A user's repository, which is the working directory."""
    folder = tmp_path / "repository"
    for group in ("model", "loss", "experiment"):
        (folder / "conf" / group).mkdir(parents=True)
    (folder / "mine.py").write_text(NET)
    config = "_target_: mine.Net\n_partial_: true\nwidth: 16\n"
    (folder / "conf" / "model" / "mine.yaml").write_text(config)
    config = "_target_: mine.Regression\n_partial_: true\nweight: 0.001\n"
    (folder / "conf" / "loss" / "mine.yaml").write_text(config)
    recipe = "# @package _global_\ndefaults:\n  - override /model: mine\n  - override /loss: mine\n"
    (folder / "conf" / "experiment" / "mine.yaml").write_text(recipe)
    monkeypatch.chdir(folder)
    path = list(sys.path)
    yield folder
    sys.path[:] = path
    sys.modules.pop("mine", None)


SHORT = (
    "data=synthetic",
    "features=semisynthetic",
    "recipe_of=null",
    "optimizer=adam",
    "optimizer.lr=0.01",
    "trainer=cpu",
    "trainer.max_steps=30",
    "trainer.val_check_interval=15",
    "~callbacks.progress",
    "+trainer.enable_progress_bar=false",
)


def test_everything_works_for_a_method_of_ones_own(command, repository):
    own = ["--config-dir", str(repository / "conf"), *SHORT]
    assert command(extract, *SHORT[:2])[0] == 0

    code, _, err = command(train, *own, "experiment=mine", "paths.run_dir=logs/mine")
    assert (code, err) == (0, "")
    scores = result_of("logs/mine")["scores"]["last"]
    assert scores["acc_czsl"] > 2 * result_of("logs/mine")["chance"]["acc_czsl"]

    sweep = ["experiment=mine", "model.width=8,16", "loss.weight=0.01", "sweep_name=own"]
    code, out, err = command(train, "-m", *own, *sweep)
    assert code == 0, err
    assert len(re.findall(r"trial \d of 2  T1 ", out)) == 2
    code, out, _ = command(train, "-m", *own, *sweep)  # resumed: nothing is trained again
    assert code == 0
    assert "2 of 2 trials are finished and skipped" in out

    words = ["logs/mine", "--output", "again", "--accelerator", "cpu"]
    code, _, err = command(evaluate, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert "model._target_ is mine.Net, which is no part of msdn-lit. Add --trust " in err
    code, _, err = command(evaluate, *words, "--trust")
    assert (code, err) == (0, "")
    assert result_of("again")["scores"]["last"] == scores

    code, out, err = command(attention, "logs/mine", "--trust")
    assert (code, err) == (0, "")
    assert "pointing game" in out

    runs = find_runs([repository / "logs"])
    assert (len(runs.runs), runs.faults) == (3, [])
    code, out, err = command(report, "logs")
    assert (code, err) == (0, "")
    assert "model.width=8" in out


def test_a_target_on_the_command_line(command, repository):
    assert command(extract, *SHORT[:2])[0] == 0
    words = ["model._target_=mine.Net", "~model.renormalize", "~model.region_dropout"]
    words += ["~model.subnets", "+model.width=8", "paths.run_dir=logs/mine"]
    code, _, err = command(train, *SHORT, *words)
    assert (code, err) == (0, "")
    assert result_of("logs/mine")["scores"]["last"]["step"] == 30


def test_a_wrong_setting_of_a_method_of_ones_own(command, repository):
    own = ["--config-dir", str(repository / "conf"), *SHORT]
    code, _, err = command(train, *own, "model=mine", "model.widht=8")
    assert (code, err.count("\n")) == (2, 1)
    assert "Did you mean model.width" in err


def test_search_path_on_the_command_line(command, repository):
    folder = f"hydra.searchpath=[file://{repository / 'conf'}]"
    code, out, err = command(train, folder, *SHORT, "model=mine", "model.width=8", "--cfg", "job")
    assert (code, err) == (0, "")
    assert "width: 8" in out


ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "add_a_method.md").read_text()
BLOCKS = dict(re.findall(r'```\w+ title="(.*?)"\n(.*?)```', PAGE, re.DOTALL))


@pytest.fixture
def of_the_page(tmp_path, monkeypatch):
    """The folder that docs/add_a_method.md describes, which is the working directory."""
    for name, text in BLOCKS.items():
        path = tmp_path / "apn" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path / "apn")
    path = list(sys.path)
    yield tmp_path / "apn"
    sys.path[:] = path
    sys.modules.pop("apn", None)


def test_the_method_of_the_page_works_as_it_stands(command, of_the_page):
    assert set(BLOCKS) == {
        "apn.py",
        *(f"conf/{g}/apn.yaml" for g in ("model", "loss", "experiment")),
    }
    assert len(BLOCKS["apn.py"].splitlines()) < 60
    for name, text in BLOCKS.items():  # what `make results` runs
        assert (ROOT / "experiments" / "apn" / name).read_text() == text
    assert command(extract, *SHORT[:2])[0] == 0
    settings = [word for word in SHORT if not word.startswith("optimizer")]
    words = ["--config-dir", "conf", *settings, "experiment=apn", "paths.run_dir=logs/apn"]
    code, _, err = command(train, *words)
    assert (code, err) == (0, "")
    scores, chance = result_of("logs/apn")["scores"]["last"], result_of("logs/apn")["chance"]
    assert scores["acc_czsl"] > 2 * chance["acc_czsl"]
    code, out, err = command(attention, "logs/apn", "--trust")
    assert (code, err) == (0, "")
    assert "prototypes" in out
    words = ["-m", *words[:-1], "loss.lambda_reg=0.1,1", "sweep_name=apn"]
    code, out, err = command(train, *words)
    assert (code, out.count(" finished "), err) == (0, 2, "")
