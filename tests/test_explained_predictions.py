"""Predictions as text, in a notebook and as a table."""

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import msdn_lit
from msdn_lit.errors import ConfigError
from msdn_lit.inference import Predictions
from msdn_lit.inference.page import notebook
from msdn_lit.inference.reference import About, Likeness, Reference

ABOUT = About("msdn", "MINI", "tiny", "paper", "test", 9, {"T1": 50.0, "H": 40.04}, 1234, 6, 2)
HOSTILE = "<img src=x onerror=alert(1)> \"&'"


@pytest.fixture
def model(tiny_run):
    """A model whose right answers have leads from 0 to 100, and that has seen no such image."""
    loaded = msdn_lit.load(tiny_run)
    D = next(iter(loaded.net.parameters())).shape[-1]
    leads = np.arange(101, dtype=np.float32)
    return replace(loaded, reference=Reference(ABOUT, leads, FarAway(np.ones((1, D)), np.ones(1))))


class FarAway(Likeness):
    def share(self, features_D):
        return 0.0


def test_contributions_are_those_of_the_class(model, pictures):
    """In the issue, a "fire finch" was explained by an attribute that it does not have."""
    first, second, third, *_ = model.attribute_names
    for image in pictures:
        found = model.predict(image, classes={"finch": {first: 90, second: 80}, "jay": {third: 1}})
        for name, values in (("finch", {first: 90, second: 80}), ("jay", {third: 1})):
            length = np.sqrt(sum(value**2 for value in values.values()))
            expected = []
            for attribute, value in values.items():
                score = found.attribute_scores_K[model.attribute_names.index(attribute)]
                expected.append((attribute, value / length * score, value / length, score))
            expected.sort(key=lambda row: -row[1])
            tops = found.top_attributes(10, class_name=name)
            assert [one.name for one in tops] == [row[0] for row in expected]
            for one, row in zip(tops, expected, strict=True):
                assert tuple(one)[1:] == pytest.approx(row[1:], rel=1e-5)
        assert found.top_attributes() == found.top_attributes(class_name=found.best.name)
        assert found.top_attributes(1) == found.top_attributes()[:1]
    with pytest.raises(ConfigError, match="There is no class 'wren'"):
        found.top_attributes(class_name="wren")


def test_all_contributions_add_up_to_the_score(model, pictures):
    found = model.predict(pictures[0], top_k=8)
    for scored in found.classes:
        parts = found.top_attributes(10_000, class_name=scored.name)
        total = sum(one.contribution for one in parts) + scored.margin
        assert total == pytest.approx(scored.score, abs=1e-4)


def test_print(model, pictures):
    found = model.predict(pictures[0])
    lines = str(found).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    ranked = sorted((-one.score, one.name) for one in found.classes)
    for line, (score, name) in zip(lines[1:4], ranked, strict=False):
        assert line.split()[:2] == [name, f"{-score:.2f}"]
    lead = ranked[1][0] - ranked[0][0]
    assert found.lead == pytest.approx(lead)
    assert found.certainty == pytest.approx(min(lead, 100) / 100)
    assert f"Lead over the second class: {lead:.2f}, larger than for {lead:.0f}% of" in str(found)
    assert "The image is like none of the training images: do not rely on the answer." in lines
    rival = found.counterfactuals[0]
    assert f"It would be {rival.rival} if the score of" in str(found)
    for line in lines[-4:]:
        total, value, score = map(float, re.findall(r"[+-]?\d+\.\d+", line))
        assert total == pytest.approx(value * score, abs=0.01 * (abs(score) + 1))


def test_short_forms(model, pictures, tmp_path):
    one, several = model.predict(pictures[0]), model.predict(pictures)
    assert repr(one) == f"<Prediction image: {one.best.name} ({one.best.domain}), score " + (
        f"{one.best.score:.2f}>"
    )
    assert isinstance(several, list)
    assert repr(several).splitlines()[0] == f"[{one!r},"
    assert len(str(several).splitlines()) == len(pictures)
    assert repr(Predictions()) == "[]"
    assert str(model).splitlines() == [
        "msdn on MINI, tiny",
        "T1 50.0  H 40.0 on 1,234 test images, protocol paper, step 9",
        f"6 seen and 2 unseen classes, {len(model.attribute_names)} attributes; "
        "sub-nets and weights: attribute_to_visual 0.9, visual_to_attribute 0.1",
    ]
    assert repr(model) == "<Predictor: msdn on MINI, 6 seen and 2 unseen classes>"
    assert repr(replace(model, reference=Reference())).startswith("<Predictor: model, 6 seen")


def elements(html):
    closed = re.sub(r"<(img|hr)\b((?:[^>\"]|\"[^\"]*\")*)>", r"<\1\2/>", html)
    return list(ET.fromstring(f"<div>{closed}</div>").iter())


def test_a_notebook_shows_pictures_and_a_sum(model, pictures):
    found = model.predict(pictures[0])
    parsed = elements(found._repr_html_())
    sources = [one.get("src") for one in parsed if one.tag == "img"]
    assert len(sources) == 1 + 5  # the picture, and the maps of five attributes
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [one for one in parsed if one.tag in ("script", "style", "link")]
    rows = [one for one in parsed if one.get("role") == "row"]
    texts = [["".join(cell.itertext()).strip() for cell in row] for row in rows]
    *parts, total = [float(row[-1]) for row in texts]
    assert sum(parts) == pytest.approx(total, abs=0.01 * len(parts))
    assert total == pytest.approx(found.best.score, abs=0.006)
    assert texts[-2][0] == "calibration"
    several = model.predict(pictures * 3)
    assert several._repr_html_().count("5 more predictions are not shown") == 1
    assert len([one for one in elements(several._repr_html_()) if one.tag == "hr"]) == 9


@pytest.mark.fault("network")
def test_names_are_escaped_in_a_notebook(model, pictures):
    names = (HOSTILE, *model.attribute_names[1:])
    other = replace(model, attribute_names=names)
    found = other.predict(pictures[0], classes={HOSTILE: {HOSTILE: 100}, "b": {names[1]: 3}})
    html = replace(found, image=f"/x/{HOSTILE}")._repr_html_()
    assert "onerror=alert(1)>" not in html
    texts = "".join("".join(one.itertext()) for one in elements(html)[:1])
    assert HOSTILE in texts


def test_a_model_without_attention_has_no_maps(pooled_model, pictures):
    parsed = elements(pooled_model.predict(pictures[0])._repr_html_())
    assert len([one for one in parsed if one.tag == "img"]) == 1


def test_a_table(model, pictures, monkeypatch):
    """pandas is no dependency; this one keeps what it is given."""
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows: rows
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    several = model.predict(pictures, top_k=2)
    rows = several.to_frame()
    assert [row["rank"] for row in rows] == [1, 2] * len(pictures)
    assert [row["class"] for row in rows[::2]] == [one.best.name for one in several]
    assert several[1].to_frame() == rows[2:4]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pandas is not installed. pip install pandas"):
        several.to_frame()


def test_show(model, pictures, monkeypatch, capsys, tmp_path):
    shown = []
    shell = SimpleNamespace(kernel=None)
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.append))
    found = model.predict(pictures[0])
    found.show()
    assert shown == [found]
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setattr(notebook.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    opened = []
    monkeypatch.setattr(notebook.webbrowser, "open", opened.append)  # returns None: no browser
    found.show()
    assert opened == [(tmp_path / "predictions.html").as_uri()]
    assert found.best.name in (tmp_path / "predictions.html").read_text()
    assert f"Open {tmp_path / 'predictions.html'} in a browser." in capsys.readouterr().out
