"""Figures fit for a paper: sizes, fonts and files; no text is printed over another."""

import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from msdn_lit.analysis.figures import comparison_plots, labels, plots, style
from msdn_lit.analysis.figures.captions import NamedFigure, save_figures
from msdn_lit.attention.embedding_plots import plot_embeddings
from msdn_lit.attention.embeddings import EmbeddingPanel
from msdn_lit.attention.maps import AttentionMap, AttentionRow, SubnetMaps
from msdn_lit.attention.plots import plot_attention
from msdn_lit.runs.layout import SCORES
from tests.run_folders import made_up_cache

RNG = np.random.default_rng(0)
LONG = "model.semantic_scorer=bilinear_compatibility, loss.lambda_distill=0.000{}, optimizer=W{}"
LONG_CLASS = "Very Long Named {} Warbler of the High Mountains $x_2$ number {}"
NET = ("attribute to visual: 0.7 of the score", "visual to attribute: 0.3 of the score")
SETTINGS = ("weight of attribute to visual", "calibration")


def groups(number, long=True):
    return [(LONG if long else "group {}").format(i, i) for i in range(number)]


def seeds(points, n=3):
    """Values of n seeds at some points, for each score."""
    return {score: list(RNG.uniform(0.3, 1, (points, n))) for score in SCORES}


def bars(number, *, long=True, n=3):
    return comparison_plots.plot_bars(
        {name: {score: RNG.uniform(0.5, 1, n) for score in SCORES} for name in groups(number, long)}
    )


def curves(number, long=True):
    caches = [made_up_cache(seed=seed, skill=3) for seed in range(2)]
    lines = [
        comparison_plots.CurveLine(name, [cache.curve() for cache in caches], [0.5, 0.5])
        for name in groups(number, long)
    ]
    return comparison_plots.plot_curves(lines)


def sensitivity(values, name=LONG):
    return comparison_plots.plot_sensitivity(name, values, seeds(len(values)))


def history(evaluations):
    steps = [1000 * (step + 1) for step in range(evaluations)]
    return plots.plot_histories(steps, seeds(evaluations), "test")


def losses(terms):
    values = {f"calibration_loss_of_term_{i}": [[10.0**-i], [2 * 10.0**-i]] for i in range(terms)}
    return plots.plot_losses([1000, 2000], values)


def classes(num_seen, num_unseen, long=True):
    domains = [
        plots.ClassAccuracies(
            domain,
            [(LONG_CLASS if long else "{} {}").format(domain, c) for c in range(number)],
            RNG.uniform(0, 1, (2, number)),
        )
        for domain, number in (("seen", num_seen), ("unseen", num_unseen))
    ]
    return plots.plot_class_accuracies(domains)


def settings(number):
    values_X = np.linspace(-1, 1, 21)
    return plots.plot_prediction_settings(
        [plots.SettingCurve(label, values_X, seeds(21), 0.5) for label in SETTINGS[:number]]
    )


def attention(images, subnets, maps, *, long=True, grid=(7, 7)):
    attribute = "pattern of the upperparts: multicoloured {}" if long else "crown: red {}"
    rows = []
    for image in range(images):
        shown = [
            SubnetMaps(
                name,
                [
                    AttentionMap(attribute.format(k), 12.34, RNG.random(grid).astype(np.float32))
                    for k in range(maps)
                ],
            )
            for name in NET[:subnets]
        ]
        names = ((LONG_CLASS if long else "{} {}").format("", c) for c in (0, image % 2))
        rows.append(AttentionRow(*names, RNG.random((32, 32, 3)).astype(np.float32), shown))
    return plot_attention(rows)


def embeddings(panels, num_classes, long=True):
    pytest.importorskip("sklearn", reason="needs the extra figures")
    labels_N = np.repeat(np.arange(num_classes), 4)
    points_NF = RNG.normal(size=(len(labels_N), 3)).astype(np.float32)
    names = [(LONG_CLASS if long else "{} {}").format("", c) for c in range(num_classes)]
    return plot_embeddings(
        [
            EmbeddingPanel(split, name, points_NF, labels_N, domain, names)
            for split, domain in (("test_seen", "seen"), ("test_unseen", "unseen"))
            for name in ("pooled features", *(name.partition(":")[0] for name in NET), "both")[
                :panels
            ]
        ]
    )[0]


DRAWN = {
    "bars of 15 groups": lambda: bars(15),
    "bars of 1 group, 1 seed": lambda: bars(1, long=False, n=1),
    "curves of 7 groups": lambda: curves(7),
    "curves of 3 groups": lambda: curves(3),
    "curves of 1 group": lambda: curves(1, long=False),
    "sensitivity to 3 values": lambda: sensitivity([0.1, 0.2, 0.3], "loss.lambda_cal"),
    "sensitivity to 16 values": lambda: sensitivity(
        [0, 1e-4, 1e-3, *np.arange(2, 12) / 1000, 0.1, 1, 2]
    ),
    "history of 1 evaluation": lambda: history(1),
    "history of 40 evaluations": lambda: history(40),
    "losses of 1 term": lambda: losses(1),
    "losses of 7 terms": lambda: losses(7),
    "200 classes": lambda: classes(150, 50),
    "40 classes": lambda: classes(25, 15),
    "2 classes": lambda: classes(1, 1, long=False),
    "settings of 1 sub-net": lambda: settings(1),
    "settings of 2 sub-nets": lambda: settings(2),
    "attention": lambda: attention(4, 2, 3, long=False),
    "attention with long names": lambda: attention(4, 2, 3),
    "attention of many attributes": lambda: attention(1, 2, 10),
    "attention of 1 attribute": lambda: attention(1, 1, 1),
    "t-SNE": lambda: embeddings(4, 10),
    "t-SNE of a pooled net, 2 classes": lambda: embeddings(2, 2, long=False),
}


@style.styled
def printed(figure, monkeypatch):
    """The texts that are really drawn, with their boxes in pixels."""
    drawn = []
    draw = Text.draw

    def noted(text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            drawn.append((text, text.get_window_extent(renderer)))
        draw(text, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", noted)
    FigureCanvasAgg(figure).draw()
    return drawn


def overprinted(drawn):
    """Pairs of texts whose boxes share more than a pixel in both directions."""
    return [
        (one.get_text(), other.get_text())
        for (one, a), (other, b) in combinations(drawn, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def test_the_measure_finds_texts_over_one_another(monkeypatch):
    figure, axes = style.new_axes(style.COLUMN, 2)
    axes.set_xticks([0, 0.01, 1], ["first", "second", "third"])
    assert overprinted(printed(figure, monkeypatch)) == [("first", "second")]


@pytest.mark.parametrize("kind", DRAWN)
def test_no_text_is_printed_over_another(kind, monkeypatch):
    figure = DRAWN[kind]()
    assert figure.get_figwidth() in (style.COLUMN, style.PAGE)
    drawn = printed(figure, monkeypatch)
    assert {text.get_fontsize() for text, _ in drawn} == {style.FONT_SIZE}
    assert overprinted(drawn) == []
    width, height = figure.canvas.get_width_height()
    outside = [
        text.get_text()
        for text, box in drawn
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    assert outside == []


class TestLabels:
    @pytest.mark.parametrize("width", [0.5, 1, 2])
    def test_lines_fit_and_lose_nothing(self, width):
        text = f"{LONG} WWWWWWWWWWWWWWWWWWWWWWWWWWWWW iiiiii\nsecond line"
        lines = labels.wrap(text, width).split("\n")
        assert max(map(labels.width_of, lines)) <= width
        assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)

    def test_breaks_are_between_words_where_possible(self):
        assert labels.wrap("upperparts color: rufous", 0.8) == "upperparts\ncolor: rufous"
        width = labels.width_of("optimizer.weight_decay=")
        assert labels.wrap("optimizer.weight_decay=0.0001", width * 1.05).split("\n") == [
            "optimizer.weight_decay=", "0.0001",
        ]  # fmt: skip

    def test_both_ends_of_a_shortened_text_stay(self):
        short = labels.shorten("a long name of a class number 17", 1)
        assert labels.width_of(short) <= 1
        assert re.fullmatch(r"a long.*….*17", short)
        assert labels.shorten("short", 1) == "short"


class TestFiles:
    @pytest.fixture
    def figure(self):
        return history(5)

    def save(self, figure, folder, ending):
        folder.mkdir(exist_ok=True)
        style.save_figure(figure, folder / f"a.{ending}")
        return (folder / f"a.{ending}").read_bytes()

    @pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
    def test_equal_figures_are_equal_files(self, tmp_path, monkeypatch, ending):
        first = self.save(bars(2, long=False, n=1), tmp_path / "1", ending)
        global RNG
        RNG = np.random.default_rng(1)
        one = self.save(bars(2, long=False, n=1), tmp_path / "2", ending)
        RNG = np.random.default_rng(1)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
        other = self.save(bars(2, long=False, n=1), tmp_path / "3", ending)
        assert one == other
        assert one != first

    def test_fonts_of_a_pdf_are_embedded_as_truetype(self, figure, tmp_path):
        content = self.save(figure, tmp_path, "pdf")
        assert b"/FontFile2" in content
        assert b"/Subtype /Type3" not in content
        assert b"CreationDate" not in content
        x, y = map(float, re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content).groups())
        assert (x / 72, y / 72) == pytest.approx(figure.get_size_inches())

    def test_texts_of_a_svg_are_shapes(self, figure, tmp_path):
        content = self.save(figure, tmp_path, "svg").decode()
        assert "<text" not in content
        assert 'id="text_1"' in content
        assert "dc:date" not in content

    def test_a_png_is_as_wide_as_the_column(self, figure, tmp_path):
        self.save(figure, tmp_path, "png")
        with Image.open(tmp_path / "a.png") as image:
            assert image.size[0] == round(style.COLUMN * style.DPI)
            assert image.info["dpi"] == pytest.approx((style.DPI, style.DPI), abs=0.1)

    def test_a_users_settings_of_matplotlib_change_nothing(self, tmp_path):
        import matplotlib

        expected = self.save(losses(2), tmp_path / "1", "png")
        with matplotlib.rc_context({"font.size": 20, "figure.dpi": 50, "savefig.bbox": "tight"}):
            assert self.save(losses(2), tmp_path / "2", "png") == expected

    def test_captions(self, tmp_path):
        """Those of other figures are kept as long as the figures exist."""

        def save(**captions):
            figures = [NamedFigure(name, Figure((1, 1)), text) for name, text in captions.items()]
            return save_figures(figures, tmp_path, "svg")

        saved = save(a="First <b>.", b="Second.", c="Third.")
        assert [(figure.name, figure.width) for figure in saved] == [
            ("a.svg", 1), ("b.svg", 1), ("c.svg", 1),
        ]  # fmt: skip
        (tmp_path / "c.svg").unlink()
        save(b="New.")
        text = (tmp_path / "captions.md").read_text()
        assert text == "# Captions\n\n## a.svg\n\nFirst \\<b>.\n\n## b.svg\n\nNew.\n"
        (tmp_path / "captions.md").write_bytes(b"\xff")
        save(a="Again.")
        assert "## a.svg\n\nAgain.\n" in (tmp_path / "captions.md").read_text()


class TestAttentionMaps:
    def overlays(self, figure):
        """Alpha of the drawn attention maps, by row of the map."""
        images = [axes.get_images()[1] for axes in figure.axes if len(axes.get_images()) == 2]
        return [(image, image.to_rgba(image.get_array())[..., 3]) for image in images]

    def drawn(self, weights_HW):
        maps = [AttentionMap("crown", 1.0, np.asarray(weights_HW, dtype=np.float32))]
        image_hw3 = np.zeros((8, 8, 3), dtype=np.float32)
        return plot_attention([AttentionRow("a", "b", image_hw3, [SubnetMaps("net", maps)])])

    def test_more_attention_is_less_transparent(self):
        ((_, alpha),) = self.overlays(self.drawn([[0.1, 0.2], [0.3, 0.5]]))
        assert alpha[0, 0] == 0
        assert (np.diff(alpha.ravel()) > 0).all()
        assert alpha[1, 1] > 0.8

    def test_even_attention_is_transparent(self):
        ((_, alpha),) = self.overlays(self.drawn(np.full((2, 2), 0.25)))
        assert not alpha.any()

    @pytest.mark.parametrize(("side", "how"), [(7, "nearest"), (14, "nearest"), (28, "bilinear")])
    def test_few_cells_are_blocks(self, side, how):
        ((image, _),) = self.overlays(self.drawn(RNG.random((side, side))))
        assert image.get_interpolation() == how

    @pytest.mark.parametrize(("prediction", "sign"), [("Jay", "✓ right"), ("Gull", "✗ wrong")])
    def test_right_and_wrong_are_words_and_colours(self, prediction, sign):
        maps = [AttentionMap("crown: red", 1.0, np.eye(2, dtype=np.float32))]
        shown = [SubnetMaps(name, maps) for name in NET]
        row = AttentionRow("Jay", prediction, np.zeros((8, 8, 3), dtype=np.float32), shown)
        texts = {text.get_text(): text for text in plot_attention([row]).texts}
        sentence = texts.pop(f"{sign}: Jay → {prediction}")
        colour = "green" if prediction == "Jay" else "vermilion"
        assert sentence.get_color() == style.OKABE_ITO[colour]
        assert [re.sub(r"\s", " ", text) for text in texts] == list(NET)


def test_seen_and_unseen_classes_differ_in_their_marks():
    figure = embeddings(2, 2, long=False)
    seen, unseen = (subfigure.axes[0].collections[0] for subfigure in figure.subfigs)
    assert len(seen.get_facecolor())
    assert not len(unseen.get_facecolor())
    names = [text.get_text() for sub in figure.subfigs for text in sub.legends[0].get_texts()]
    assert names == ["0", "1"] * 2


def test_colours_differ_in_grey():
    """Neighbours in the order of the lines differ in lightness or in their dashes and marks."""
    for one, other in combinations(style.STYLES, 2):
        assert one.colour != other.colour
        assert one.dashes != other.dashes
        assert one.mark != other.mark
