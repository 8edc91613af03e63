"""msdn report on the command line: notations, figures, damaged folders, wrong commands."""

import csv
import errno
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msdn_lit.analysis.output.formats import SavedFigure, Share, Table, comma_separated, markdown
from msdn_lit.analysis.output.latex import latex
from msdn_lit.analysis.statistics import summarise
from msdn_lit.commands.results import report
from msdn_lit.commands.train import train
from msdn_lit.runs.reader import find_runs
from msdn_lit.runs.score_cache import ScoreCache
from tests.run_folders import made_up_cache, write_run

HOSTILE = Table(
    "hostile",
    "A | B & <i>C</i>",
    ["name_1", "T1", "H 95 %", "p", "n"],
    [
        ["<b>a|b</b> & 50 % _x_ {y} \\z #1 $2 ~^", summarise([0.5, 0.6]), (0.1, 0.9), 0.0123, 2],
        ["plain", summarise([0.25]), None, None, 1],
        ["share", Share(0.5), None, 1.0, 1],
    ],
    ["100 % of <all>"],
)


@pytest.fixture
def logs(load_config, tmp_path):
    """Four runs of three values of a setting, one of them with two seeds."""
    cfg = load_config()
    for name, cfg.seed, cfg.loss.lambda_cal in (
        ("0", 0, 0.1),
        ("1", 1, 0.1),
        ("b", 0, 0.2),
        ("c", 0, 0.4),
    ):
        write_run(tmp_path / "logs" / name, cfg, recipe="cub_gzsl")
    return tmp_path / "logs"


@pytest.fixture
def call(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["msdn-report", *map(str, arguments)])
        code = 0
        try:
            report.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


class TestNotations:
    def test_markdown_has_as_many_cells_in_every_row(self):
        text = markdown([HOSTILE], "title", [SavedFigure("a.png", "Bars | lines.", 3.3)])
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}
        assert len({len(line) for line in lines}) == 1
        assert "55.0 ± 7.1 | 10.0 to 90.0" in lines[2]
        assert "![a.png](a.png)\n\nBars \\| lines.\n" in text

    def test_latex_is_balanced_and_escaped(self):
        text = latex([HOSTILE], [])
        assert re.findall(r"\\(begin|end){(\w+)}", text) == [
            ("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table"),
        ]  # fmt: skip
        body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
        rows = [row for row in body.split(r"\\") if row.strip()]
        assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [4, 4, 4]
        assert re.search(r"\\begin{tabular}{lrrrr}", text)
        assert (
            r"\& 50 \% \_x\_ \{y\} \textbackslash{}z \#1 \$2 \textasciitilde{}\textasciicircum{}"
            in rows[0]
        )
        without = re.sub(r"\\[&%$#_{}]|\\[a-z]+", "", text)
        assert without.count("{") == without.count("}")
        assert without.count("$") % 2 == 0

    def test_csv_parses_back_in_full_precision(self):
        first, second, third = csv.DictReader(comma_separated(HOSTILE).splitlines())
        assert first["name_1"] == HOSTILE.rows[0][0]
        assert float(first["T1"]) == pytest.approx(0.55, abs=1e-15)
        assert float(first["T1 std"]) == HOSTILE.rows[0][1].std
        assert (float(first["H 95 % low"]), float(first["H 95 % high"])) == (0.1, 0.9)
        assert (second["T1 std"], second["H 95 % low"], second["T1 n"]) == ("", "", "1")
        assert float(third["T1"]) == 0.5

    @pytest.mark.parametrize("notation", ["md", "latex", "html", "csv"])
    def test_every_notation_has_the_numbers(self, logs, call, notation):
        code, out, err = call(logs, "--format", notation)
        assert (code, err) == (0, "")
        last = [
            json.loads((logs / name / "result.json").read_text())["scores"]["last"] for name in "01"
        ]
        H = summarise([scores["harmonic_mean"] for scores in last])
        assert (repr(H.mean) if notation == "csv" else f"{100 * H.mean:.1f}") in out

    def test_files(self, logs, call, tmp_path):
        code, out, _ = call(logs, "--format", "csv", "--output", tmp_path / "out")
        assert code == 0
        names = {"scores.csv", "reporting.csv", "protocols.csv", "reproduction.csv", "runs.csv"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == names
        assert {line.rpartition("/")[2] for line in out.splitlines()} == names


def test_figures(logs, call, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"Bird {c}" for c in range(10)))
    code, _, err = call(logs, "--output", tmp_path / "out", "--figures", "--class-names", names)
    assert (code, err) == (0, "")
    kinds = {}
    for path in (tmp_path / "out").glob("*.png"):
        kinds.setdefault(path.name.partition("_")[0], []).append(path)
        assert np.asarray(Image.open(path).convert("L")).std() > 5  # not empty
        assert path.name in (tmp_path / "out" / "report.md").read_text()
        assert f"## {path.name}\n\n" in (tmp_path / "out" / "captions.md").read_text()
    numbers = {
        "bars": 2,
        "curves": 1,
        "sensitivity": 1,
        "prediction": 3,
        "classes": 3,
        "history": 3,
        "losses": 3,
    }
    assert {kind: len(paths) for kind, paths in kinds.items()} == numbers


def test_class_names_that_do_not_fit(logs, call, tmp_path):
    (tmp_path / "names.txt").write_text("one\n")
    code, _, err = call(
        logs, "--output", tmp_path / "out", "--figures", "--class-names", tmp_path / "names.txt"
    )
    assert (code, err) == (
        2,
        "msdn report: The class names do not fit: expected 10 classes, found 1.\n",
    )


def test_no_text_is_a_formula():
    """Texts that a spreadsheet would run get an apostrophe; numbers stay numbers."""
    texts = [
        "=HYPERLINK(1)",
        "+1+1",
        "-cmd|x",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\uff1d1",
        "-1_0",
    ]
    numbers = ["-0.5", "+1e-3", "-inf", "12"]
    plain = ["a=b", "1-2", "", "'=1", " =1"]
    table = Table("x", "", ["=class", "H"], [[text, -0.5] for text in (*texts, *numbers, *plain)])
    header, *rows = csv.reader(io.StringIO(comma_separated(table), newline=""))
    assert header == ["'=class", "H"]
    assert [row[0] for row in rows] == [
        *(f"'{text}".replace("\r", " ") for text in texts),
        *numbers,
        *plain,
    ]
    assert {row[1] for row in rows} == {"-0.5"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", r"\<script>alert(1)\</script>"),
        ("<!-- x", r"\<!-- x"),
        ("![x](https://example.org/x.png)", r"![x]\(https://example.org/x.png)"),
        ("[x](javascript:alert(1))", r"[x]\(javascript:alert(1))"),
        ("a|b\nc", r"a\|b c"),
        ("\x1b[31mred", "?[31mred"),
        ("[2026-01-02_x](2026-01-02_x)", "[2026-01-02_x](2026-01-02_x)"),
        ("p < 0.05 <= 1", "p < 0.05 <= 1"),
    ],
)
def test_no_text_is_markup(name, shown):
    table = Table("x", name, ["class", "H"], [[name, 0.5], ["other", 0.5]], [name])
    page = markdown([table], name)
    assert page.splitlines()[0] == f"# {shown}"
    assert page.count(shown) == 4
    assert page.count("\n| ") == 4


DAMAGES = {
    "result.json": [
        (b"{", r"result.json is damaged"),
        (b"\xff", r"result.json is damaged"),
        (b"[]", r"result.json is damaged: expected names and values"),
        (b"{}", r"result.json is damaged: it has no benchmark"),
        (b"[" * 100_000, r"result.json is damaged"),
        (b'{"a": "\\ud800"}', r"result.json is damaged \(.*surrogates"),
    ],
    "attention.json": [
        (b"{", r"attention.json is damaged"),
        (
            b'{"against": "x", "splits": [], "pairs": 1, "scores": {"chance": 1}}',
            r"attention.json is damaged",
        ),
    ],
    "scores/classes.txt": [
        (b"\xff", r"classes.txt cannot be read"),
        (b"one\n", r"classes.txt does not fit: expected 10 classes, found 1"),
    ],
    "config.yaml": [
        (b"a: [", r"config.yaml is damaged"),
        (b"1", r"config.yaml is damaged: expected a config of msdn train"),
        (b"[" * 30_000, r"config.yaml is damaged \(it is nested deeper than 100 levels\)"),
        (b"\xff", r"config.yaml is damaged"),
    ],
    "scores/last.npz": [(b"no zip", r"last.npz cannot be read as scores")],
    "metrics/version_0/metrics.csv": [
        (
            b"step,test/acc_czsl,test/acc_unseen,test/acc_seen,test/harmonic_mean\n1,x,1,1,1",
            r"metrics.csv is damaged",
        ),
        (b"\xff\xfe", r"metrics.csv is damaged"),
    ],
}


@pytest.mark.fault("run folders")
class TestDamage:
    @pytest.mark.parametrize(
        ("file", "content", "says"), [(f, *case) for f, cases in DAMAGES.items() for case in cases]
    )
    def test_is_one_row_and_the_rest_is_done(self, logs, call, file, content, says):
        (logs / "c" / file).write_bytes(content)
        code, out, err = call(logs)
        assert (code, err) == (0, "")
        assert len(re.findall(rf"\| damaged +\| .*logs/c/.*{says}", out)) == 1
        assert ("lambda_cal=0.4" in out) == (
            file not in ("result.json", "config.yaml")
        )  # the scores remain if only another file is damaged

    @pytest.mark.parametrize("file", ["result.json", "config.yaml", "scores/last.npz"])
    @pytest.mark.parametrize("kind", ["folder", "loop", "pipe", "nowhere"])
    def test_other_things_in_the_place_of_a_file(self, logs, call, file, kind):
        path = logs / "c" / file
        path.unlink()
        make = {
            "folder": path.mkdir,
            "loop": lambda: path.symlink_to(path),
            "pipe": lambda: os.mkfifo(path),
            "nowhere": lambda: path.symlink_to("nowhere"),
        }
        make[kind]()
        code, out, err = call(logs)
        assert (code, err) == (0, "")
        assert len(re.findall(r"\| damaged +\| .*logs/c", out)) == 1

    def test_a_folder_that_cannot_be_read(self, logs, call, monkeypatch):
        scandir = os.scandir

        def denied(path):
            if str(path).endswith("logs/c"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", denied)
        code, out, err = call(logs)
        assert (code, err) == (0, "")
        assert "logs/c cannot be read (Permission denied)." in out

    @pytest.mark.parametrize("notation", ["html", "latex", "csv"])
    def test_is_a_row_in_every_notation(self, logs, call, notation):
        (logs / "c" / "config.yaml").write_text("[" * 30_000)
        (logs / "b" / "scores" / "classes.txt").write_bytes(b"\xff")
        code, out, err = call(logs, "--format", notation)
        assert (code, err) == (0, "")
        assert out.count("nested deeper than 100 levels") == 1
        assert out.count("classes.txt cannot be read") == 1

    def test_is_a_row_beside_a_record(self, logs, call, tmp_path):
        (logs / "c" / "config.yaml").write_text("[" * 30_000)
        record = tmp_path / "2026-01-02_record"
        code, out, err = call(logs, "--record", record)
        assert (code, err) == (0, "")
        assert "is nested deeper than 100 levels" in out
        assert (record / "README.md").is_file()

    def test_scores_that_are_no_numbers(self, logs, call):
        path = logs / "c" / "result.json"
        for wrong in (float("nan"), None, "0.5", True, -1, 2, 10**400, [], {}):
            result = json.loads(path.read_text())
            result["scores"]["last"]["acc_seen"] = wrong
            path.write_text(json.dumps(result))
            assert "scores of last are no fractions" in call(logs)[1]

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"step": 12}, "is of another evaluation: expected step 300, found 12"),
            (
                {"logits_ONC": np.full((2, 120, 10), np.nan, dtype=np.float32)},
                "cannot be used as scores (NaN or infinity among the logits)",
            ),
            (
                {"labels_N": np.zeros(3, dtype=np.int64)},
                "cannot be used as scores (3 labels of 120",
            ),
            ({"unseen": np.array([99])}, "cannot be used as scores (a class is not from 0 to 9)"),
        ],
    )
    def test_score_caches_of_something_else(self, logs, call, change, says):
        cache = made_up_cache()
        ScoreCache(
            **{**{name: getattr(cache, name) for name in cache.__dataclass_fields__}, **change}
        ).save(logs / "c" / "scores" / "last.npz")
        assert f"logs/c/scores/last.npz {says}" in call(logs)[1]

    def test_unfinished_runs_are_listed(self, logs, call):
        (logs / "c" / "result.json").unlink()
        assert re.search(r"\| unfinished \| \S*logs/c ", call(logs)[1])

    def test_only_run_folders_are_runs(self, logs):
        (logs / "c" / ".hydra").mkdir()
        for folder in (logs / "c" / ".hydra", logs / "c" / "evaluations" / "1"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.yaml").write_text("{}")
        (logs / "record").mkdir()
        for name in ("config.yaml", "metrics.json"):
            (logs / "record" / name).write_text("{}")
        found = find_runs([logs])
        assert [run.folder.name for run in found.runs] == ["0", "1", "b", "c"]
        assert (found.unfinished, found.faults) == ([], [])


def test_links_are_followed_but_no_run_counts_twice(logs, tmp_path):
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "one").symlink_to(logs / "c")
    (tmp_path / "chosen" / "again").symlink_to(logs / "c")
    (tmp_path / "chosen" / "round").symlink_to(tmp_path / "chosen")
    assert len(find_runs([tmp_path / "chosen"]).runs) == 1
    assert len(find_runs([tmp_path / "chosen", logs, logs / "c"]).runs) == 4


def test_the_history_is_counted_as_the_result_is(logs):
    (run, *_) = find_runs([logs]).runs
    assert list(run.history) == [100, 200, 300]
    for scores in run.scores.values():
        assert run.history[scores["step"]]["harmonic_mean"] == pytest.approx(
            scores["harmonic_mean"]
        )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name run folders, or --index alone"),
        (["nowhere"], "nowhere is no folder"),
        (["."], "There is no finished run: found 1 unfinished"),
        ([".", "--figures"], "--figures needs --output DIR"),
        ([".", "--figures", "pdf"], "--figures needs --output DIR"),
        ([".", "--figures", "jpg"], "--figures: expected png or svg or pdf, found jpg"),
        (["--figures", "."], "write run folders before --figures"),
        ([".", "--columns", "T1"], "--columns needs --format latex"),
        ([".", "--columns", "T1,F"], "expected some of T1,U,S,H,AUSUC, found F"),
        ([".", "--columns", "T1,t1"], "found a name twice in T1,t1"),
        ([".", "--columns", ""], "found nothing"),
        ([".", "--compare"], "--compare takes two paths, not 1"),
        (
            [".", ".", "--compare", "--against", "."],
            "argument --against: not allowed with argument --compare",
        ),
        ([".", "--against", "nowhere"], "nowhere is no folder"),
        (["--against", "."], "name run folders, or --index alone"),
        (["--index", ".", "--against", "."], "name run folders, or --index alone"),
        ([".", "--format", "pdf"], "invalid choice: 'pdf'"),
        ([".", "--index"], "name run folders, or --index alone"),
        (["--index", "."], "holds no records"),
    ],
)
def test_wrong_commands_end_in_one_line(call, tmp_path, arguments, says):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("{}")
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_a_run_of_the_real_command_is_read(mini_config, call):
    cfg = mini_config()
    train.run(cfg)
    code, out, _ = call(cfg.paths.run_dir)
    assert code == 0
    scores = json.loads((Path(cfg.paths.run_dir) / "result.json").read_text())["scores"]["last"]
    assert f"last step       |   12 | {100 * scores['acc_czsl']:4.1f} |" in out
    assert "| AUSUC |" in out
    assert find_runs([Path(cfg.paths.run_dir)]).runs[0].history.keys() == {5, 10, 12}
