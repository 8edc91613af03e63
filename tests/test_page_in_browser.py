"""The page of predictions in a browser: its results equal those of Python; all controls work."""

import socket
import threading
from concurrent.futures import Future

import numpy as np
import pytest
import torch

import msdn_lit
from msdn_lit.inference.candidates import describe
from msdn_lit.inference.page import page as prediction_page

server = pytest.importorskip("msdn_lit.inference.page.server", reason="needs the extra app")
from tests.browser import until  # noqa: E402
from tests.helpers import IMAGES, png  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def model(tiny_run):
    return msdn_lit.load(tiny_run)


def open_page(tab, folder, predictions):
    path = folder / "page.html"
    path.write_text(prediction_page.page(predictions, "title", {}), encoding="utf-8")
    tab.goto(path.as_uri())


def start_from(tab, name):
    """Chooses the class that a new class is like."""
    tab.locator("#like").fill(name[4:].replace("_", " "))
    tab.keyboard.press("Enter")


def names_in(tab, place):
    return [text.split("\n")[0] for text in tab.locator(f"#{place} li button").all_inner_texts()]


def test_the_page_computes_what_python_does(model, tab, tmp_path):
    found = model.predict(IMAGES[0], top_k=8)
    open_page(tab, tmp_path, [found])
    ranked = tab.evaluate("ranking(state.images[0].psi, state.classes)")
    assert [model.classes.names[one["c"]] for one in ranked] == [c.name for c in found.classes]
    assert [one["score"] for one in ranked] == pytest.approx(
        [c.score for c in found.classes], abs=1e-4
    )
    computed = tab.evaluate("counterfactuals(state.images[0].psi, state.classes)")
    rivals = [model.classes.names[one["rival"]] for one in computed]
    assert rivals == [one.rival for one in found.counterfactuals]
    for ours, theirs in zip(found.counterfactuals, computed, strict=True):
        assert (model.attribute_names[theirs["attribute"]], theirs["change"]) == (
            ours.attribute,
            pytest.approx(ours.change, rel=1e-4),
        )
    typed = {
        name: value
        for name, value in zip(model.attribute_names, [0, 50, 100, 3.5, 0, 20], strict=True)
        if value
    }
    row_K = describe({"x": typed}, model.attribute_names, model.classes).attributes_CK[0]
    assert tab.evaluate(
        "Array.from(unit(Float32Array.from([0, 50, 100, 3.5, 0, 20])))"
    ) == pytest.approx(row_K.tolist())


def test_a_model_without_attention_has_no_heat_map(pooled_model, tab, tmp_path):
    open_page(tab, tmp_path, pooled_model.predict(list(IMAGES)))
    assert tab.locator("#image").is_visible()
    for name in ("heat", "scale", "subnets"):
        assert tab.locator(f"#{name}").is_hidden()
    assert tab.locator("#subnets button").count() == 0
    tab.locator("#attributes li button").nth(2).click()
    pressed = tab.locator("#attributes li button").nth(2).get_attribute("aria-pressed")
    assert pressed == "true"
    assert tab.locator("#caption").inner_text() == "The image as the model receives it"
    tab.locator("#images button").nth(1).click()
    assert len(names_in(tab, "ranking")) == 8


def test_images_none_of_which_could_be_read(tab, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        prediction_page.page([], "title", {"a.jpg": "a.jpg does not decode."}), encoding="utf-8"
    )
    tab.goto(path.as_uri())
    assert "a.jpg does not decode." in tab.locator(".failures").inner_text()
    assert not tab.locator("#drop").is_visible()
    assert tab.locator("#message").inner_text() == ""


def test_a_new_class_counts_as_one_not_trained_on(model, tab, tmp_path):
    """Even among seen classes only, whose margins are all negative."""
    open_page(tab, tmp_path, [model.predict(IMAGES[0], model.classes.in_domain("seen"))])
    tab.locator("#name").fill("mine")
    tab.locator("#name").press("Enter")
    new = model.candidates({"mine": {model.attribute_names[0]: 100}})
    assert tab.evaluate("state.classes.at(-1).margin") == pytest.approx(
        float(model.margins(new)[0])
    )
    tab.locator("#save").click()
    assert tab.locator("#class-message").inner_text() == "“mine” has no attributes yet."


def test_by_keyboard_and_in_haste(model, tab, tmp_path):
    """Controls keep the focus, and a click right after typing is not lost."""
    open_page(tab, tmp_path, model.predict(list(IMAGES)))
    values = tab.locator("#attributes input")
    values.nth(0).focus()
    for _ in range(3):
        tab.keyboard.press("ArrowDown")
    assert values.nth(0).evaluate("(input) => input === document.activeElement")
    tab.keyboard.press("Enter")
    assert tab.evaluate(
        "document.activeElement === $('attributes').children[1].querySelector('input')"
    )
    attribute = tab.locator("#attributes li:nth-child(2) button > span:first-child").inner_text()
    assert f"“{attribute}”" in tab.locator("#caption").inner_text()  # its heat map
    values.nth(0).press_sequentially("7")
    other = tab.locator("#ranking li button").nth(1)
    box = other.bounding_box()
    tab.mouse.click(box["x"] + 5, box["y"] + 5)
    assert tab.locator("#ranking li button").nth(1).get_attribute("aria-pressed") == "true"
    for place, number in (("subnets", 2), ("images", 1)):
        tab.locator(f"#{place} button").nth(number).focus()
        tab.keyboard.press("Enter")
        assert (
            tab.locator(f"#{place} button")
            .nth(number)
            .evaluate("(one) => one === document.activeElement")
        )
    assert tab.locator("#heat").is_hidden()
    assert tab.locator("#scale").is_hidden()


def test_edits_are_what_a_class_file_says(model, tab, tmp_path):
    """A new class like a known one, with edited values, against the same description in Python."""
    like, names = model.classes.names[3], model.attribute_names
    open_page(tab, tmp_path, [model.predict(IMAGES[0])])
    tab.locator("#name").fill("mine")
    start_from(tab, like)
    tab.get_by_role("button", name="Add", exact=True).click()
    typed = {names[1]: 3, names[4]: 100, names[5]: 0}
    for name, value in typed.items():
        row = tab.locator("#attributes li").filter(
            has=tab.locator(f"[data-key='{names.index(name)}']")
        )
        row.locator("input").fill(str(value))
    made = model.candidates({"mine": {"like": like, **typed}})
    expected = model.predict(IMAGES[0], model.classes + made, top_k=len(model.classes) + 1).classes
    found = tab.evaluate(
        "ranking(state.images[0].psi, state.classes)"
        ".map((one) => ({...state.classes[one.c], ...one}))"
    )
    assert [one["name"] for one in found] == [one.name for one in expected]
    assert [one["score"] for one in found] == pytest.approx(
        [one.score for one in expected], abs=1e-4
    )


def test_what_was_changed_is_marked_and_undone(model, tab, tmp_path):
    open_page(tab, tmp_path, [model.predict(IMAGES[0])])
    before = names_in(tab, "ranking")
    value = tab.locator("#attributes input").nth(2)
    was = value.input_value()
    value.fill("1" if was != "1" else "2")
    assert [mark.get_attribute("title") for mark in tab.locator("#attributes .changed").all()] == [
        f"was {was}"
    ]
    tab.locator("#reset").click()
    assert tab.locator("#attributes .changed").count() == 0
    tab.locator("#name").fill("mine")
    tab.locator("#name").press("Enter")
    assert len(names_in(tab, "ranking")) == len(before) + 1
    tab.get_by_role("button", name="Remove this class").click()
    assert names_in(tab, "ranking") == before


def test_finds_classes_and_walks_with_arrows(model, tab, tmp_path):
    open_page(tab, tmp_path, [model.predict(IMAGES[0])])
    last = names_in(tab, "ranking")[-1]
    tab.locator("#find").fill(last.partition(". ")[2].upper())
    assert last in names_in(tab, "ranking")
    assert len(names_in(tab, "ranking")) == 2  # with the class that is chosen
    tab.locator("#find").fill("")
    tab.locator("#attributes button").nth(0).focus()
    for key, place in (
        ("ArrowDown", 1),
        ("ArrowDown", 2),
        ("ArrowUp", 1),
        ("End", 5),
        ("ArrowDown", 5),
        ("Home", 0),
    ):
        tab.keyboard.press(key)
        assert (
            tab.locator("#attributes button")
            .nth(place)
            .evaluate("(one) => one === document.activeElement")
        )
        assert tab.locator("#attributes button").nth(place).get_attribute("aria-pressed") == "true"


def test_on_a_phone_the_image_stays_in_view(model, tab, tmp_path):
    tab.set_viewport_size({"width": 390, "height": 700})
    open_page(tab, tmp_path, [model.predict(IMAGES[0])])
    tab.locator("#attributes button").last.focus()
    tab.locator("#attributes").evaluate("(list) => list.scrollIntoView(false)")
    image, row = (
        tab.locator("#image").bounding_box(),
        tab.locator("#attributes button").last.bounding_box(),
    )
    assert 0 <= image["y"] < row["y"] - image["height"] < 700
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


def test_clicked_through(model, tab, tmp_path):
    """An upload, a heat map, an edit, a new class, its file, and an image that is too large."""
    from msdn_lit.inference.page.connections import Limits, make_server

    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "large.png").write_bytes(png() + b"\0" * prediction_page.UPLOAD_LIMIT)
    done = Future()
    done.set_result(model)
    handlers = server.Handlers(done, [tmp_path / "a.png"], "title")
    running = make_server(server.create_app(handlers, {"127.0.0.1"}), Limits())
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    thread = threading.Thread(target=running.run, args=([listening],))
    thread.start()
    try:
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("body[data-ready]")
        use(tab, model, tmp_path)
    finally:
        running.should_exit = True
        thread.join()


def use(tab, model, folder):
    tab.set_input_files("#file", folder / "a.png")
    tab.wait_for_selector("#ranking li")
    best = model.predict(IMAGES[0]).best
    assert names_in(tab, "ranking")[0] == f"1. {best.name[4:].replace('_', ' ')}"
    area = "0, 0, $('heat').width, $('heat').height"
    heat = f"Array.from($('heat').getContext('2d').getImageData({area}).data).join()"
    before = tab.evaluate(heat)
    tab.locator("#attributes li button").nth(3).hover()
    assert tab.evaluate(heat) != before
    tab.locator("#subnets button").nth(1).click()
    assert tab.locator("#caption").inner_text().startswith("visual to attribute")

    tab.locator("#ranking li button").nth(7).focus()
    tab.keyboard.press("Enter")  # by keyboard: the last class
    name, score = (
        tab.locator("#why").inner_text(),
        tab.locator("#ranking output").nth(7).inner_text(),
    )
    tab.locator("#attributes input").nth(0).fill("0")
    tab.keyboard.press("Tab")
    assert tab.locator("#why").inner_text() == name
    outputs = dict(
        zip(names_in(tab, "ranking"), tab.locator("#ranking output").all_inner_texts(), strict=True)
    )
    (edited,) = [value for key, value in outputs.items() if key.split(". ")[1] in name]
    assert edited != score
    tab.locator("#reset").click()
    assert score in tab.locator("#ranking output").all_inner_texts()
    tab.locator("#attributes input").nth(0).fill("200")
    tab.keyboard.press("Tab")
    assert "0 to 100" in tab.locator("#value-message").inner_text()

    tab.locator("#name").fill("my bird")
    start_from(tab, best.name)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert "my bird" in " ".join(names_in(tab, "ranking"))
    with tab.expect_download() as download:
        tab.locator("#save").click()
    download.value.save_as(folder / "mine.yaml")
    made = model.candidates(folder / "mine.yaml")
    assert made.names == ("my bird",)
    np.testing.assert_allclose(
        made.attributes_CK[0], model.classes.named([best.name]).attributes_CK[0], atol=2e-3
    )
    tab.set_input_files("#file", folder / "large.png")
    until(tab, "$('message').textContent === 'large.png is larger than 30 MB.'")
    tab.set_input_files(
        "#file", [folder / "text.png", folder / "a.png"]
    )  # the second image keeps the message of the first
    tab.wait_for_selector("#images button:nth-child(2)")
    until(tab, "$('message').textContent.startsWith('text.png: The image does not decode')")
    assert torch.is_inference_mode_enabled() is False
