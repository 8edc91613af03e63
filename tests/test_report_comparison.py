"""Groups paired by seeds and test images, two or all with one base: scipy, command line."""

import csv
import os

import numpy as np
import pytest
from scipy import stats

from msdn_lit.analysis.comparison import comparison_table
from msdn_lit.analysis.groups import pair_of_groups
from msdn_lit.analysis.pairing import compare_caches, over_images
from msdn_lit.commands.results import report
from msdn_lit.errors import ConfigError
from msdn_lit.runs.reader import find_runs
from tests.run_folders import evaluation, write_run


@pytest.fixture
def make(load_config, tmp_path):
    """Writes runs of one method: make("a", lambda_cal, {seed: H or None for a made-up cache})."""

    def make(name, lambda_cal, seeds, *overrides, **others):
        cfg = load_config(*overrides)
        cfg.loss.lambda_cal = lambda_cal
        for cfg.seed, H in seeds.items():
            write_run(tmp_path / name / str(cfg.seed), cfg, H and {"last": evaluation(H)}, **others)
        return tmp_path / name

    return make


def compared(first, second):
    return comparison_table(*pair_of_groups(find_runs([first]).runs, find_runs([second]).runs))


class TestTwoGroups:
    def test_against_scipy_on_the_common_seeds(self, make):
        one, two = {0: 0.5, 1: 0.52, 2: 0.49, 7: 0.9}, {2: 0.45, 1: 0.5, 0: 0.47, 9: 0.1}
        table = compared(make("a", 0.1, one), make("b", 0.2, two))
        row = dict(zip(table.header, next(row for row in table.rows if row[1] == "H"), strict=True))
        values = [[group[seed] for seed in range(3)] for group in (one, two)]
        test = stats.ttest_rel(*values)
        flips = stats.permutation_test(
            values, lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=99
        )
        assert row["n"] == 3
        assert row["A - B"].mean == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
        assert row["95 % seeds"] == pytest.approx(tuple(test.confidence_interval()))
        assert (row["p (t)"], row["p (sign flips)"]) == pytest.approx((test.pvalue, flips.pvalue))
        assert (row["p images"], row["p classes"], row["images"]) == (None, None, None)  # no caches
        assert "A: CUB, resnet101_448, loss.lambda_cal=0.1, paper protocol" in table.notes

    def test_with_caches(self, make, monkeypatch, capsys):
        first, second = (
            make("a", 0.1, {0: None, 1: None}, skill=2.5),
            make("b", 0.2, {0: None, 1: None}, skill=1.0),
        )
        monkeypatch.setattr("sys.argv", ["msdn-report", str(first), str(second), "--compare"])
        report.main()
        out = capsys.readouterr().out
        assert out.index("## Paired comparison") < out.index("## Scores")
        table = compared(first, second)
        assert [row[0] for row in table.rows[::4]] == [
            "last step",
            "peak H on test",
            "peak T1 on test",
        ]
        row = dict(zip(table.header, table.rows[3], strict=True))
        assert row["p images"] < 0.001
        assert row["95 % images"][0] < row["A - B"].mean < row["95 % images"][1]
        assert (row["images"], row["classes"]) == (120, 10)

    def test_the_same_settings_by_two_versions_of_the_code(self, make):
        table = compared(
            make("a", 0.1, {0: 0.5}), make("b", 0.1, {0: 0.4}, changes={"code": "new"})
        )
        assert table.rows[3][4].mean == pytest.approx(0.1)
        for note, name in zip(table.notes, "AB", strict=False):
            assert note.endswith(f"model=msdn ({name}), paper protocol")

    @pytest.mark.parametrize(
        ("seeds", "overrides", "says"),
        [
            ({1: 0.5}, (), "share no seed and evaluation: found seeds 0 and seeds 1"),
            (
                {0: 0.5},
                ("data=sun",),
                r"expected one benchmark and stage, found CUB \(test\) and SUN \(test\)",
            ),
            ({0: 0.5}, ("protocol=validation",), r"found CUB \(test\) and CUB \(val\)"),
        ],
    )
    def test_what_does_not_compare(self, make, seeds, overrides, says):
        with pytest.raises(ConfigError, match=says):
            compared(make("a", 0.1, {0: 0.5}), make("b", 0.2, seeds, *overrides))

    def test_a_path_with_two_groups(self, make, tmp_path):
        make("both/a", 0.1, {0: 0.5})
        make("both/b", 0.2, {0: 0.5})
        with pytest.raises(
            ConfigError, match=r"first path holds 2 groups: .*lambda_cal=0.1\), .*lambda_cal=0.2\)"
        ):
            compared(tmp_path / "both", make("c", 0.3, {0: 0.5}))


@pytest.fixture
def against(capsys, tmp_path):
    """Runs the command and reads one of its tables: against("full", "logs", ...)."""

    def against(base, *paths, table="against"):
        folders = [str(tmp_path / path) for path in paths]
        arguments = [
            "--against",
            str(tmp_path / base),
            "--format",
            "csv",
            "--output",
            str(tmp_path / "out"),
        ]
        report.run([*folders, *arguments])
        capsys.readouterr()
        return list(csv.DictReader((tmp_path / "out" / f"{table}.csv").read_text().splitlines()))

    return against


def page(capsys, *arguments):
    report.run([str(argument) for argument in arguments])
    return capsys.readouterr().out


class TestAgainst:
    def test_against_scipy_on_the_common_seeds(self, make, against):
        base, ours = {0: 0.5, 1: 0.52, 2: 0.49, 7: 0.9}, {2: 0.45, 1: 0.5, 0: 0.47, 9: 0.1}
        make("full", 0.1, base)
        make("ablations/a", 0.2, ours)
        *_, row = rows = against("full", "ablations")
        assert [(row["settings"], row["protocol"], row["score"]) for row in rows] == [
            ("loss.lambda_cal=0.2", "paper", score)
            for score in ("T1", "U", "S", "H")  # without caches no AUSUC
        ]
        values = [[group[seed] for seed in range(3)] for group in (ours, base)]
        test = stats.ttest_rel(*values)
        for name, expected in (
            ("ours", np.mean(values[0])),
            ("base", np.mean(values[1])),
            ("base std", np.std(values[1], ddof=1)),
            ("ours - base", np.mean(values[0]) - np.mean(values[1])),
            ("95 % seeds low", test.confidence_interval().low),
            ("95 % seeds high", test.confidence_interval().high),
            ("p (t)", test.pvalue),
        ):
            assert float(row[name]) == pytest.approx(expected), name
        assert (row["n"], row["p images"]) == ("3", "")

    def test_with_caches(self, make, against):
        folders = (
            make("full", 0.1, {0: None, 1: None, 2: None}, skill=2.5),
            make("a", 0.2, dict.fromkeys(range(3))),
        )
        rows = {row["score"]: row for row in against("full", "a")}
        assert list(rows) == ["T1", "U", "S", "H", "AUSUC"]
        base, ours = (find_runs([folder]).runs for folder in folders)
        areas = [[run.curves["last"].ausuc for run in runs] for runs in (ours, base)]
        assert float(rows["AUSUC"]["ours - base"]) == pytest.approx(
            np.mean(areas[0]) - np.mean(areas[1])
        )
        assert float(rows["AUSUC"]["p (t)"]) == pytest.approx(stats.ttest_rel(*areas).pvalue)
        images = compare_caches(
            *([run.cache("last") for run in runs] for runs in (ours, base)), over_images
        )
        for name, score in (
            ("T1", "acc_czsl"),
            ("U", "acc_unseen"),
            ("S", "acc_seen"),
            ("H", "harmonic_mean"),
        ):
            row, found = rows[name], images[score]
            assert float(row["ours - base"]) == pytest.approx(found.difference)
            assert float(row["ours - base"]) < 0  # the base is better
            assert [float(row[f"95 % images {end}"]) for end in ("low", "high")] == pytest.approx(
                found.interval
            )
            assert float(row["p images"]) == found.p_value
        assert rows["AUSUC"]["p images"] == ""

    def test_a_seed_without_a_cache(self, make, against):
        make("full", 0.1, dict.fromkeys(range(3)))
        (make("a", 0.2, dict.fromkeys(range(3))) / "1" / "scores" / "last.npz").unlink()
        rows = {row["score"]: row for row in against("full", "a")}
        assert (rows["AUSUC"]["n"], rows["H"]["n"], rows["H"]["p images"]) == ("2", "3", "")

    def test_the_base_is_a_group_of_the_report_and_counts_once(self, make, against, tmp_path):
        make("logs/full", 0.1, {0: 0.5, 1: 0.51})
        make("logs/a", 0.2, {0: 0.4, 1: 0.42})
        (tmp_path / "links").mkdir()
        (tmp_path / "links" / "full").symlink_to(tmp_path / "logs" / "full")
        expected = against("logs/full", "logs/a")
        shown = [row["settings"] for row in against("logs/full", "logs/a", table="scores")]
        assert shown == ["base", "loss.lambda_cal=0.2"]
        for base, *paths in (
            ("logs/full", "logs"),
            ("links", "logs"),
            ("logs/full", "links", "logs/a", "logs/full"),
        ):
            assert against(base, *paths) == expected
        assert not (tmp_path / "out" / "left_out.csv").exists()

    def test_a_newer_run_of_the_bases_settings_is_paired_not_merged(self, make, against, tmp_path):
        make("full", 0.1, {0: 0.5, 1: 0.51}, changes={"code": "old"})
        for folder in (tmp_path / "full").iterdir():
            os.utime(folder / "result.json", (1, 1))
        make("logs", 0.1, {0: 0.52, 1: 0.53, 2: 0.9})
        *_, row = against("full", "logs")
        assert (row["settings"], row["n"]) == ("model=msdn", "2")
        assert float(row["ours - base"]) == pytest.approx(0.02)
        assert [row["settings"] for row in against("full", "logs", table="scores")] == [
            "model=msdn",
            "model=msdn (base)",
        ]

    def test_another_protocol_is_named_as_such(self, make, against):
        make("full", 0.1, {0: 0.5}, "protocol=honest")
        make("logs", 0.1, {0: 0.52})
        *_, row = against("full", "logs")
        assert (row["settings"], row["protocol"]) == ("model=msdn", "paper")
        assert {row["settings"] for row in against("full", "logs", table="scores")} == {
            "model=msdn"
        }

    def test_what_does_not_pair_is_named_or_of_another_table(self, make, capsys, tmp_path):
        base = make("full", 0.1, dict.fromkeys((0, 1)))
        make("logs/a", 0.2, dict.fromkeys((0, 1)))
        make("logs/other_seeds", 0.3, {5: 0.5})
        make("logs/other_images", 0.5, {0: None}, num_seen=5)
        make("logs/sun", 0.6, {0: 0.5}, "data=sun")
        make("logs/features", 0.7, {0: 0.5}, "features=vit_base_224")
        make("logs/val", 0.8, {0: 0.5}, "protocol=validation")
        table = page(capsys, tmp_path / "logs", "--against", base).split("## ")[1]
        assert table.startswith(
            "Paired with base: CUB, resnet101_448, loss.lambda_cal=0.2, paper\n"
        )
        assert "Base: CUB, resnet101_448, base, paper protocol." in table
        assert "- base: loss.lambda_cal=0.1\n" in table
        assert "the test set chose it" in table
        assert table.rstrip().endswith(
            "- Left out: loss.lambda_cal=0.3 (no common seed); loss.lambda_cal=0.5 "
            "(The two methods were not tested on the same images. Compare runs on one split)."
        )

    @pytest.mark.parametrize("notation", ["md", "latex", "html"])
    def test_every_notation_has_it(self, make, capsys, notation):
        base, ours = make("full", 0.1, {0: 0.5, 1: 0.52}), make("a", 0.2, {0: 0.45, 1: 0.5})
        out = page(capsys, ours, "--against", base, "--format", notation)
        assert "51.0 ± 1.4" in out.replace("$\\pm$", "±")
        assert "-3.5 ± 2.1" in out.replace("$\\pm$", "±")

    @pytest.mark.parametrize(
        ("base", "says"),
        [
            (
                "a",
                r"Nothing pairs with .*: found loss.lambda_cal=0.2 \(no common seed\), "
                r"loss.lambda_cal=0.3 \(no com",
            ),
            ("sun", "found no other group of its benchmark, features and stage"),
            ("two", r"--against path holds 2 groups: .*lambda_cal=0.2\), .*lambda_cal=0.3\)"),
            ("empty", "--against path holds 0 groups: no run"),
        ],
    )
    def test_what_is_no_base(self, make, tmp_path, base, says):
        make("a", 0.1, {0: 0.5})
        make("two/b", 0.2, {1: 0.5})
        make("two/c", 0.3, {2: 0.5})
        make("sun", 0.1, {0: 0.5}, "data=sun")
        (tmp_path / "empty").mkdir()
        with pytest.raises(ConfigError, match=says):
            report.run([str(tmp_path / "two"), "--against", str(tmp_path / base)])
