"""The controls of the page, clicked in a browser, against an app that answers from NumPy."""

import io
import json
import re
import xml.etree.ElementTree as ET
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from tests.browser import until
from tests.page_stub import ADDRESS, ATTRIBUTES, CLASSES, COLOURS, PARTS, StubApp, picture

pytestmark = pytest.mark.slow
SENTENCE = "blue wings, crest, white belly"
DESCRIBED = {
    "values": {"16": 100, "31": 100},
    "phrases": [
        {"text": "blue wings", "attributes": [16], "nearest": [16, 17, 18]},
        {"text": "crest", "attributes": [], "nearest": [45, 46]},
        {"text": "white belly", "attributes": [31], "nearest": [31, 32]},
    ],
}
LISTS = ("samples", "images", "subnets", "ranking", "attributes", "phrases")


@pytest.fixture
def app():
    return StubApp()


def opened(app, tab, fragment=""):
    """A tab with the app and the first sample."""
    app.serve(tab)
    tab.set_default_timeout(15_000)
    tab.goto(ADDRESS + fragment)
    tab.wait_for_selector("body[data-ready]")
    if not fragment:
        tab.locator("#samples button").first.click()
    tab.wait_for_selector("#ranking li")
    until(tab, "$('progress').hidden")
    return tab


@pytest.fixture
def page(app, tab):
    return opened(app, tab)


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


def rows(page, kind="*"):
    """Label and number of each row of the waterfall."""
    found = page.locator(f"#attributes > li{'' if kind == '*' else '.' + kind}")
    texts = found.evaluate_all(
        "(all) => all.map((one) => [one.querySelector('span').textContent,"
        " one.querySelector('output').textContent])"
    )
    return [(label, number(amount)) for label, amount in texts]


def scores(page):
    """Shown score of each class of the ranking, by name."""
    texts = page.locator("#ranking button").evaluate_all(
        "(all) => all.map((one) => [one.querySelector('b').textContent,"
        " one.querySelector('output').textContent])"
    )
    return {name.partition(". ")[2]: number(score) for name, score in texts}


def short(name):
    return name[4:].replace("_", " ")


def adds_up(page):
    """Whether the numbers of the rows, as shown, add up to the last."""
    single = page.locator("#attributes > li:not(.member)").count()
    members = [amount for _, amount in rows(page, "member")]
    found = rows(page)
    top = sum(amount for _, amount in found) - sum(members) - found[-1][1]
    assert single > 3
    return round(top - found[-1][1], 6) == 0


def test_says_what_it_is(page, app):
    about = " ".join(page.locator("#about").inner_text().split())
    assert about == (
        "msdn trained on CUB with mobilenetv2_224 features, step 4,234. T1 61.2 U 52.3 S 58.9 "
        "H 55.4 % on 4,731 test images. Protocol honest: the test images chose nothing."
    )
    terms = page.locator("#terms").inner_text()
    assert all(part in terms for part in ("Seen: 20", "Unseen: 10", "New:"))
    assert "U: accuracy on unseen classes, among all classes" in page.locator("footer").inner_text()


def test_without_reference_data_it_says_nothing_wrong(app, tab):
    for name in ("about", "weights", "groups", "leads"):
        app.model[name] = None
    app.image["likeness"] = None
    page = opened(app, tab)
    for name in ("about", "strange", "meter", "grouped"):
        assert page.locator(f"#{name}").is_hidden()
    assert "test images" not in page.locator("#lead").inner_text()
    assert "Seen: 20" in page.locator("#terms").inner_text()
    assert "weight" not in page.locator("#subnets").inner_text()
    for name in ("about", "weights", "groups", "leads"):
        del app.model[name]
    opened(app, page)
    assert page.locator("#about").is_hidden()


def test_a_sub_net_without_weight_is_grey_and_not_the_first_choice(page):
    buttons = page.locator("#subnets button")
    assert [text.split("\n") for text in buttons.all_inner_texts()] == [
        ["attribute to visual", "no weight"],
        ["visual to attribute", "weight 1"],
        ["image only"],
    ]
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    assert "mute" in buttons.nth(0).get_attribute("class")
    colour = "(one) => getComputedStyle(one).color"
    assert buttons.nth(0).evaluate(colour) != buttons.nth(1).evaluate(colour)


def test_bars_begin_at_zero(page, app):
    shown = list(scores(page).values())
    assert shown == pytest.approx(np.sort(app.scores_C)[::-1][:10], abs=0.005)
    widths = page.locator("#ranking .bar i").evaluate_all(
        "(all) => all.map((one) => parseFloat(one.style.width))"
    )
    assert np.array(widths) / widths[0] == pytest.approx(np.array(shown) / shown[0], abs=0.01)
    starts = page.locator("#ranking .bar i").evaluate_all(
        "(all) => all.map((one) => parseFloat(one.style.left))"
    )
    assert starts == [0] * 10


def test_the_waterfall_adds_up(page, app):
    """By group, with an open group, by attribute, for other classes, after an edit, filtered."""
    best = int(app.scores_C.argmax())
    parts_K = app.rows_CK[best].astype(float) * app.psi_K
    by_group = dict(zip(PARTS, parts_K.reshape(len(PARTS), COLOURS).sum(axis=1), strict=True))
    for label, amount in rows(page, "group"):
        assert amount == pytest.approx(by_group[label.partition(" (")[0]], abs=0.01)
    assert adds_up(page)
    page.locator("#attributes .group button").nth(1).click()
    members = rows(page, "member")
    assert len(members) == COLOURS
    assert round(sum(amount for _, amount in members), 6) == rows(page, "group")[1][1]
    page.locator("#grouped").click()
    for c in (0, 3, 9):
        page.locator("#ranking button").nth(c).click()
        name = page.locator("#why").inner_text()[4:-1]
        row_K = app.rows_CK[CLASSES.index(f"{int(name[5:]):03d}.Bird_{name[5:]}")]
        exact = {
            f"{ATTRIBUTES[k][4:].replace('::', ': ').replace('_', ' ')}": part
            for k, part in enumerate(row_K.astype(float) * app.psi_K)
        }
        shown = rows(page, "attribute")
        assert len(shown) == 10
        assert [exact[label] for label, _ in shown] == pytest.approx(
            [amount for _, amount in shown], abs=0.005
        )
        assert {abs(exact[label]) for label, _ in shown} == set(
            sorted(map(abs, exact.values()))[-10:]
        )
        assert rows(page, "others")[0][0] == f"{len(ATTRIBUTES) - 10} others"
        assert rows(page, "others")[0][1] == pytest.approx(
            sum(exact.values()) - sum(exact[label] for label, _ in shown), abs=0.07
        )
        assert rows(page, "margin") == [("calibration", -0.5 if int(name[5:]) <= 20 else 0.5)]
        assert rows(page)[-1] == ("score", scores(page)[name])
        assert adds_up(page)
    page.locator("#attributes input").first.fill("3")
    assert adds_up(page)
    page.locator("#filter").fill("wing 12")
    assert [label for label, _ in rows(page, "attribute")] == ["wing color: colour 12"]
    assert adds_up(page)


def test_two_classes_are_compared(page, app):
    """By the button for the second class, and by a search for any other."""
    order = np.argsort(-app.scores_C)
    page.locator("#versus").click()
    first, second = (short(CLASSES[c]) for c in order[:2])
    assert page.locator("#why").inner_text() == f"Why {first} and not {second}?"
    page.locator("#grouped").click()
    rival = order[17]
    page.locator("#rival").fill(short(CLASSES[rival]))
    page.keyboard.press("Enter")
    total = round(scores(page)[first] - round(app.scores_C[rival], 2), 2)
    assert rows(page)[-1] == ("difference of the scores", pytest.approx(total))
    assert adds_up(page)
    margins = app.margins_C[order[0]] - app.margins_C[rival]
    assert rows(page, "margin") == [("calibration", margins)]
    difference_K = (app.rows_CK[order[0]].astype(float) - app.rows_CK[rival]) * app.psi_K
    assert [amount for _, amount in rows(page, "attribute")] == pytest.approx(
        difference_K[np.argsort(-abs(difference_K))[:10]], abs=0.01
    )
    captions = page.locator("#pair figcaption").all_inner_texts()
    for caption, c, k in zip(
        captions,
        (order[0], rival),
        (difference_K.argmax(), difference_K.argmin()),
        strict=True,
    ):
        attribute = ATTRIBUTES[k][4:].replace("::", ": ").replace("_", " ")
        assert caption.startswith(f"For {short(CLASSES[c])}: {attribute}, ")
        assert number(caption.rpartition(" ")[2]) == pytest.approx(difference_K[k], abs=0.006)
    drawn = page.locator("#pair canvas").evaluate_all("(all) => all.map((one) => one.toDataURL())")
    assert len(set(drawn)) == 2
    page.locator("#rival").fill("")
    page.keyboard.press("Enter")
    assert page.locator("#why").inner_text() == f"Why {first}?"
    assert page.locator("#pair").is_hidden()


def test_certainty_in_units_of_the_test_images(app, tab):
    best, second = np.sort(app.scores_C)[::-1][:2]
    for factor, text in ((0.01, "closer than 99 %"), (100, "a larger lead than in 100 %")):
        app.model["leads"] = (np.linspace(0, 2, 101) * (best - second) / factor).tolist()
        page = opened(app, tab)
        expected = 100 * min(1, 0.5 * factor)
        lead = page.locator("#lead").inner_text()
        assert text in lead
        assert f"by {best - second:.2f}" in lead
        width = page.locator("#meter i").evaluate("(one) => parseFloat(one.style.width)")
        assert width == pytest.approx(expected, abs=0.1)
    assert page.locator("#strange").is_hidden()
    app.image["likeness"] = 0.003
    page.locator("#samples button").nth(1).click()
    until(page, "!$('strange').hidden")
    assert "like none of the training images" in page.locator("#strange").inner_text()


def test_a_class_in_one_sentence(page, app):
    app.answers["describe"] = (200, DESCRIBED)
    page.locator("#description").fill(SENTENCE)
    page.keyboard.press("Enter")
    page.wait_for_selector("#phrases .chip")
    assert app.bodies["describe"] == SENTENCE
    assert page.locator("#why").inner_text() == f"Why {SENTENCE}?"
    pressed = page.locator("#phrases [aria-pressed=true]")
    assert pressed.all_text_contents() == ["wing color: colour 1", "belly color: colour 1"]
    row = np.zeros(len(ATTRIBUTES))
    row[[16, 31]] = np.sqrt(0.5)
    assert page.evaluate("Array.from(selectedClass().row)") == pytest.approx(row)
    page.get_by_role("group", name="crest").get_by_role("button").nth(1).click()
    page.get_by_role("group", name="blue wings").get_by_role("button").first.click()
    row[[16, 46]] = 0, np.sqrt(0.5)
    assert page.evaluate("Array.from(selectedClass().row)") == pytest.approx(row)
    assert scores(page)[SENTENCE] == pytest.approx(row @ app.psi_K + 0.5, abs=0.005)
    assert adds_up(page)
    page.locator("#description").fill(SENTENCE)
    page.keyboard.press("Enter")
    assert "already" in page.locator("#class-message").inner_text()


def test_what_the_app_refuses_is_said_at_the_form(page, app):
    app.answers = {"describe": (422, {"error": "No phrase names an attribute."})}
    app.answers["class-file"] = (422, {"error": "There is no attribute 'wings'."})
    page.locator("#description").fill("nonsense")
    page.keyboard.press("Enter")
    message = page.locator("#class-message")
    message.get_by_text("No phrase names an attribute.").wait_for()
    assert page.locator("#description").input_value() == "nonsense"
    page.set_input_files(
        "#class-file", {"name": "a.yaml", "mimeType": "text/yaml", "buffer": b"a: {wings: 1}"}
    )
    message.get_by_text("There is no attribute 'wings'.").wait_for()
    assert page.evaluate("state.classes.length") == len(CLASSES)


def test_a_class_file_is_opened(page, app):
    classes = [{"name": "mine", "values": {"0": 50, "3": 100}}, {"name": CLASSES[0], "values": {}}]
    app.answers["class-file"] = (200, {"classes": classes})
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open class file").click()
    chooser.value.set_files({"name": "a.yaml", "mimeType": "text/yaml", "buffer": b"mine: {x: 50}"})
    until(page, "$('why').textContent === 'Why mine?'")
    assert app.bodies["class-file"] == "mine: {x: 50}"
    row = np.zeros(len(ATTRIBUTES))
    row[[0, 3]] = np.array([1, 2]) / np.sqrt(5)
    assert page.evaluate("Array.from(selectedClass().row)") == pytest.approx(row)
    text = page.locator("#class-message").inner_text()
    assert text == f"Added: mine. There already: {CLASSES[0]}."


def test_without_the_app_there_is_nothing_that_needs_it(app, tab, tmp_path):
    tab.goto(app.static_page(tmp_path))
    tab.wait_for_selector("body[data-ready]")
    for name in ("description", "open", "drop"):
        assert tab.locator(f"#{name}").is_hidden()
    assert "msdn trained on CUB" in tab.locator("#about").inner_text()
    assert adds_up(tab)


def test_progress_is_at_the_result(app, tab):
    app.is_holding = True
    app.serve(tab)
    tab.goto(ADDRESS)
    tab.wait_for_selector("body[data-ready]")
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": picture()} for n in ("a", "b")]
    tab.set_input_files("#file", files)
    until(tab, "$('progress-text').textContent === 'Predicting a.png, 1 of 2 …'")
    assert tab.locator("#view #progress progress").is_visible()
    assert tab.locator("#coming").is_visible()
    assert tab.locator("#result").get_attribute("aria-busy") == "true"
    assert tab.locator("#best").is_hidden()
    app.release()
    tab.wait_for_selector("#ranking li")
    until(tab, "$('progress').hidden")
    assert tab.locator("#result").get_attribute("aria-busy") == "false"
    assert tab.locator("#images button").count() == 2


def test_the_crop_is_drawn_on_the_photograph(page, app):
    style = "(one) => ['left', 'top', 'width', 'height'].map((side) => parseFloat(one.style[side]))"
    crop = page.locator("#original #crop")
    assert crop.is_visible()
    assert crop.evaluate(style) == pytest.approx([100 / 6, 0, 200 / 3, 100], abs=0.01)
    app.image["crop"] = [0.25, 0.125, 0.75, 0.875]
    page.locator("#samples button").nth(1).click()
    until(page, "state.images.length === 2")
    assert crop.evaluate(style) == [25, 12.5, 50, 75]
    page.set_input_files(
        "#file", {"name": "a.tif", "mimeType": "image/tiff", "buffer": b"not for browsers"}
    )
    until(page, "state.images.length === 3")
    assert page.locator("#original").is_hidden()


def test_a_link_opens_what_was_shown(app, new_tab):
    page = opened(app, new_tab(permissions=["clipboard-read", "clipboard-write"]))
    page.locator("#ranking button").nth(2).click()
    page.locator("#grouped").click()
    page.locator("#attributes input").nth(4).fill("7")
    page.locator("#name").fill("mine")
    page.locator("#like").fill("Bird 9")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#attributes input").nth(1).fill("88")
    page.locator("#rival").fill("Bird 12")
    page.keyboard.press("Enter")
    page.locator("#subnets button").nth(0).click()
    page.locator("#copy").click()
    until(page, "$('link-message').textContent === 'Link copied.'")
    link = page.evaluate("navigator.clipboard.readText()")
    shown = "[$('why').textContent, $('caption').textContent, $('ranking').innerText]"
    numbers = "state.classes.map((one) => Array.from(one.row))"
    before, values = page.evaluate(shown), np.array(page.evaluate(numbers))
    assert link.startswith(f"{ADDRESS}#image=first.png")
    other = opened(app, new_tab(), link.removeprefix(ADDRESS))
    until(other, "$('rival').value !== ''")
    assert other.evaluate(shown) == before
    np.testing.assert_allclose(np.array(other.evaluate(numbers)), values, atol=1e-4)
    assert adds_up(other)


def test_a_link_of_a_class_that_began_as_another_new_one(app, tab):
    page = opened(app, tab)
    first = "addClass('first', state.model.attributes.map((_, k) => (k < 2 ? 80 : 0)), {})"
    second = "addClass('second', [...valuesOf(state.classes.at(-1))], { like: 'first' })"
    page.evaluate(f"{first}; setValue({second}, 0, 0)")
    values = page.evaluate("Array.from(state.classes.at(-1).values)")
    link = page.evaluate("linkHash()")
    page.goto("about:blank")
    page.goto(ADDRESS + link)
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("Array.from(state.classes.at(-1).values)") == values


def test_a_link_of_ones_own_image_keeps_the_classes(app, tab):
    """Without a clipboard, which is there at secure addresses only, the link is in a field."""
    page = opened(app, tab)
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
    until(page, "state.images.length === 2")
    page.locator("#name").fill("mine")
    page.locator("#name").press("Enter")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.locator("#copy").click()
    text = page.locator("#link-message").inner_text()
    assert text == "Copy the link from this field. Your own image is not in it."
    link = page.locator("#link").input_value()
    assert "image=" not in link
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("body[data-ready]")
    assert "The link holds classes" in page.locator("#message").inner_text()
    assert page.evaluate("state.classes.at(-1).name") == "mine"


@pytest.mark.fault("network")
@pytest.mark.parametrize(
    "classes",
    [
        "[",
        "{}",
        "[null, 3, {}]",
        '[{"name": "x", "values": {"99999": 3, "0": 1e9, "1": "<b>", "__proto__": 5}}]',
        '[{"name": "<img src=x onerror=alert(1)>", "values": {"0": 50}}]',
        '[{"name": "001.Bird_1", "values": {"0": 50}}]',
        '[{"name": "nobody", "edited": true, "values": {"0": 50}}]',
    ],
)
def test_a_damaged_link_does_no_harm(app, tab, classes):
    fragment = f"#image=first.png&class=nobody&attribute=none&subnet=x&classes={quote(classes)}"
    page = opened(app, tab, fragment)
    best = int(app.scores_C.argmax())
    assert page.locator("#best").inner_text() == short(CLASSES[best])
    rows = page.evaluate("state.classes.map((one) => Array.from(one.row))")
    assert np.isfinite(np.array(rows)).all()
    np.testing.assert_allclose(np.array(rows)[: len(CLASSES)], app.rows_CK, atol=1e-6)
    assert page.locator("#result img[src=x]").count() == 0


def test_the_picture_is_saved_as_png_and_svg(page, tmp_path):
    with page.expect_download() as png:
        page.locator("#png").click()
    assert png.value.suggested_filename.startswith("first_visual_to_attribute_attention_for_")
    image = Image.open(io.BytesIO(png.value.path().read_bytes())).convert("RGB")
    assert image.size == (896, 896)
    assert len(image.getcolors(1_000_000) or range(99)) > 20  # the picture alone has one colour
    with page.expect_download() as svg:
        page.locator("#svg").click()
    root = ET.fromstring(svg.value.path().read_bytes())
    tags = [child.tag.rpartition("}")[2] for child in root]
    assert tags == ["title", "image", "image"]
    assert root[0].text == page.locator("#caption").inner_text()
    assert all(child.attrib["href"].startswith("data:image/") for child in root[1:])


def test_one_tab_stop_a_list_and_all_by_keyboard(page, app):
    app.answers["describe"] = (200, DESCRIBED)
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
    until(page, "state.images.length === 2")
    page.locator("#description").fill(SENTENCE)
    page.keyboard.press("Enter")
    page.wait_for_selector("#phrases .chip")
    page.locator("#attributes .group button").first.click()
    stops = (
        "(list) => [...list.querySelectorAll('button, input')]"
        ".filter((one) => one.tabIndex >= 0).length"
    )
    assert {name: page.locator(f"#{name}").evaluate(stops) for name in LISTS} == dict.fromkeys(
        LISTS, 1
    )
    reached = walked(page)
    visible = page.evaluate(
        "[...document.querySelectorAll('button, input')]"
        ".filter((one) => one.offsetParent && one.tabIndex >= 0).length"
    )
    assert len(reached) == visible
    page.locator("#attributes button").first.focus()
    for key, expected in (
        ("ArrowLeft", "false"),  # closes the group, the focus stays
        ("ArrowRight", "true"),
    ):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == expected
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.type") == "number"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.ariaPressed") == "true"


def walked(page):
    """Elements that the Tab key reaches, from the top of the page until it starts again."""
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.evaluate("window.reached = []; document.body.tabIndex = -1; document.body.focus()")
    for _ in range(60):
        page.keyboard.press("Tab")
        is_new = page.evaluate(
            "(() => { const one = document.activeElement;"
            " if (one === document.body || reached.includes(one)) return false;"
            " reached.push(one); return true; })()"
        )
        if not is_new:
            break
    return page.evaluate("reached.map((one) => one.id || one.dataset.key)")


def test_classes_are_searched_by_keyboard(page):
    like = page.locator("#like")
    like.focus()
    page.keyboard.press("ArrowDown")
    assert like.get_attribute("aria-expanded") == "true"
    assert page.locator("#like-list [role=option]").count() == len(CLASSES)
    like.press_sequentially("rd 2")
    options = page.locator("#like-list [role=option]").all_inner_texts()
    assert options == [short(name) for name in CLASSES if "rd" in name and "2" in short(name)]
    page.keyboard.press("ArrowDown")
    active = like.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("Enter")
    assert like.input_value() == options[1]
    like.fill("no such class")
    page.keyboard.press("Tab")
    assert like.input_value() == options[1]  # what was chosen stays
    page.keyboard.press("Shift+Tab")
    like.fill("bird 3")
    page.keyboard.press("Escape")
    assert page.locator("#like-list").is_hidden()
    like.click()
    page.locator("#like-list [role=option]").nth(4).click()
    assert like.input_value() == short(CLASSES[4])


@pytest.fixture
def everything(app):
    """Opens a class in one sentence, an open group and two maps in a tab."""
    app.answers["describe"] = (200, DESCRIBED)
    app.image["likeness"] = 0.001

    def show(tab):
        page = opened(app, tab)
        page.locator("#description").fill(SENTENCE)
        page.keyboard.press("Enter")
        page.wait_for_selector("#phrases .chip")
        page.locator("#rival").fill("Bird 3")
        page.keyboard.press("Enter")
        page.locator("#attributes .group button").first.click()
        return page

    return show


def test_nothing_is_cut_off(everything, new_tab):
    page = everything(new_tab())
    for width in (1400, 900, 400):
        page.set_viewport_size({"width": width, "height": 800})
        assert overflow(page, width) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert placeholder_contrast(page) >= 4.5


def test_targets_are_large_enough_for_fingers(everything, new_tab):
    phone = {"viewport": {"width": 400, "height": 800}, "has_touch": True, "is_mobile": True}
    page = everything(new_tab(**phone))
    assert overflow(page, 400) == []
    small = page.locator("button:visible, input:visible").evaluate_all(
        "(all) => all.filter((one) => one.offsetHeight < 44 || one.offsetWidth < 44)"
        ".map((one) => one.outerHTML)"
    )
    assert small == []


def test_axe_finds_nothing(everything, tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    page = everything(tab)
    for width in (1400, 900, 400):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = axe.Axe().run(page).response["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def overflow(page, width):
    """Elements that reach beyond the right edge; a row of thumbnails scrolls by itself."""
    assert page.evaluate("document.documentElement.scrollWidth") == width
    return page.evaluate(
        "[...document.querySelectorAll('main *:not(.thumbs *)')].filter((one) => one.offsetParent)"
        f".filter((one) => one.getBoundingClientRect().right > {width} + 1)"
        ".map((one) => one.outerHTML)"
    )


def placeholder_contrast(page):
    """Contrast of placeholders by the formula of WCAG 2."""
    colours = page.evaluate(
        "['description', 'find'].flatMap((id) => [getComputedStyle($(id), '::placeholder').color,"
        " getComputedStyle($(id)).backgroundColor])"
    )
    found = [luminance(colour) for colour in colours]
    pairs = zip(found[::2], found[1::2], strict=True)
    return min((max(pair) + 0.05) / (min(pair) + 0.05) for pair in pairs)


def luminance(colour):
    values = np.array([int(v) for v in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_saved_file_names_what_was_described(page, app):
    app.answers["describe"] = (200, json.loads(json.dumps(DESCRIBED)))
    page.locator("#name").fill("mine")
    page.locator("#description").fill(SENTENCE)
    page.keyboard.press("Enter")
    page.wait_for_selector("#phrases .chip")
    with page.expect_download() as download:
        page.locator("#save").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert text.splitlines()[1:] == [
        '"mine":',
        f'  "{ATTRIBUTES[16]}": 100',
        f'  "{ATTRIBUTES[31]}": 100',
    ]
