"""Tables and figures as LaTeX: what a paper prints, and that pdflatex takes it."""

import json
import re
import shutil
import subprocess

import pytest

from msdn_lit.analysis.output.latex import escaped
from msdn_lit.commands.results import report
from tests.run_folders import evaluation, write_run

DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx}
\begin{document}
\input{report.tex}
\end{document}
"""
H = (0.40, 0.42, 0.61, 0.5)


def scores(harmonic_mean, acc_czsl=0.5):
    return {"last": evaluation(harmonic_mean, acc_czsl)}


@pytest.fixture
def call(command):
    return lambda *words: command(report, *map(str, words))


@pytest.fixture
def logs(load_config, tmp_path):
    """Two seeds of one group, one seed of another; the second has the higher H and lower T1."""
    cfg = load_config("protocol=honest")
    for (cfg.seed, cfg.loss.lambda_cal), h in zip(((0, 0.1), (1, 0.1), (0, 0.2)), H, strict=False):
        t1 = 0.7 if cfg.loss.lambda_cal == 0.1 else 0.65
        write_run(tmp_path / "logs" / f"{cfg.loss.lambda_cal}_{cfg.seed}", cfg, scores(h, t1))
    return tmp_path / "logs"


def rows_of(text):
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    return [[cell.strip() for cell in row.split("&")] for row in body.split(r"\\") if row.strip()]


class TestScores:
    def test_columns_in_any_order_and_the_best_in_bold(self, call, logs):
        code, text, err = call(logs, "--format", "latex", "--columns", "H,t1")
        assert (code, err) == (0, "")
        assert rows_of(text) == [
            [r"loss.lambda\_cal=0.2", r"\textbf{61.0}", "65.0", "1"],
            [r"loss.lambda\_cal=0.1", r"41.0 $\pm$ 1.4", r"\textbf{70.0} $\pm$ 0.0", "2"],
        ]
        assert r"\toprule" + "\n & H & T1 & n" in text
        assert text.count(r"\begin{table}") == 1
        assert r"\label{tab:cub}" in text
        assert "H, T1 (\\%) on test at the last step: CUB, resnet101\\_448, honest protocol" in text

    def test_the_default_is_four_scores_beside_the_other_tables(self, call, logs):
        _, text, _ = call(logs, "--format", "latex")
        assert r" & T1 & U & S & H & n \\" in text
        assert r"\label{tab:cub_runs}" in text

    def test_equal_numbers_are_both_best_and_a_single_row_has_none(
        self, call, load_config, tmp_path
    ):
        cfg = load_config()
        write_run(tmp_path / "a", cfg, scores(0.60012))
        _, text, _ = call(tmp_path, "--format", "latex", "--columns", "H")
        assert rows_of(text)[0][1] == "60.0"
        cfg.loss.lambda_cal = 0.3
        write_run(tmp_path / "b", cfg, scores(0.6))
        _, text, _ = call(tmp_path, "--format", "latex", "--columns", "H")
        assert [row[1] for row in rows_of(text)] == [r"\textbf{60.0}"] * 2

    def test_peaks_have_a_table_of_their_own(self, call, load_config, tmp_path):
        write_run(tmp_path / "run", load_config())
        _, text, _ = call(tmp_path, "--format", "latex", "--columns", "T1,AUSUC")
        assert re.findall(r"\\label{(.*?)}", text) == ["tab:cub", "tab:cub_peak"]
        reported = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]
        last, peak = (rows_of(part)[0] for part in text.split(r"\begin{table}")[1:])
        assert last[1] == f"{100 * reported['last']['acc_czsl']:.1f}"
        assert peak[1] == f"{100 * reported['peak_acc_czsl']['acc_czsl']:.1f}"
        assert 10 < float(last[2]) < 100

    def test_a_score_that_no_run_has(self, call, logs):
        _, text, _ = call(logs, "--format", "latex", "--columns", "AUSUC")
        assert {row[1] for row in rows_of(text)} == {"--"}

    def test_a_score_that_some_runs_lack_has_their_number(self, call, load_config, tmp_path):
        for seed in (0, 1, 2):
            folder = write_run(tmp_path / str(seed), load_config(f"seed={seed}"))
            if seed == 0:
                shutil.rmtree(folder / "scores")
        _, text, _ = call(tmp_path, "--format", "latex", "--columns", "H,AUSUC")
        assert [cell.endswith("($n$=2)") for cell in rows_of(text)[0][1:]] == [False, True]

    def test_a_row_does_not_begin_with_a_bracket(self, call, load_config, tmp_path):
        """LaTeX would read it as the distance to the row above."""
        for number, name in enumerate(("[a]", "*b")):
            cfg = load_config(f"name='{name}'", f"loss.lambda_cal={number}")
            write_run(tmp_path / str(number), cfg, scores(0.5))
        _, text, _ = call(tmp_path, "--format", "latex")
        assert "\n{}[a] &" in text
        assert "\n{}*b &" in text

    def test_labels_differ_where_benchmarks_do_not(self, call, load_config, tmp_path):
        write_run(tmp_path / "a", load_config("protocol=honest"), scores(0.5))
        write_run(tmp_path / "b", load_config(), scores(0.5))
        _, text, _ = call(tmp_path, "--format", "latex", "--columns", "H")
        assert re.findall(r"\\label{(.*?)}", text) == [
            "tab:cub_resnet101_448_honest", "tab:cub_resnet101_448_paper",
        ]  # fmt: skip


def test_every_figure_is_in_the_text(call, logs, tmp_path):
    out = tmp_path / "out"
    assert call(logs, "--format", "latex", "--output", out, "--figures")[0] == 0
    text = (out / "report.tex").read_text()
    names = re.findall(r"\\includegraphics{(.*?)}", text)
    assert set(names) == {path.name for path in out.glob("*.pdf")} != set()
    assert text.count(r"\begin{figure*}") == sum(name.startswith("bars") for name in names)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex (texlive)")
def test_pdflatex_takes_it(call, load_config, tmp_path):
    """Hostile and long names, every letter of Latin-1 and Latin Extended-A, figures and notes."""
    cfg = load_config()
    write_run(tmp_path / "logs" / "first", cfg)
    letters = "".join(chr(code) for code in (*range(0x21, 0x7F), *range(0xA1, 0x180)))
    names = ("50 % & #1 $x_2$ {a}^~\\ \u2192 \u03b1 \u2019", letters, "long_" * 30)
    for number, name in enumerate(names):
        cfg.data.semantics.word_vectors = name
        write_run(tmp_path / "logs" / str(number), cfg)
    out = tmp_path / "out"
    code, _, err = call(tmp_path / "logs", "--format", "latex", "--output", out, "--figures")
    assert (code, err) == (0, "")
    (out / "paper.tex").write_text(DOCUMENT)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=out,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    assert (out / "paper.pdf").stat().st_size > 10_000


def test_letters_that_pdflatex_lacks():
    assert escaped("a\u4e2db \u03b1 \u2192 \ufb01 \u2019") == (
        "a[U+4E2D]b $\\alpha$ $\\rightarrow$ fi \u2019"
    )
