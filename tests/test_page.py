"""The report as one HTML page: well-formed, complete, self-contained, without browser errors."""

import base64
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from msdn_lit.analysis.groups import group_runs
from msdn_lit.analysis.output.formats import Share, Table
from msdn_lit.analysis.output.page import report_page
from msdn_lit.commands.results import report
from msdn_lit.runs.reader import find_runs
from msdn_lit.runs.score_cache import ScoreCache, write_class_names
from tests.run_folders import write_run

VOID = {"meta", "link", "img", "input"}
HOSTILE = Table(
    "hostile",
    "A & <i>C</i>",
    ["<name>", "T1", "n"],
    [["<b>\"x'</b> &amp;", Share(0.5), 1]],
    ["<all> {{ 1 }}"],
)


class Page(HTMLParser):
    """Elements with their attributes, and the text of every cell; every tag must be closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.rows, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        self.text += data

    def all(self, tag, attribute):
        return [
            attributes[attribute]
            for name, attributes in self.elements
            if name == tag and attribute in attributes
        ]


def digest_of(script):
    """A script as the content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@pytest.fixture
def logs(load_config, tmp_path):
    """Runs of three values of a setting, one with two seeds; their classes have names."""
    cfg = load_config()
    for name, cfg.seed, cfg.loss.lambda_cal in (
        ("a 0", 0, 0.1),
        ("1", 1, 0.1),
        ("b", 0, 0.2),
        ("c", 0, 0.4),
    ):
        folder = write_run(tmp_path / "logs" / name, cfg, recipe="cub_gzsl")
        write_class_names(folder / "scores", [f"{c:03d}.Bird_<{c}>" for c in range(10)])
    return tmp_path / "logs"


@pytest.fixture
def page(logs, tmp_path, command):
    code, out, err = command(
        report, str(logs), "--format", "html", "--output", str(tmp_path / "out")
    )
    assert (code, err, out) == (0, "", f"{tmp_path / 'out' / 'report.html'}\n")
    return (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_page_stands_alone_and_shows_every_panel(page, logs, tmp_path):
    parsed = Page(page)
    sources = parsed.all("img", "src")
    kinds = {
        "bars": 2,
        "curves": 1,
        "sensitivity": 1,
        "history": 3,
        "losses": 3,
        "classes": 3,
        "prediction": 3,
    }
    assert len(sources) == sum(kinds.values())
    for source in sources:
        head, _, content = source.partition(",")
        assert head == "data:image/svg+xml"
        assert ET.fromstring(unquote(content)).tag.endswith("svg")
    assert sum(map(len, sources)) / len(sources) < 60_000  # 92 kB with texts as outlines
    links = [*parsed.all("a", "href"), *parsed.all("link", "href"), *parsed.all("script", "src")]
    assert not [link for link in [*links, *sources] if re.match(r"(https?:)?//", link)]
    beside_images = re.sub(r'src="data:[^"]*"', "", page)  # which name XML's namespaces
    assert not re.search(r"https?://|@import|url\(", beside_images)
    folders = {
        (tmp_path / "out" / unquote(link)).resolve() for link in links if link[0] not in "#d"
    }
    assert folders == {path.resolve() for path in logs.iterdir()}
    identities = parsed.all("section", "id")
    assert {link[1:] for link in links if link.startswith("#")} == set(identities)
    assert str(tmp_path) not in page  # the page may be shared


def test_its_tables_say_what_the_files_do(page, logs):
    rows = Page(page).rows
    for name in ("a 0", "1", "b", "c"):
        last = json.loads((logs / name / "result.json").read_text())["scores"]["last"]
        scores = [
            f"{100 * last[score]:.1f}"
            for score in ("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean")
        ]
        (row,) = [row for row in rows if row[-1].endswith(f"logs/{name}")]
        assert [cell for cell in row if re.fullmatch(r"\d+\.\d", cell)] == scores
    cache = ScoreCache.load(logs / "c" / "scores" / "last.npz")
    fused = cache.fused(calibration=cache.calibration)
    accuracies = {
        c: 100 * np.mean(fused[cache.labels_N == c].argmax(axis=1) == c) for c in range(10)
    }
    found = [row for row in rows if row[0].startswith("Bird <") and len(row) == 4][
        -10:
    ]  # of the last group
    assert {row[0]: row[3] for row in found} == {
        f"Bird <{c}>": f"{value:.1f}" for c, value in accuracies.items()
    }
    assert [float(row[3]) for row in found] == sorted(float(row[3]) for row in found)


def test_nothing_is_taken_for_markup(logs):
    groups = group_runs(find_runs([logs / "c"]).runs)[0]
    parsed = Page(report_page("a < b", groups, [HOSTILE], None, logs))
    assert ["<b>\"x'</b> &amp;", "50.0", "1"] in [
        [cell.strip() for cell in row] for row in parsed.rows
    ]
    assert all(text in parsed.text for text in ("a < b", HOSTILE.title, *HOSTILE.notes, "<name>"))


def test_only_its_own_script_may_run(page):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert html.unescape(policy).endswith(f"script-src {digest_of(script)}")
    assert not re.search(r"<[^>]* on\w+=", page)


@pytest.mark.slow
def test_the_same_runs_give_the_same_page(page, logs, tmp_path, command):
    command(report, str(logs), "--format", "html", "--output", str(tmp_path / "out"))
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == page


@pytest.mark.slow
def test_a_browser_has_nothing_to_complain_of(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("there is no Chromium here")
    probe = """
      const heads = document.querySelectorAll("#folders th button");
      const column = [...heads].findIndex(head => head.textContent === "seed");
      heads[column].click();
      const rows = [...document.querySelectorAll("#folders tbody tr")];
      const seeds = rows.map(row => row.cells[column].textContent);
      const search = document.querySelector("#classes input");
      search.value = "bird <3>"; search.dispatchEvent(new Event("input"));
      const classes = [...search.closest(".table").querySelectorAll("tbody tr")];
      const found = classes.filter(row => !row.hidden).length;
      const loaded = [...document.images].filter(image => image.complete);
      const broken = loaded.filter(image => !image.naturalWidth).length;
      const wide = document.documentElement.scrollWidth > innerWidth;
      document.title = JSON.stringify({seeds, found, broken, wide});
    """
    copy = tmp_path / "out" / "probed.html"
    copy.write_text(
        page.replace('loading="lazy"', "")
        .replace("script-src ", f"script-src {digest_of(probe)} ")
        .replace("</body>", f"<script>{probe}</script></body>"),
        encoding="utf-8",
    )
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--log-level=0",
    ]
    flags += [
        "--window-size=390,844",
        "--virtual-time-budget=5000",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [browser, *flags, "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    told = json.loads(re.search(r"<title>(.*?)</title>", done.stdout)[1])
    assert told == {"seeds": ["1", "0", "0", "0"], "found": 1, "broken": 0, "wide": False}


def test_axe_finds_nothing(page, tmp_path, new_tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    tab = new_tab()
    tab.goto((tmp_path / "out" / "report.html").as_uri())
    for width in (1400, 400):
        tab.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)
            found = axe.Axe().run(tab).response["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
