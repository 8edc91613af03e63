"""Which runs msdn report shows, in which order, and how its tables fit a terminal."""

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from msdn_lit.analysis.filters import _ordered, filter_runs
from msdn_lit.analysis.output.formats import Share, Table
from msdn_lit.analysis.terminal.tables import print_table
from msdn_lit.commands.results import report
from msdn_lit.errors import ConfigError
from msdn_lit.runs.reader import find_runs
from tests.run_folders import evaluation, write_run

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "lightning", "torchmetrics", "matplotlib", "pandas", "scipy", "hydra")
SETTINGS = [(lr, cal) for lr in (0.001, 0.0001) for cal in (0.0, 0.1, 0.2, 0.3)]


@pytest.fixture(scope="module")
def logs(load_config, tmp_path_factory):
    """Eight settings with two seeds each; run "0-1" has lr 0.001, lambda_cal 0.1. H rises."""
    folder, cfg = tmp_path_factory.mktemp("choices"), load_config("features=mobilenetv2_224")
    for number, (cfg.optimizer.lr, cfg.loss.lambda_cal) in enumerate(SETTINGS):
        for cfg.seed in (0, 1):
            H = 0.4 + number / 100 + cfg.seed / 1000
            scores = {"last": evaluation(H, acc_czsl=0.9 - number / 100)}
            path = folder / "logs" / f"{number}-{cfg.seed}"
            words = f"optimizer.lr={cfg.optimizer.lr} trainer.max_steps=300 seed={cfg.seed}"
            changes = {"command": f"msdn train {words}", "wall_time_s": 60.0 * (number + 1)}
            write_run(path, cfg, scores, changes=changes)
            os.utime(path / "result.json", (1000 - number, 1000 - number))
    return folder / "logs"


@pytest.fixture
def shown(capsys, monkeypatch):
    """The lines that the command prints at some width."""

    def shown(*words, width=80):
        console = Console(markup=False, emoji=False, highlight=False, width=width)
        monkeypatch.setattr("msdn_lit.analysis.terminal.ranking.terminal", lambda: console)
        report.run([*map(str, words), "--format", "table"])
        return capsys.readouterr().out.splitlines()

    return shown


def ranks(lines):
    """The groups of the first table as (learning rate, lambda_cal), from the top."""
    text = "\n".join(lines)
    found = re.findall(r"lambda_cal=([\d.]+), *\n? *(?:optimizer\.)?lr=([\d.]+)", text)
    return [(float(lr), float(cal)) for cal, lr in found]


def test_the_time_of_seeds_that_trained_at_once_counts_once(load_config, tmp_path, capsys):
    cfg = load_config("features=mobilenetv2_224")
    together = [tmp_path / "trial" / f"seed_{seed}" for seed in (0, 1)]
    for cfg.seed, path in enumerate([*together, tmp_path / "seed_2"]):
        write_run(path, cfg, {"last": evaluation()}, changes={"wall_time_s": 600.0})
    (tmp_path / "trial" / "result.json").write_text('{"seeds": [0, 1]}')
    report.run([str(tmp_path), "--format", "markdown"])
    assert re.search(r"\| 0 1 2 \|.*\| 20 min ", capsys.readouterr().out)
    report.run([str(tmp_path), "--format", "html", "--output", str(tmp_path / "page")])
    assert ">20 min<" in (tmp_path / "page" / "report.html").read_text()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_the_best_group_is_first(logs, shown, width):
    lines = shown(logs, width=width)
    assert max(map(len, lines)) <= width
    assert ranks(lines) == SETTINGS[::-1]
    (header,) = [line.split() for line in lines if line.startswith("settings")]
    scores = ["H", "T1"] if width == 60 else ["H", "U", "S", "T1"]
    assert header == ["settings", *scores, "n"]
    (row,) = [line for line in lines if "47.1" in line]
    assert re.search(r"47\.1 ± 0\.1 .* 83\.0 ± 0\.0 +2$", row.rstrip())  # H, T1, n


def test_what_all_runs_share_is_said_once_and_references_stand_below(logs, shown):
    lines = shown(logs)
    assert lines[0] == "CUB, mobilenetv2_224, paper protocol"
    assert "8 groups of 16 runs" in lines[1]
    assert [line for line in lines if "trainer.max_steps" in line] == ["All: trainer.max_steps=300"]
    assert any(line.startswith("published, peak on test, resnet101_448:  H 68.1") for line in lines)
    assert any(line.startswith("released code, last step:  H 44.6") for line in lines)


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("H", SETTINGS[-1]),
        ("t1", SETTINGS[0]),
        ("time", SETTINGS[0]),
        ("date", SETTINGS[0]),
        ("name", (0.0001, 0.0)),
        ("optimizer.lr", (0.0001, 0.0)),
        ("lambda_cal", (0.0001, 0.0)),
    ],
)
def test_sort(logs, shown, key, first):
    assert ranks(shown(logs, "--sort", key))[0] == first


def test_groups_without_a_value_are_last():
    assert sorted([None, "cosine", 2, None, 0.5], key=_ordered) == [0.5, 2, "cosine", None, None]


def test_the_remedy_of_a_filter_can_be_typed(logs):
    runs = find_runs([logs]).runs
    for run in runs:
        run.result["device"] = "NVIDIA H100 80GB HBM3"
    with pytest.raises(ConfigError) as error:
        filter_runs(runs, ["device=cpu"])
    typed = shlex.split(str(error.value).partition("Type --filter ")[2].rstrip("."))
    assert filter_runs(runs, typed) == runs


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--filter", "optimizer.lr=1e-3"], SETTINGS[:4]),
        (["--filter", "lr=0.001", "--filter", "loss.lambda_cal=0"], [SETTINGS[0]]),
        (["--filter", "model=msdn"], SETTINGS),
        (["--filter", "model._target_=MSDN"], SETTINGS),
        (["--filter", "data.folder=null"], SETTINGS),
        (["--filter", "benchmark=CUB", "--last", "4"], SETTINGS[:2]),
        (["--last", "100"], SETTINGS),
    ],
)
def test_filter_and_last(logs, capsys, words, expected):
    report.run([str(logs), *words, "--format", "csv"])
    table = capsys.readouterr().out
    found = {round(float(T1), 6) for T1 in re.findall(r"last step,300,([\d.]+),", table)}
    assert found == {round(0.9 - SETTINGS.index(setting) / 100, 6) for setting in expected}


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--sort", "harmonic"], "found 'harmonic'. Type --sort H."),
        (["--sort", "names"], "Did you mean --sort name?"),
        (["--filter", "optimizer.lr"], "expected KEY=VALUE, e.g. optimizer.lr=0.001, found"),
        (["--filter", "=3"], "expected KEY=VALUE"),
        (
            ["--filter", "optimiser.lr=1"],
            "no config key 'optimiser.lr'. Type --filter optimizer.lr=",
        ),
        (["--filter", "optimizer.lr=5"], "Type --filter optimizer.lr=0.001"),
        (["--filter", "_target_=MSDN"], "stands for several settings: found"),
        (["--last", "0"], "expected a number of runs from 1 on, found '0'"),
        (["--last", "x"], "expected a number of runs from 1 on, found 'x'"),
        (["--format", "pdf"], "invalid choice: 'pdf'"),
    ],
)
def test_a_wrong_choice_ends_in_one_line(logs, command, words, says):
    code, out, err = command(report, str(logs), *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


@pytest.mark.fault("settings")
def test_what_a_message_advises_works(logs, command):
    _, _, err = command(report, str(logs), "--filter", "lr=5")
    words = re.search(r"Type (--filter \S+?)\.?$", err)[1].split()
    assert command(report, str(logs), *words)[0] == 0


def test_a_terminal_gets_the_table_and_a_pipe_markdown(logs, command, monkeypatch):
    assert command(report, str(logs))[1].startswith("# Results")
    assert command(report, str(logs), "--format", "markdown")[1].startswith("# Results")
    monkeypatch.setattr("msdn_lit.commands.results.report._is_terminal", lambda: True)
    assert command(report, str(logs))[1].startswith("CUB, mobilenetv2_224")


class TestTable:
    TABLE = Table(
        "x",
        "Title",
        ["settings", "H", "AUSUC", "time", "n"],
        [
            ["optimizer.lr=0.1, loss.lambda_cal=0.25", Share(0.5), Share(0.4), "1 min", 3],
            ["optimizer.lr=0.2, loss.lambda_cal=0.25", Share(0.6), Share(0.3), "2 min", 3],
        ],
        ["AUSUC: the area.", "Percent."],
    )

    def printed(self, width, table=TABLE):
        file = io.StringIO()
        console = Console(file=file, width=width, force_terminal=True, color_system="standard")
        print_table(table, console=console)
        return file.getvalue()

    def test_the_best_of_each_score_is_bold(self):
        text = self.printed(100)
        for value, is_bold in (("50.0", False), ("60.0", True), ("40.0", True), ("30.0", False)):
            assert bool(re.search(rf"\x1b\[1m *{value} *\x1b", text)) == is_bold

    @pytest.mark.parametrize(
        ("width", "has", "lacks"),
        [
            (100, ["optimizer.lr=0.1, loss.lambda_cal=0.25", "time", "AUSUC"], ["wider"]),
            (60, ["lr=0.1, lambda_cal=0.25", "lr is optimizer.lr", "1 min"], ["wider"]),
            (42, ["lr=0.1, lambda_cal=0.25", "A wider terminal also shows: time."], ["1 min"]),
            (34, ["A wider terminal also shows: AUSUC, time."], ["the area"]),
        ],
    )
    def test_less_room(self, width, has, lacks):
        plain = re.sub(r"\x1b\[\d*m", "", self.printed(width))
        assert max(len(line.rstrip()) for line in plain.splitlines()) <= width
        text = " ".join(plain.split())
        assert all(word in text for word in has), plain
        assert not any(word in text for word in lacks), plain

    def test_the_experiment_that_all_begin_with_is_left_out_where_room_is_scarce(self):
        names = ["demo + ablation/none", "demo", "demo + ablation/x, optimizer.lr=0.1"]
        table = Table("x", "", ["settings", "H"], [[name, Share(0.5)] for name in names])
        assert "demo + ablation/none" in self.printed(80, table)
        lines = re.sub(r"\x1b\[\d*m", "", self.printed(30, table)).splitlines()
        assert [line.split("  ")[0].rstrip() for line in lines[2:5]] == [
            "none",
            "demo",
            "x, lr=0.1",
        ]

    def test_columns_of_one_text_are_in_the_title_and_empty_ones_nowhere(self):
        rows = [["CUB", "a", Share(0.5), None, 1], ["CUB", "b", Share(0.6), None, 1]]
        table = Table("x", "Title", ["benchmark", "settings", "H", "std", "n"], rows)
        text = self.printed(80, table)
        assert "Title: benchmark CUB" in text
        assert "std" not in text


def test_reports_and_scores_need_no_heavy_library(load_config, tmp_path):
    cfg = load_config()
    for cfg.seed in (0, 1):
        write_run(tmp_path / str(cfg.seed), cfg)
    code = f"""
import sys
from msdn_lit.commands.results import report, scores
report.run([{str(tmp_path)!r}, "--format", "table"])
scores.run(scores._parse([{str(tmp_path / "0")!r}, "--classes", "3"]))
print("loaded:", *sorted(set({HEAVY!r}) & sys.modules.keys()))
"""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert "CUB, resnet101_448" in done.stdout
    assert "Lowest accuracy (last" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded:"
