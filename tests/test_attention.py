"""Attention against the locations of attributes: the measures, and the boxes."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from msdn_lit.analysis.classes import short_name
from msdn_lit.attention.embeddings import embeddings, nearest_neighbour_accuracy
from msdn_lit.attention.maps import attention_rows
from msdn_lit.attention.scores import measure_attention
from msdn_lit.build import task as build
from msdn_lit.build.load import load_run
from msdn_lit.commands.data import extract
from msdn_lit.commands.results import attention
from msdn_lit.commands.train import train
from msdn_lit.data.benchmarks.parts import WHOLE, PartBoxes, in_crop, read_parts
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.metrics.attention import cover, energy_inside, pointing_chance, pointing_game
from msdn_lit.models.base import has_attention
from tests import miniature
from tests.helpers import checkpoint_of

GRID = (3, 4)
BOXES = np.array(
    [[[0.1, 0.2, 0.3, 0.9], [0.5, 0.0, 0.75, 1 / 3]], [[0.0, 0.0, 1.0, 1.0], [np.nan] * 4]]
)


def cover_in_loops(boxes_J4, fine=240):
    """Share of each region in the boxes, by counting points of a fine lattice."""
    counts = np.zeros(GRID)
    points = (np.arange(fine) + 0.5) / fine
    for y, x in product(points, points):
        inside = any(
            left < x < right and upper < y < lower for left, upper, right, lower in boxes_J4
        )
        counts[int(y * GRID[0]), int(x * GRID[1])] += inside
    return counts / (fine * fine / (GRID[0] * GRID[1]))


@pytest.fixture(scope="module")
def covered():
    return cover(torch.from_numpy(BOXES), GRID)


@pytest.mark.parametrize("pair", [0, 1])
def test_cover_counts_area(covered, pair):
    np.testing.assert_allclose(covered[pair], cover_in_loops(BOXES[pair]), atol=0.02)


def test_a_pair_without_a_box_is_not_covered():
    assert cover(torch.full((1, 2, 4), float("nan")), GRID).abs().sum() == 0


def test_attention_on_the_part_scores_one_and_elsewhere_nothing(covered):
    for cell in range(12):
        attention_QHW = torch.zeros(12).index_fill(0, torch.tensor(cell), 0.3).reshape(1, *GRID)
        share = covered[:1].flatten()[cell]
        assert bool(pointing_game(attention_QHW, covered[:1])) == bool(share > 0)
        assert energy_inside(attention_QHW, covered[:1]).item() == pytest.approx(share.item())


def test_even_attention_has_the_chance_of_energy(covered):
    energy = energy_inside(torch.full((2, *GRID), 0.7), covered)
    torch.testing.assert_close(energy, covered.mean(dim=(1, 2)))
    assert energy[1] == pytest.approx(1)
    areas = [(right - left) * (lower - upper) for left, upper, right, lower in BOXES[0]]
    assert energy[0] == pytest.approx(sum(areas))


def test_random_pointing_has_the_chance(covered):
    generator = torch.Generator().manual_seed(0)
    many = covered[:1].expand(20_000, *GRID)
    hits = pointing_game(torch.rand(20_000, *GRID, generator=generator), many).double().mean()
    assert hits == pytest.approx(pointing_chance(covered)[0].item(), abs=0.015)


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        ((0, 0, 100, 100), (100, 100), (0, 0, 1, 1)),
        ((50, 0, 100, 50), (200, 100), (0, 0, 0.5, 0.5)),  # 50 px are cropped on both sides
        ((0, 100, 100, 150), (100, 300), (0, 0, 1, 0.5)),
        ((0, 0, 50, 100), (200, 100), None),
        ((-10, 20, 1000, 80), (100, 100), (0, 0.2, 1, 0.8)),
    ],
)
def test_boxes_follow_resize_and_crop(box, size, expected):
    assert in_crop(box, size) == (expected and pytest.approx(expected))


ATTRIBUTES = (
    "has_bill_shape::cone",
    "has_wing_color::red",
    "has_under_tail_color::black",
    "has_size::small",
)


@pytest.fixture
def cub(tmp_path):
    folder = tmp_path / "CUB_200_2011"
    (folder / "parts").mkdir(parents=True)
    (folder / "images.txt").write_text("1 a/x.jpg\n2 a/y.jpg\n")
    (folder / "bounding_boxes.txt").write_text("1 60.0 27.0 325.0 304.0\n2 0.0 0.0 10.0 10.0\n")
    Image.new("RGB", (500, 333)).save(tmp_path / "original.png")
    Image.new("RGB", (384, 256)).save(tmp_path / "copy.png")
    return folder


class TestCub:
    def test_boxes_of_an_original_and_of_a_copy(self, cub, tmp_path):
        parts = read_parts("CUB", tmp_path, ATTRIBUTES)
        assert (parts.kind, parts.of_image["a/x.jpg"]) == ("boxes", {WHOLE: (60, 27, 385, 331)})
        original_KJ4 = parts.of("a/x.jpg", tmp_path / "original.png")
        left = (500 - 333) / 2
        np.testing.assert_allclose(
            original_KJ4, [[[0, 27 / 333, (385 - left) / 333, 331 / 333]]] * 4
        )
        np.testing.assert_allclose(
            parts.of("a/x.jpg", tmp_path / "copy.png"), original_KJ4, atol=0.003
        )

    def test_sizes_where_they_are_told(self, cub, tmp_path):
        """The original of this copy was smaller than most."""
        (cub / "image_sizes.txt").write_text("a/x.jpg,400,267\n")
        boxes_KJ4 = read_parts("CUB", tmp_path, ATTRIBUTES).of("a/x.jpg", tmp_path / "copy.png")
        left = (400 - 267) / 2
        np.testing.assert_allclose(boxes_KJ4[0, 0], [0, 27 / 267, 1, 1])
        assert boxes_KJ4[0, 0, 0] == max(60 - left, 0)

    @pytest.mark.parametrize(
        "line", ["a/x.jpg,400", "a/x.jpg,400,wide", "a/x.jpg,400,0", "a/x.jpg,nan,nan"]
    )
    def test_damaged_sizes(self, cub, tmp_path, line):
        (cub / "image_sizes.txt").write_text(line)
        with pytest.raises(DataError, match=r"image_sizes.txt.* is damaged: expected"):
            read_parts("CUB", tmp_path, ATTRIBUTES)

    def test_keypoints_where_they_are_there(self, cub, tmp_path):
        names = {2: "beak", 9: "left wing", 13: "right wing", 14: "tail"}
        (cub / "parts" / "parts.txt").write_text(
            "".join(f"{number} {name}\n" for number, name in names.items())
        )
        lines = ["1 2 250.0 160.0 1", "1 9 200.0 200.0 1", "1 13 0.0 0.0 0", "2 14 5.0 5.0 1"]
        (cub / "parts" / "part_locs.txt").write_text("\n".join(lines))
        parts = read_parts("CUB", tmp_path, ATTRIBUTES)
        assert parts.kind == "keypoints"
        assert parts.parts_of == [("beak",), ("left wing", "right wing"), ("tail",), ()]
        boxes_KJ4 = parts.of("a/x.jpg", tmp_path / "original.png")
        centres = (boxes_KJ4[..., :2] + boxes_KJ4[..., 2:]) / 2
        np.testing.assert_allclose(centres[0, 0], [0.5, 160 / 333], atol=1e-6)
        np.testing.assert_allclose(centres[1, 0], [(200 - 83.5) / 333, 200 / 333], atol=1e-6)
        assert np.isnan(boxes_KJ4[1, 1]).all()  # not visible
        assert np.isnan(boxes_KJ4[2:]).all()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("1 2 3\n", "line 1 is damaged: expected 5 values"),
            ("1 a b c d\n", "is damaged: expected numbers"),
            (None, "bounding_boxes.txt is missing"),
        ],
    )
    def test_damaged(self, cub, tmp_path, content, message):
        (cub / "bounding_boxes.txt").unlink()
        if content:
            (cub / "bounding_boxes.txt").write_text(content)
        with pytest.raises(DataError, match=message):
            read_parts("CUB", tmp_path, ATTRIBUTES)

    def test_another_benchmark(self, tmp_path):
        with pytest.raises(DataError, match="SUN does not say where its attributes are"):
            read_parts("SUN", tmp_path, ATTRIBUTES)


def test_nearest_neighbours_in_loops():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(30, 3)), rng.integers(0, 3, 30)
    right = 0
    for i in range(30):
        others = [j for j in range(30) if j != i]
        cosines = [
            points[i] @ points[j] / np.linalg.norm(points[i]) / np.linalg.norm(points[j])
            for j in others
        ]
        right += labels[others[int(np.argmax(cosines))]] == labels[i]
    assert nearest_neighbour_accuracy(points, labels) == pytest.approx(right / 30)


def test_nothing_to_measure(command, mini_config, tmp_path, capsys):
    train.run(mini_config())
    capsys.readouterr()  # the model is at chance
    code, _, err = command(attention, str(tmp_path / "run"))
    assert (code, err.splitlines()[-1]) == (
        2,
        "msdn attention: MINI does not say where its attributes are: expected SYNTHETIC or CUB.",
    )
    assert command(attention, str(tmp_path / "data"))[0] == 2


def test_a_net_that_leaves_regions_out_is_drawn_whole(mini_config, tmp_path, monkeypatch):
    """Figures are drawn after the last training step, when the net is in training mode."""
    monkeypatch.setattr(
        ZSLDataModule, "image", lambda self, row: np.zeros((16, 16, 3), dtype=np.float32)
    )
    cfg = mini_config("callbacks=figures", "model.region_dropout=0.8")
    cfg.callbacks.figures.file_format = "svg"
    train.run(cfg)
    assert (tmp_path / "run" / "figures" / "attention.svg").is_file()
    captions = (tmp_path / "run" / "figures" / "captions.md").read_text()
    run = f"MINI, {cfg.features.name}, {cfg.protocol.name} protocol, seed {cfg.seed}"
    assert captions.count(f"One run: {run}.\n") == 2
    assert (tmp_path / "run" / "result.json").is_file()


@pytest.mark.fault("settings")
def test_a_format_that_is_none_of_figures(command, mini_overrides, tmp_path):
    words = ["callbacks=figures", "callbacks.figures.file_format=jpg"]
    code, _, err = command(train, *mini_overrides, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert "callbacks.figures.file_format is wrong: expected png or svg or pdf, found jpg" in err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_pooled_net_has_no_attention(mini_config, data_dir, monkeypatch):
    """Nothing is measured or drawn; its points are pooled features and its only scores."""
    miniature.write_images(data_dir)
    data = build.datamodule(mini_config())
    task = build.task(
        mini_config("model=pooled"), data.semantics, data.visual_dim, data.grid
    ).eval()
    regions_BRD = data.dataset("test_seen").__getitems__([0, 1])[0]
    assert not has_attention(task.net(regions_BRD))
    assert has_attention(
        build.task(mini_config(), data.semantics, data.visual_dim, data.grid).net(regions_BRD)
    )
    with pytest.raises(ConfigError, match="The model has no attention"):
        attention_rows(task, data, num_images=2, num_attributes=2)
    paths = data.benchmark.relative_paths(data.split)
    boxes = PartBoxes("parts", {path: {} for path in paths}, [()] * miniature.K)
    monkeypatch.setattr("msdn_lit.attention.scores.read_parts", lambda *_: boxes)
    with pytest.raises(ConfigError, match="The model has no attention"):
        measure_attention(task, data)
    panels = embeddings(task, data)
    assert [(panel.split, panel.name) for panel in panels] == [
        ("test_seen", "pooled features"),
        ("test_seen", "net"),
        ("test_unseen", "pooled features"),
        ("test_unseen", "net"),
    ]


def test_a_sub_net_without_weight_has_points(mini_config, tmp_path):
    """Prediction may use one sub-net only (experiment=cub_best); the other has a panel, too."""
    fusion = [
        "prediction.fusion.attribute_to_visual=1.0",
        "prediction.fusion.visual_to_attribute=0.0",
    ]
    train.run(mini_config(*fusion))
    loaded = load_run(tmp_path / "run")
    panels = {panel.name: panel.points_NF for panel in embeddings(loaded.task, loaded.data)}
    for points_NF in panels.values():
        np.testing.assert_allclose(np.linalg.norm(points_NF, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(panels["both"], panels["attribute to visual"], rtol=1e-5)


@pytest.mark.parametrize("number", [1, 2, 3, 9])
def test_both_right_and_wrong_predictions_are_drawn(mini_config, tmp_path, monkeypatch, number):
    """The model is made to predict one unseen class for every image: one is right."""
    monkeypatch.setattr(
        ZSLDataModule, "image", lambda self, row: np.zeros((16, 16, 3), dtype=np.float32)
    )
    train.run(mini_config("prediction.fusion={attribute_to_visual: 3, visual_to_attribute: 1}"))
    loaded = load_run(tmp_path / "run")
    classes = [short_name(name) for name in loaded.data.semantics.class_names]
    labels = np.unique(loaded.data.dataset("test_unseen").labels)
    logits_C = torch.zeros(len(classes)).index_fill(0, torch.tensor(labels[1]), 1)
    monkeypatch.setattr(loaded.task, "predict_logits", lambda x: logits_C.repeat(len(x), 1))
    rows = attention_rows(loaded.task, loaded.data, number, 2, right_and_wrong=True)
    others = [classes[label] for label in labels if label != labels[1]]
    expected = [classes[labels[1]], *others[: number - 1]]
    assert [row.label for row in rows] == expected
    assert {row.prediction for row in rows} == {classes[labels[1]]}
    first = attention_rows(loaded.task, loaded.data, 1, 2)
    assert [row.label for row in first] == [classes[labels[0]]]
    assert [(subnet.name, len(subnet.maps)) for subnet in first[0].subnets] == [
        ("attribute to visual: 0.75 of the score", 2),
        ("visual to attribute: 0.25 of the score", 2),
    ]


def test_a_drawn_prediction_is_a_candidate(mini_config, tmp_path, monkeypatch):
    """Under protocol=validation, the unseen classes of the test are none."""
    monkeypatch.setattr(
        ZSLDataModule, "image", lambda self, row: np.zeros((16, 16, 3), dtype=np.float32)
    )
    train.run(mini_config("protocol=validation"))
    loaded = load_run(tmp_path / "run")
    candidates = torch.cat([loaded.task.metric.seen, loaded.task.metric.unseen])
    others = torch.ones(len(loaded.data.semantics.class_names), dtype=bool)
    others[candidates] = False
    assert others.any()
    logits_C = torch.where(others, 2.0, 0.0).index_fill(0, candidates[-1:], 1.0)
    monkeypatch.setattr(loaded.task, "predict_logits", lambda x: logits_C.repeat(len(x), 1))
    rows = attention_rows(loaded.task, loaded.data, 2, 2, right_and_wrong=True)
    expected = short_name(loaded.data.semantics.class_names[candidates[-1]])
    assert {row.prediction for row in rows} == {expected}


@pytest.mark.slow
def test_the_drawn_birds(command, tmp_path, monkeypatch, capsys):
    """Scores in the log equal those of the command and of loops over the drawn discs."""
    pytest.importorskip("sklearn", reason="needs the extra figures")
    monkeypatch.chdir(tmp_path)
    assert command(extract, "experiment=demo")[0] == 0
    short = ["trainer.max_steps=300", "trainer.val_check_interval=300", "~callbacks.progress"]
    assert command(train, "experiment=demo", "paths.run_dir=logs/demo", *short)[0] == 0
    logged = json.loads((tmp_path / "logs" / "demo" / "attention.json").read_text())
    metrics = (tmp_path / "logs" / "demo" / "metrics" / "version_0" / "metrics.csv").read_text()
    assert "test/pointing_game/attribute_to_visual" in metrics
    code, out, _ = command(attention, "logs/demo", "--figures", "svg", "--output", "figures")
    assert code == 0
    names = {"tsne.svg", "attention.svg", "attributes.svg", "captions.md"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert out.startswith("figures: figures of logs/demo, seed 0\n")
    assert out.count("nearest neighbour") == 8
    assert json.loads((tmp_path / "logs" / "demo" / "attention.json").read_text()) == logged
    assert logged["scores"]["attribute_to_visual"]["pointing_game"] == pytest.approx(
        in_loops(tmp_path), abs=1e-9
    )
    other = checkpoint_of("logs/demo") | {"global_step": 7}
    torch.save(other, tmp_path / "logs" / "demo" / "checkpoints" / "other.ckpt")
    code, out, err = command(attention, "logs/demo", "--checkpoint", "other")
    assert (code, out.count("attribute to visual") > 0) == (0, True)
    assert "logs/demo has no evaluation of step 7: its attention.json is not written." in err
    assert json.loads((tmp_path / "logs" / "demo" / "attention.json").read_text()) == logged


def in_loops(folder):
    """Pointing game of A->V from parts.csv: does the strongest region touch the disc's square?"""
    loaded = load_run(folder / "logs" / "demo")
    task, data = loaded.task, loaded.data
    lines = (folder / "data" / "SYNTHETIC" / "parts.csv").read_text().splitlines()[1:]
    discs = {tuple(line.split(",")[:2]): [float(x) for x in line.split(",")[2:]] for line in lines}
    names, hits = data.benchmark.relative_paths(data.split), []
    H, W = data.store.manifest.grid
    for split in data.eval_splits:
        dataset = data.dataset(split)
        for index in range(len(dataset)):
            regions_BRD, labels_B, rows_B = dataset.__getitems__([index])
            with torch.no_grad():
                attention_KR = task.net(regions_BRD)[0].attention_BKR[0]
            values_K = data.semantics.class_attributes_CK[labels_B[0]]
            for k in np.flatnonzero(values_K >= values_K.max() / 2):
                x, y, radius = (
                    v / 112 for v in discs[names[rows_B[0]], data.attribute_names[k].split("::")[0]]
                )
                row, column = divmod(int(attention_KR[k].argmax()), W)
                meets_x = max(x - radius, column / W) < min(x + radius, (column + 1) / W)
                meets_y = max(y - radius, row / H) < min(y + radius, (row + 1) / H)
                hits.append(meets_x and meets_y)
    return np.mean(hits)
