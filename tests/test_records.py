"""Records are complete and name no folder of the machine; the index has their scores."""

import json
import re
from pathlib import Path
from statistics import mean, stdev

import pytest
import yaml
from hydra import compose, initialize_config_dir

import msdn_lit
from msdn_lit.analysis.output.records import write_index
from msdn_lit.commands.results import report
from msdn_lit.errors import ConfigError
from msdn_lit.files import config_dir
from tests.run_folders import evaluation, write_run

EXPERIMENTS = Path(msdn_lit.__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A record of two seeds and a variant; logs/ is beside experiments/."""
    root = tmp_path_factory.mktemp("records")
    overrides = [
        "paths.data_dir=/home/me/data",
        "paths.feature_dir=/home/me/data/features",
        "logger=wandb",
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", overrides)
    for cfg.seed, cfg.loss.lambda_cal in ((0, 0.1), (1, 0.1), (0, 0.2)):
        write_run(root / "logs" / f"{cfg.loss.lambda_cal}_{cfg.seed}", cfg)
    (root / "logs" / "unfinished").mkdir()
    (root / "logs" / "unfinished" / "config.yaml").write_text("{}")
    folder = root / "experiments" / "2026-11-24_cub_trial"
    report.run([str(root / "logs"), "--record", str(folder)])
    return folder


class TestRecord:
    def test_its_files(self, record):
        names = {
            path.relative_to(record).as_posix() for path in record.rglob("*") if path.is_file()
        }
        figures = {
            name
            for name in names
            if re.fullmatch(r"figures/\w+_CUB_resnet101_448_paper.*\.png", name)
        }
        assert names - figures == {
            "README.md",
            "metrics.json",
            "config.yaml",
            "figures/captions.md",
        }
        assert len(figures) == 11
        assert all((record / name).stat().st_size > 5000 for name in figures)

    def test_every_seeds_scores(self, record):
        groups = json.loads((record / "metrics.json").read_text())["groups"]
        assert [list(group["seeds"]) for group in groups] == [["0"], ["0", "1"]]  # best first
        for seed, evaluations in groups[1]["seeds"].items():
            result = json.loads(
                (record.parents[1] / "logs" / f"0.1_{seed}" / "result.json").read_text()
            )
            for name, scores in result["scores"].items():
                assert scores.items() <= evaluations[name].items()
                assert {"ausuc", "best_harmonic_mean", "best_calibration"} <= set(evaluations[name])
        assert [run["code"] for run in groups[1]["runs"]] == ["abc", "abc"]

    def test_what_is_needed_to_repeat_it(self, record):
        page = (record / "README.md").read_text()
        assert page.startswith("# 2026-11-24: cub trial\n")
        assert "`msdn train -m trainer=cpu seed=0,1 paths.data_dir=DATA`" in page
        assert "`msdn train trainer=cpu seed=0 paths.data_dir=DATA`" in page
        assert "Versions: python 3.11.7, torch 2.15.0" in page
        assert "| abc " in page
        assert "| peak H on test " in page
        for name in re.findall(r"!\[.*\]\((.*)\)", page):
            assert (record / name).is_file()

    def test_no_path_of_the_machine(self, record):
        for path in record.rglob("*.*"):
            if path.suffix in (".md", ".json", ".yaml"):
                text = path.read_text()
                assert str(record.parents[1]) not in text
                assert re.findall(r"(?:^|[\s'\"=`(])/\w+", text) == []
                assert "unfinished" not in text
        config = yaml.safe_load((record / "config.yaml").read_text())
        assert config["paths"]["data_dir"] == "DATA"
        assert config["paths"]["feature_dir"] == "FEATURES"
        assert config["data"]["data_dir"] == "${paths.data_dir}"
        assert config["protocol"]["stage"] == "test"

    def test_with_a_base(self, record, tmp_path):
        logs = record.parents[1] / "logs"
        paths = [str(path) for path in sorted(logs.glob("0.1_*"))]
        folder = tmp_path / "2026-11-25_cub_paired"
        report.run([*paths, "--against", str(logs / "0.2_0"), "--record", str(folder)])
        page, groups = (
            (folder / "README.md").read_text(),
            json.loads((folder / "metrics.json").read_text())["groups"],
        )
        assert page.index("## Paired with base") < page.index("## Scores")
        assert "- base: loss.lambda_cal=0.2\n" in page
        assert {group["settings"] for group in groups} == {"loss.lambda_cal=0.1", "base"}

    def test_is_not_written_over(self, record):
        with pytest.raises(ConfigError, match="exists already"):
            report.run([str(record.parents[1] / "logs"), "--record", str(record)])

    @pytest.mark.parametrize("name", ["trial", "2026-11-24", "2026-11-24_CUB trial"])
    def test_other_names(self, load_config, tmp_path, name):
        write_run(tmp_path / "run", load_config(), {"last": evaluation()})
        with pytest.raises(ConfigError, match="expected YYYY-MM-DD_slug"):
            report.run([str(tmp_path / "run"), "--record", str(tmp_path / name)])
        assert not (tmp_path / name).exists()


class TestIndex:
    def test_of_a_record(self, record, capsys):
        report.run(["--index", str(record.parent)])
        lines = (record.parent / "README.md").read_text().splitlines()
        cells = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in lines
            if line.startswith("|")
        ]
        assert [row[0] for row in cells[2:]] == [f"[{record.name}]({record.name})", "", "", ""]
        assert [row[4] for row in cells[2:]] == ["peak on test", "last step"] * 2
        assert [row[-1] for row in cells[2:]] == ["1", "1", "2", "2"]
        seeds = json.loads((record / "metrics.json").read_text())["groups"][1]["seeds"].values()
        T1 = [run["peak_acc_czsl"]["acc_czsl"] for run in seeds]
        assert cells[4][5].startswith(f"{50 * sum(T1):.1f} ± ")
        assert capsys.readouterr().out == f"{record.parent / 'README.md'}\n"

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"groups": [{}]}', '{"groups": [1]}'])
    def test_of_a_damaged_record(self, tmp_path, content):
        (tmp_path / "2026-11-24_x").mkdir()
        (tmp_path / "2026-11-24_x" / "metrics.json").write_text(content)
        with pytest.raises(ConfigError, match=r"metrics.json is damaged"):
            write_index(tmp_path)

    def test_the_question_of_a_record(self, record):
        readme = record / "README.md"
        text = readme.read_text()
        readme.write_text(f"# Title\n\n**Question:** is a | b?\nMore? **Answer:** no?\n\n{text}")
        write_index(record.parent)
        index = re.sub(" +", " ", (record.parent / "README.md").read_text())
        assert f"\n| [{record.name}]({record.name}) | is a \\| b? |\n" in index
        assert "More" not in index

    def test_every_committed_record_has_a_question_and_an_answer(self):
        for path in [
            *EXPERIMENTS.glob("20*/README.md"),
            *EXPERIMENTS.glob("archive/20*/README.md"),
        ]:
            assert re.search(r"^\*\*Question:\*\* .+\?", path.read_text(), re.M), path
            assert re.search(r"^\*\*Answer:\*\* .+", path.read_text(), re.M), path

    def test_the_committed_one_is_up_to_date(self, tmp_path):
        for path in EXPERIMENTS.glob("*/metrics.json"):
            copy = tmp_path / path.parent.name
            copy.mkdir()
            for name in ("metrics.json", "README.md"):
                (copy / name).write_bytes((path.parent / name).read_bytes())
        write_index(tmp_path)
        assert (tmp_path / "README.md").read_text() == (EXPERIMENTS / "README.md").read_text(), (
            "msdn report --index writes experiments/README.md"
        )

    def test_every_committed_record_is_in_it(self):
        records = {path.name for path in EXPERIMENTS.glob("20*") if path.is_dir()}
        archived = {path.name for path in (EXPERIMENTS / "archive").glob("20*")}
        reasons = (EXPERIMENTS / "archive" / "README.md").read_text()
        assert archived
        assert all(f"[{name}]({name})" in reasons for name in archived)
        index = (EXPERIMENTS / "README.md").read_text()
        assert all(f"[{name}]({name})" in index for name in records)

    def test_the_first_records_kept_their_numbers(self):
        """The scores that experiments/README.md had when it was written by hand."""
        rows = re.sub(" +", " ", (EXPERIMENTS / "README.md").read_text())
        assert "| peak on test | 53.7 | 42.5 | 49.0 | 45.5 | 1 |" in rows
        assert "| last step | 50.9 | 38.4 | 49.4 | 43.2 | 1 |" in rows
        assert "| last step, median | 92.7 | 80.7 | 90.0 | 85.7 | 5 |" in rows
        result = json.loads(
            (EXPERIMENTS / "2026-11-23_cub_gzsl_mobilenetv2_224" / "result.json").read_text()
        )
        metrics = json.loads(
            (EXPERIMENTS / "2026-11-23_cub_gzsl_mobilenetv2_224" / "metrics.json").read_text()
        )
        assert metrics["groups"][0]["seeds"]["214"] == result["scores"]


README_ROW = re.compile(
    r"^\|.*\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\| \[record\]\(experiments/(.*?)\) \|$", re.M
)


def test_the_readmes_results_are_those_of_the_records():
    rows = README_ROW.findall((EXPERIMENTS.parent / "README.md").read_text())
    assert len(rows) >= 5
    for *shown, n, record in rows:
        groups = json.loads((EXPERIMENTS / record / "metrics.json").read_text())["groups"]
        found = {
            (*scores, str(len(group["seeds"])))
            for group in groups
            for evaluation in ("last", "peak_harmonic_mean")
            if (scores := shown_scores(group["seeds"].values(), evaluation))
        }
        assert (*(cell.strip(" *") for cell in shown), n.strip()) in found


RECORD_LINK = re.compile(r"\(\.\./experiments/((?:archive/)?20[\w-]+)\)")


@pytest.mark.parametrize("page", ["results", "methods", "performance", "end_to_end"])
def test_the_scores_of_a_page_are_those_of_the_record_that_its_row_names(page):
    """Each mean with its deviation is in metrics.json, or in a table or text of the record."""
    rows = (EXPERIMENTS.parent / "docs" / f"{page}.md").read_text().splitlines()
    for row in rows:
        link = RECORD_LINK.search(row)
        if row.startswith("|") and link:
            cells = {cell.strip(" *") for cell in row.split("|")}
            shown = {cell for cell in cells if re.fullmatch(r"-?\d+\.\d ± \d+\.\d", cell)}
            missing = shown - scores_of_record(EXPERIMENTS / link[1])
            texts = [path.read_text() for path in (EXPERIMENTS / link[1]).glob("*.md")]
            assert all(any(cell in text for text in texts) for cell in missing), (row, missing)


def scores_of_record(folder):
    """All means over seeds, as the tables show them."""
    groups = json.loads((folder / "metrics.json").read_text())["groups"]
    found = set()
    for group in groups:
        seeds = list(group["seeds"].values())
        for when in set.intersection(*map(set, seeds)) if len(seeds) > 1 else ():
            for name in set.intersection(*(set(seed[when]) for seed in seeds)):
                values = [100 * seed[when][name] for seed in seeds]
                found.add(shown(values))
    return found


def shown_scores(seeds, evaluation):
    """T1, U, S and H as the tables show them; None without the evaluation."""
    if not all(evaluation in seed for seed in seeds) or len(seeds) < 2:
        return None
    names = ("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean")
    values = ([100 * seed[evaluation][name] for seed in seeds] for name in names)
    return tuple(map(shown, values))


def shown(values):
    return f"{mean(values):.1f} ± {stdev(values):.1f}"
