"""Attention scores of runs: by part, in tables over seeds, in records."""

import json
import re
from itertools import product

import numpy as np
import pytest
import torch

from msdn_lit.analysis.groups import group_runs
from msdn_lit.attention import scores as attention_scores
from msdn_lit.attention.tables import attention_tables
from msdn_lit.build.load import load_run
from msdn_lit.commands.results import report
from msdn_lit.commands.train import train
from msdn_lit.data.benchmarks.parts import PartBoxes
from msdn_lit.runs.attention_file import read_attention, write_attention
from msdn_lit.runs.reader import find_runs
from tests import miniature
from tests.run_folders import evaluation, write_run

PLACES = {
    "head": (0.0, 2.0, 9.0, 8.0),
    "tail": (5.0, 10.0, 16.0, 18.0),
}  # of images of 16 x 20 pixels
PARTS_OF = [("head",), ("tail",), ("head", "tail"), (), ("head",), ("tail",)]


def overlaps_in_loops(parts):
    """Share of each of 2 x 2 regions in the boxes: the crop removes 2 rows; a region is 8 x 8."""
    share_HW = np.zeros((2, 2))
    for y, x in product(range(16), range(16)):
        for left, upper, right, lower in (PLACES[part] for part in parts):
            share_HW[y // 8, x // 8] += (left <= x < right and upper <= y + 2 < lower) / 64
    return share_HW


def test_measured_by_part_in_loops(mini_config, data_dir, tmp_path, monkeypatch):
    """Loops over pairs; a part has the pairs of its attributes, the total has all pairs."""
    train.run(mini_config())
    miniature.write_images(data_dir)
    loaded = load_run(tmp_path / "run")
    task, data = loaded.task, loaded.data
    everywhere = dict.fromkeys(data.benchmark.relative_paths(data.split), PLACES)
    monkeypatch.setattr(
        attention_scores, "read_parts", lambda *_: PartBoxes("parts", everywhere, PARTS_OF)
    )
    found = attention_scores.measure_attention(task, data)

    expected = {}
    for split in data.eval_splits:
        for index in range(len(data.dataset(split))):
            regions_BRD, labels_B, _ = data.dataset(split).__getitems__([index])
            values_K = data.semantics.class_attributes_CK[labels_B[0]]
            with torch.no_grad():
                outputs = task.net(regions_BRD)
            for k, parts in enumerate(PARTS_OF):
                if not parts or values_K[k] < values_K.max() / 2:
                    continue
                share_R = overlaps_in_loops(parts).flatten()
                maps = [output.attention_BKR[0, k].double().numpy() for output in outputs]
                pair = [
                    [share_R[map_R.argmax()] > 0, map_R @ share_R / map_R.sum()] for map_R in maps
                ]
                pair.append([np.mean(share_R > 0), share_R.mean()])
                for name in (" or ".join(parts), "all"):
                    expected.setdefault(name, []).append(pair)
    assert set(found["parts"]) == {"head", "tail", "head or tail"}
    for name, pairs in expected.items():
        measured = found if name == "all" else found["parts"][name]
        assert measured["pairs"] == len(pairs)
        scores = [list(scores.values()) for scores in measured["scores"].values()]
        np.testing.assert_allclose(scores, np.mean(pairs, axis=0), rtol=1e-6)


def scores_of_seed(seed, by_part=0.1):
    """Content of an attention.json."""
    made_up = {"a_to_b": 0.4 + 0.2 * seed, "chance": 0.1}
    of_all = {
        who: {"pointing_game": value, "energy_inside": value / 2} for who, value in made_up.items()
    }
    of_part = {who: {"pointing_game": by_part, "energy_inside": by_part} for who in made_up}
    parts = {"beak": {"pairs": 3, "scores": of_part}}
    return {
        "against": "parts",
        "splits": ["test_seen"],
        "pairs": 7,
        "scores": of_all,
        "parts": parts,
    }


def test_tables_and_record_over_seeds(mini_config, tmp_path):
    """0.4 and 0.6 have the mean 0.5 and the deviation 0.1 sqrt 2; a record keeps both seeds."""
    for seed in (0, 1):
        write_run(tmp_path / "logs" / str(seed), mini_config(f"seed={seed}"))
        write_attention(tmp_path / "logs" / str(seed), scores_of_seed(seed))
    folder = tmp_path / "2026-11-25_looks"
    report.run([str(tmp_path / "logs"), "--record", str(folder)])
    page = re.sub(" +", " ", (folder / "README.md").read_text())
    titles = [line.partition(":")[0] for line in page.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Scores",
        "## How reporting changes H",
        "## Peak on test (paper) beside the last step (honest)",
        "## Runs",
        "## Attention localisation",
        "## Attention localisation by part",
    ]
    assert "| a to b | 50.0 ± 14.1 | 10.0 | 25.0 ± 7.1 | 5.0 | 7 | 2 |" in page
    assert "| beak | a to b | 10.0 ± 0.0 | 10.0 | 10.0 ± 0.0 | 10.0 | 3 | 2 |" in page
    group = json.loads((folder / "metrics.json").read_text())["groups"][0]
    assert group["attention"] == {str(seed): scores_of_seed(seed) for seed in (0, 1)}


@pytest.mark.parametrize(
    "other", [{"against": "boxes"}, {"step": 200}], ids=["against", "evaluation"]
)
def test_scores_of_another_kind_are_not_averaged(mini_config, tmp_path, other):
    for seed in (0, 1):
        evaluations = {"last": evaluation(step=300), "peak_harmonic_mean": evaluation(step=200)}
        write_run(tmp_path / "logs" / str(seed), mini_config(f"seed={seed}"), evaluations)
        changed = {"step": 300} | (other if seed else {})
        write_attention(tmp_path / "logs" / str(seed), scores_of_seed(seed) | changed)
    groups, _ = group_runs(find_runs([tmp_path / "logs"]).runs)
    (row,) = attention_tables(groups)[0].rows
    assert row[-1] == 1


def test_an_older_attention_json_has_no_parts(tmp_path):
    older = scores_of_seed(0)
    del older["parts"]
    write_attention(tmp_path, older)
    assert read_attention(tmp_path, {}) == {**older, "parts": {}}
    write_attention(tmp_path, {**older, "step": 3})
    assert read_attention(tmp_path, {"last": {"step": 3}}) is not None
    assert read_attention(tmp_path, {"last": {"step": 4}}) is None  # of an earlier model
    (tmp_path / "attention.json").write_text("{}")
    assert read_attention(tmp_path, {}) is None
