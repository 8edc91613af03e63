"""Groups of runs, the tables of a report, and the verdicts beside published numbers."""

import os
import statistics
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from msdn_lit.analysis.groups import group_runs, usual_of
from msdn_lit.analysis.output.report import (
    protocol_table,
    report_tables,
    reproduction_table,
    score_table,
)
from msdn_lit.analysis.references import REFERENCES
from msdn_lit.runs.reader import find_runs
from tests.run_folders import evaluation, made_up_cache, write_run

PEAKS = {"peak_harmonic_mean": evaluation(), "peak_acc_czsl": evaluation()}


def test_a_number_is_one_setting_in_any_spelling(make, tmp_path):
    """0 and 0.0 are equal, and a guard such as recipe_of is no setting."""
    for seed, words in enumerate((["loss.lambda_distill=0"], ["loss.lambda_distill=0.0"])):
        make(str(seed), f"seed={seed}", *words)
    make("2", "seed=2", "loss.lambda_distill=0", "recipe_of=null")
    (group,), _ = group_runs(find_runs([tmp_path / "logs"]).runs)
    assert len(group.runs) == 3
    make("3", "seed=3", "loss.lambda_distill=0", "trainer.val_check_interval=1")
    make("4", "seed=4", "loss.lambda_distill=0", "trainer.val_check_interval=1.0")
    make("5", "seed=5", f"loss.lambda_distill={10**400}")
    assert len(group_runs(find_runs([tmp_path / "logs"]).runs)[0]) == 4


@pytest.fixture
def make(load_config, tmp_path):
    """Writes a run: make("folder", "override", ..., scores=..., changes=...)."""
    return lambda name, *overrides, scores=None, **others: write_run(
        tmp_path / "logs" / name, load_config(*overrides), scores, **others
    )


def groups(tmp_path):
    found = find_runs([tmp_path / "logs"])
    assert (found.unfinished, found.faults) == ([], [])
    return group_runs(found.runs)[0]


def rows(table):
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


class TestGroups:
    def test_runs_that_differ_in_their_seed_and_machine_are_one(self, make, tmp_path):
        last = {"last": evaluation()}
        make("a/0", "seed=0", scores=last)
        make(
            "b",
            "seed=1",
            "trainer=cpu",
            "paths.data_dir=/other",
            "callbacks=figures",
            "logger=tensorboard",
            scores=last,
        )
        make(
            "a/deep/er",
            "seed=2",
            "data.feature_cache=disk",
            "features.device=cpu",
            "task_name=x",
            scores=last,
        )
        (group,) = groups(tmp_path)
        assert [run.seed for run in group.runs] == [0, 1, 2]
        assert group.name == "model=msdn"

    def test_names_say_what_differs(self, make, tmp_path):
        last = {"last": evaluation()}
        make("a", scores=last)
        make("b", "loss.lambda_cal=0.2", scores=last)
        choices = {"model": "attribute_to_visual", "loss": "release"}
        make("c", "model=attribute_to_visual", scores=last, changes={"choices": choices})
        make("d", "trainer=ddp", scores=last)
        found = groups(tmp_path)
        assert {run.folder.name: group.name for group in found for run in group.runs} == {
            "a": "base",
            "b": "loss.lambda_cal=0.2",
            "c": "model=attribute_to_visual",
            "d": "trainer.devices=2, trainer.strategy=ddp",
        }
        usual = "model=msdn, loss.lambda_cal=0.1, trainer.devices=1, trainer.strategy=auto"
        assert usual_of(found) == [f"base: {usual}"]

    def test_without_a_majority_every_name_states_its_value(self, make, tmp_path):
        for number, value in enumerate((0.1, 0.1, 0.2, 0.4)):
            setting = [f"loss.lambda_cal={value}", f"optimizer.lr={1 if number == 1 else 2}"]
            make(str(number), *setting, scores={"last": evaluation()})
        names = {run.folder.name: group.name for group in groups(tmp_path) for run in group.runs}
        assert names == {
            "0": "loss.lambda_cal=0.1",
            "1": "loss.lambda_cal=0.1, optimizer.lr=1",
            "2": "loss.lambda_cal=0.2",
            "3": "loss.lambda_cal=0.4",
        }

    def test_the_config_names_a_group(self, make, tmp_path):
        for seed in range(2):
            make(f"a{seed}", "++name=mine", f"seed={seed}", scores={"last": evaluation()})
        make("b", "++name=swept", "loss.lambda_cal=0.2", scores={"last": evaluation()})
        make("c", "++name=swept", "loss.lambda_cal=0.3", scores={"last": evaluation()})
        make("d", "++name=[x]", "loss.lambda_cal=0.4", scores={"last": evaluation()})
        names = {run.folder.name: group.name for group in groups(tmp_path) for run in group.runs}
        assert names == {
            "a0": "mine",
            "a1": "mine",
            "b": "swept, loss.lambda_cal=0.2",
            "c": "swept, loss.lambda_cal=0.3",
            "d": "loss.lambda_cal=0.4",
        }

    def test_benchmark_backbone_and_protocol_are_columns_not_names(self, make, tmp_path):
        for number, override in enumerate(
            (
                "data=cub",
                "data=sun",
                "features=resnet101_224",
                "protocol=honest",
                "protocol=validation",
            )
        ):
            make(str(number), override, scores={"last": evaluation()})
        shown = {
            (group.benchmark, group.features, group.protocol, group.name)
            for group in groups(tmp_path)
        }
        assert shown == {
            ("CUB", "resnet101_448", "paper", "model=msdn"),
            ("SUN", "resnet101_448", "paper", "model=msdn"),
            ("CUB", "resnet101_224", "paper", "model=msdn"),
            ("CUB", "resnet101_448", "honest", "model=msdn"),
            ("CUB", "resnet101_448", "validation", "model=msdn"),
        }

    def test_experiments_stand_for_all_that_they_set(self, make, tmp_path):
        last = {"last": evaluation()}
        make("a", "experiment=cub_best", scores=last, recipe="cub_best")
        make(
            "b",
            "experiment=[cub_gzsl,ablation/baseline]",
            scores=last,
            recipe="[cub_gzsl,ablation/baseline]",
        )
        make("c", "experiment=cub_gzsl", scores=last, recipe="cub_gzsl")
        make("d", "experiment=cub_gzsl", "loss.lambda_cal=0.2", scores=last, recipe="cub_gzsl")
        names = ["cub_best", "cub_gzsl + ablation/baseline", "cub_gzsl, loss.lambda_cal=0.1"]
        assert {group.name for group in groups(tmp_path)} == {
            *names,
            "cub_gzsl, loss.lambda_cal=0.2",
        }
        make("e", "model=dazle", scores=last)  # one without
        assert not any("cub_best" in group.name for group in groups(tmp_path))

    def test_other_data_under_the_same_config(self, make, tmp_path):
        last = {"last": evaluation()}
        for name, weights in (("a", "1" * 64), ("b", "2" * 64)):
            make(name, scores=last, changes={"data": {"weights": weights}})
        assert [group.name for group in groups(tmp_path)] == [
            "weights=11111111",
            "weights=22222222",
        ]

    @pytest.mark.fault("records")
    def test_other_word_vectors_under_the_same_config(self, make, tmp_path):
        for name, digest in (("a", "1" * 64), ("b", "2" * 64)):
            data = {"split": "c5c5", "weights": "79fa", "word_vectors": {"sha256": digest}}
            make(name, scores={"last": evaluation()}, changes={"data": data})
        assert [group.name for group in groups(tmp_path)] == [
            "word_vectors=11111111",
            "word_vectors=22222222",
        ]

    @pytest.mark.fault("records")
    def test_seeds_on_features_that_were_extracted_twice(self, make, tmp_path):
        for seed, digest in enumerate(("1" * 64, "2" * 64, "2" * 64)):
            data = {"split": "c5c5", "weights": "79fa", "regions_sha256": digest}
            scores = {"last": evaluation()}
            make(f"run{seed}", f"seed={seed}", scores=scores, changes={"data": data})
        (group,) = groups(tmp_path)
        (note,) = [note for note in score_table([group]).notes if "CAUTION" in note]
        assert note.endswith("were trained on 2 extractions of the features.")

    def test_a_setting_that_older_code_did_not_have(self, make, tmp_path):
        last = {"last": evaluation()}
        make("old", "seed=0", "~data.val_classes", scores=last, changes={"code": "old"})
        make("new", "seed=1", scores=last)
        (group,) = groups(tmp_path)
        assert any("CAUTION: the seeds of CUB" in note for note in score_table([group]).notes)
        make("other", "seed=2", "data.val_classes.seed=5", scores=last)
        assert len(groups(tmp_path)) == 3  # the value in the old code is unknown

    def test_a_null_is_no_setting_that_was_not_there(self, make, tmp_path):
        make(
            "control",
            "seed=0",
            "data.semantics.shuffle_seed=0",
            scores={"last": evaluation()},
            changes={"code": "old"},
        )
        make("full", "seed=1", scores={"last": evaluation()})
        assert len(groups(tmp_path)) == 2

    def test_a_run_is_not_named_by_a_setting_that_it_lacks(self, make, tmp_path):
        last = {"last": evaluation()}
        make("old", "~model.region_dropout", scores=last, changes={"code": "old"})
        make("new", scores=last)
        make("dropped", "model.region_dropout=0.8", scores=last)
        names = {run.folder.name: group.name for group in groups(tmp_path) for run in group.runs}
        assert names == {
            "old": "model=msdn",
            "new": "model.region_dropout=0.0",
            "dropped": "model.region_dropout=0.8",
        }

    def test_a_null_that_was_set_is_named(self, make, tmp_path):
        for name, value in (("control", 0), ("full", "null")):
            make(name, f"data.semantics.shuffle_seed={value}", scores={"last": evaluation()})
        assert [group.name for group in groups(tmp_path)] == [
            "data.semantics.shuffle_seed=0",
            "data.semantics.shuffle_seed=null",
        ]

    def test_a_lacking_setting_is_null_where_it_alone_tells_two_apart(self, make, tmp_path):
        make("a", "+model.extra=x", scores={"last": evaluation()})
        make(
            "b", "+model.extra._target_=x", scores={"last": evaluation()}
        )  # named "model.extra", too
        assert [group.name for group in groups(tmp_path)] == [
            "model.extra=null, model.extra=x",
            "model.extra=x, model.extra=null",
        ]

    def test_of_two_runs_of_one_seed_the_newer_one_counts(self, make, tmp_path):
        for name, time in (("a", 2_000_000_000), ("b", 1_000_000_000)):
            os.utime(
                make(name, scores={"last": evaluation(step=time)}) / "result.json", (time, time)
            )
        (group,), repeated = group_runs(
            find_runs([tmp_path / "logs", tmp_path / "logs" / "a"]).runs
        )
        assert [run.folder.name for run in group.runs] == ["a"]
        assert len(repeated) == 1
        assert "logs/b is left out" in repeated[0]


class TestScores:
    def test_against_an_independent_recomputation(self, make, tmp_path):
        for seed in range(3):
            make(str(seed), f"seed={seed}")
        row = rows(score_table(groups(tmp_path)))[0]
        scores = [brute_force(made_up_cache(seed)) for seed in range(3)]
        for name, values in zip(
            ("T1", "U", "S", "H", "AUSUC", "oracle H"), zip(*scores, strict=True), strict=True
        ):
            assert row[name].mean == pytest.approx(statistics.mean(values), abs=1e-6), name
            assert row[name].std == pytest.approx(statistics.stdev(values), abs=1e-6), name
        H = [values[3] for values in scores]
        assert row["H 95 %"] == pytest.approx(
            tuple(stats.ttest_1samp(H, 0).confidence_interval()), abs=1e-6
        )
        assert (row["n"], row["step"], row["protocol"], row["features"]) == (
            3,
            "300",
            "paper",
            "resnet101_448",
        )

    def test_evaluations_are_labelled(self, make, tmp_path):
        make("a", scores={"last": evaluation()} | PEAKS)
        make("b", "protocol=validation", scores={"last": evaluation()} | PEAKS)
        labels = [row["evaluation"] for row in rows(score_table(groups(tmp_path)))]
        assert labels == [
            "last step",
            "peak H on test",
            "peak T1 on test",
            "last step",
            "peak H on val",
            "peak T1 on val",
        ]

    def test_steps_of_peaks(self, make, tmp_path):
        for seed, step in enumerate((300, 100, 200)):
            make(
                str(seed),
                f"seed={seed}",
                scores={"last": evaluation(), "peak_harmonic_mean": evaluation(step=step)},
            )
        assert [row["step"] for row in rows(score_table(groups(tmp_path)))] == ["300", "100 to 300"]

    def test_two_protocols_side_by_side(self, make, tmp_path):
        peaks = {
            "peak_harmonic_mean": evaluation(0.49, acc_czsl=0.1),
            "peak_acc_czsl": evaluation(0.1, acc_czsl=0.55),
        }
        make("paper", scores={"last": evaluation(0.45)} | peaks)
        (row,) = rows(protocol_table(groups(tmp_path)))
        assert [row[f"peak {name}"].mean for name in ("T1", "H")] == [0.55, 0.49]
        assert (row["last H"].mean, row["last step of"]) == (0.45, "paper")
        make("honest", "protocol=honest", scores={"last": evaluation(0.44)})
        (row,) = rows(protocol_table(groups(tmp_path)))
        assert (row["last H"].mean, row["last step of"]) == (0.44, "honest")

    def test_validation_scores_are_no_results(self, make, tmp_path):
        make("a", "protocol=validation", scores={"last": evaluation()} | PEAKS)
        assert [table.slug for table in report_tables(groups(tmp_path))] == ["scores", "runs"]

    def test_an_unknown_split_is_shouted(self, make, tmp_path):
        make(
            "a", scores={"last": evaluation()}, changes={"data": {"split_variant": "unknown 1234"}}
        )
        assert all(
            row["benchmark"] == "CUB (UNOFFICIAL SPLIT)"
            for row in rows(score_table(groups(tmp_path)))
        )


class TestReproduction:
    @pytest.mark.parametrize(
        ("H", "expected"),
        [
            (0.681, "within"),
            (0.6711, "within"),
            (0.691, "within"),
            (0.6699, "below"),
            (0.6921, "above"),
        ],
    )
    def test_verdicts(self, make, tmp_path, H, expected):
        peaks = PEAKS | {"peak_harmonic_mean": evaluation(H)}
        make("a", scores={"last": evaluation()} | peaks, recipe="cub_gzsl")
        table = rows(reproduction_table(groups(tmp_path)))
        assert [row["score"] for row in table[:4]] == ["T1", "U", "S", "H"]
        assert [row["published"] for row in table[:4]] == pytest.approx(
            [0.761, 0.687, 0.675, 0.681]
        )
        assert table[3]["against published"] == expected
        assert {row["against published"] for row in table[4:]} == {
            None
        }  # the published numbers are peaks

    @pytest.mark.parametrize(
        ("overrides", "changes", "reason"),
        [
            (("features=mobilenetv2_448",), {}, "other backbone"),
            (("features=semisynthetic",), {}, "semi-synthetic, no images"),
            ((), {"data": {"split_variant": "unknown 1"}}, "other split"),
        ],
    )
    def test_what_does_not_compare(self, make, tmp_path, overrides, changes, reason):
        make(
            "a",
            *overrides,
            scores={"last": evaluation()} | PEAKS,
            changes=changes,
            recipe="cub_gzsl",
        )
        table = rows(reproduction_table(groups(tmp_path)))
        assert {row["against published"] for row in table[:4]} == {f"not comparable: {reason}"}

    def test_honest_runs_have_no_peak(self, make, tmp_path):
        make("a", "protocol=honest", scores={"last": evaluation()}, recipe="cub_gzsl")
        table = rows(reproduction_table(groups(tmp_path)))
        assert [row["protocol"] for row in table] == 4 * ["honest: last step"]

    @pytest.mark.parametrize("recipe", [None, "demo", "[cub_gzsl,ablation/no_distillation]"])
    def test_other_experiments_reproduce_nothing(self, make, tmp_path, recipe):
        make("a", scores={"last": evaluation()} | PEAKS, recipe=recipe)
        assert reproduction_table(groups(tmp_path)).rows == []

    def test_the_released_code_is_held_against_our_run_of_its_seed(self, make, tmp_path):
        for seed, H in ((214, 0.45), (0, 0.1)):
            scores = {
                "last": evaluation(H),
                "peak_harmonic_mean": evaluation(H),
                "peak_acc_czsl": evaluation(H),
            }
            make(
                str(seed),
                f"seed={seed}",
                "features=mobilenetv2_224",
                scores=scores,
                recipe="cub_gzsl",
            )
        mine = [row for row in rows(reproduction_table(groups(tmp_path))) if row["score"] == "H"]
        assert [(row["against released code"], row["n"]) for row in mine] == 2 * [
            ("within (seed 214: 45.0)", 2)
        ]
        assert [row["released code"] for row in mine] == pytest.approx([0.468, 0.446])
        assert [row["ours"].mean for row in mine] == pytest.approx([0.275, 0.275])

    def test_the_figures_are_those_of_the_sources(self):
        values = {
            (r.benchmark, r.features, r.reported): tuple(r.percent.values()) for r in REFERENCES
        }
        assert values == {
            ("CUB", "resnet101_448", "peak"): (76.1, 68.7, 67.5, 68.1),
            ("SUN", "resnet101_448", "peak"): (65.8, 52.2, 34.2, 41.3),
            ("AWA2", "resnet101_448", "peak"): (70.1, 62.0, 74.5, 67.7),
            ("CUB", "mobilenetv2_224", "peak"): (54.5, 43.6, 50.5, 46.8),
            ("CUB", "mobilenetv2_224", "last"): (52.6, 40.5, 49.5, 44.6),
        }


def brute_force(cache):
    """T1, U, S, H, AUSUC and oracle H, by loops over the images and over all relevant margins."""
    fused = sum(
        weight * logits.astype(float)
        for weight, logits in zip(cache.fusion, cache.logits_ONC, strict=True)
    )
    is_unseen = np.isin(np.arange(fused.shape[1]), cache.unseen)

    def accuracies(margin, *, czsl=False):
        right = {}
        for logits, label in zip(fused, cache.labels_N, strict=True):
            shown = logits + np.where(is_unseen, margin, -margin)
            if czsl:
                shown = np.where(is_unseen, shown, -np.inf)
            right.setdefault(label, []).append(shown.argmax() == label)
        means = {label: np.mean(values) for label, values in right.items()}
        return [np.mean([means[label] for label in ids]) for ids in (cache.unseen, cache.seen)]

    (T1, _), (U, S) = accuracies(cache.calibration, czsl=True), accuracies(cache.calibration)
    thresholds = sorted((row[~is_unseen].max() - row[is_unseen].max()) / 2 for row in fused)
    between = [(a + b) / 2 for a, b in pairwise(thresholds)]
    margins = [thresholds[0] - 1, *between, thresholds[-1] + 1]
    points = [accuracies(margin) for margin in margins]
    area = sum((s1 + s2) / 2 * (u2 - u1) for (u1, s1), (u2, s2) in pairwise(points))
    best = max(2 * u * s / (u + s) for u, s in points if u + s)
    return T1, U, S, 2 * U * S / (U + S), area, best
