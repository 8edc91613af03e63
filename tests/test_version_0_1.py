"""What version 0.1.0 has written is still read, and says the same (tests/data/v0_1/README.md)."""

import json
import shutil
from pathlib import Path

import pytest

import msdn_lit
from msdn_lit.commands.results import report
from msdn_lit.commands.train import evaluate
from msdn_lit.runs.reader import find_runs
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.sweeps.trials import trials_in

WRITTEN = Path(__file__).resolve().parent / "data" / "v0_1"
MADE_IN = "/FIXTURE"  # where the files lay when they were written
TEXTS = {".csv", ".json", ".md", ".txt", ".yaml"}
EXPECTED = json.loads((WRITTEN / "expected.json").read_text())
SCORES = ("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean")


@pytest.fixture
def old(tmp_path):
    """A copy whose texts name the place of the copy; checkpoints still name the old one."""
    folder = tmp_path / "old"
    shutil.copytree(WRITTEN, folder)
    for path in folder.rglob("*"):
        if path.suffix in TEXTS or path.name == ".names.json":
            path.write_text(path.read_text().replace(MADE_IN, str(folder)))
    return folder


def close(values):
    return pytest.approx(values, abs=1e-5)


@pytest.mark.parametrize(
    "told", EXPECTED["predictions"], ids=lambda told: f"{told['path']}-{told['checkpoint']}"
)
def test_predictions(old, told):
    model = msdn_lit.load(old / told["path"], checkpoint=told["checkpoint"])
    for image, expected in told["images"].items():
        found = model.predict(str(old / image))
        assert (found.best.name, found.best.domain) == (expected["class"], expected["side"])
        assert found.best.score == close(expected["score"])
        assert [one.name for one in found.classes] == [name for name, _ in expected["top"]]
        assert [one.score for one in found.classes] == close([s for _, s in expected["top"]])
        values_K = found.candidates.named([found.best.name]).attributes_CK[0]
        names = {name for name, value in zip(found.attribute_names, values_K, strict=True) if value}
        # that version also named attributes that the class does not have
        strongest = [name for name in expected["strongest"] if name in names]
        reasons = [one.name for one in found.top_attributes(3) if one.contribution > 0]
        assert reasons == strongest
        scores = dict(zip(found.attribute_names, found.attribute_scores_K.tolist(), strict=True))
        assert scores == close(expected["attributes"])


def test_runs(old):
    found = find_runs([old / "run", old / "sweep", old / "seeds"])
    assert not found.faults
    assert not found.unfinished
    runs = {run.folder.relative_to(old).as_posix(): run for run in found.runs}
    assert runs.keys() == EXPECTED["runs"].keys()
    for name, expected in EXPECTED["runs"].items():
        run = runs[name]
        assert run.seed == expected["seed"]
        assert run.class_names == expected["class_names"]
        assert run.scores == {key: close(scores) for key, scores in expected["scores"].items()}
        history = {str(step): dict(scores) for step, scores in run.history.items()}
        assert history == {step: close(scores) for step, scores in expected["history"].items()}
        curves = {key: curve._asdict() for key, curve in run.curves.items()}
        assert curves == {key: close(curve) for key, curve in expected["curves"].items()}


@pytest.mark.parametrize("name", EXPECTED["runs"])
def test_score_caches(old, name):
    for evaluation, expected in EXPECTED["runs"][name]["scores"].items():
        cache = ScoreCache.load(old / name / "scores" / f"{evaluation}.npz")
        assert cache.step == expected["step"]
        scores = cache.scores()
        assert {key: float(getattr(scores, key)) for key in SCORES} == close(
            {key: expected[key] for key in SCORES}
        )


def test_trials(old):
    trials = {f"sweep/{trial.folder.name}": trial for trial in trials_in(old / "sweep")}
    for name, trial in trials.items():
        expected = EXPECTED["runs"][name]
        assert trial.state == "finished"
        assert trial.objective == close(expected["objective"])
        assert f"seed={expected['seed']}" in trial.settings
    assert len(trials) == 2


def test_report(old, command):
    code, printed, err = command(report, str(old / "sweep"))
    assert code == 0, err
    assert _rows_of_scores(printed) == _rows_of_scores((old / "report.md").read_text())


def test_evaluation(old, tmp_path, command):
    output = tmp_path / "again"
    where = [str(old / "run"), f"--output={output}", "--accelerator=cpu"]
    code, _, err = command(evaluate, *where)
    assert code == 0, err
    scores = json.loads((output / "result.json").read_text())["scores"]
    assert scores == {name: close(found) for name, found in EXPECTED["evaluation"].items()}


def _rows_of_scores(markdown):
    """Evaluation -> its cells; how the table is drawn does not count."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in markdown.splitlines()
    ]
    found = {row[0]: row[1:] for row in rows if row[0] == "last step" or row[0].startswith("peak ")}
    assert len(found) == 3
    return found
