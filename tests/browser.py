"""Fixtures of the tests that click in headless Chromium."""

import shutil
import time

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests of a module."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def new_tab(browser):
    """Makes tabs with the options of a browser context; a tab's scripts must raise no error."""
    contexts, faults = [], []

    def make(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda line: faults.append(line.text) if _is_fault(line.text) else None)
        return tab

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def _is_fault(text):
    return "Content Security Policy" in text


@pytest.fixture
def tab(new_tab):
    return new_tab()


def until(tab, expression, seconds=20):
    """Waits until an expression is true; Playwright's own way needs eval, which CSP forbids."""
    end = time.monotonic() + seconds
    while not tab.evaluate(expression):
        assert time.monotonic() < end, f"not true after {seconds} s: {expression}"
        tab.wait_for_timeout(20)
