"""Counts bad inputs and faults: `make faults` runs the marked tests and prints a table by area.

A test that tries one fault is marked with `@pytest.mark.fault(AREA)`. A test that tries many also
uses the fixture `faults`, which takes their numbers; the test itself is then not counted.
"""

from collections import Counter

import pytest

AREAS = (
    "records",  # a run, an evaluation or a report that would claim what did not happen
    "run folders",  # damaged or hostile run folders and bundles
    "data files",  # damaged or hostile files of a benchmark, archives, feature stores
    "images",
    "tables",  # CSV and text files that people bring
    "settings",  # overrides, config folders, environment variables
    "disk",  # full, read-only or slow disks
    "processes",  # signals, kills, closed pipes, two processes in one folder
    "network",  # requests to the page, downloads, connections that nobody asked for
    "remedies",  # commands that messages and documents advise
)
_PROPERTY = "faults"


@pytest.fixture
def faults(request):
    """Takes the numbers of a test that tries many faults: `faults(tried, failed)`."""
    area = _area(request.node)

    def count(tried, failed=0):
        request.node.user_properties.append((_PROPERTY, [area, tried, failed]))

    return count


def _area(item):
    (area,) = item.get_closest_marker("fault").args
    assert area in AREAS, f"{area} is no area of tests/faults.py"
    return area


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("fault") and "faults" not in item.fixturenames:
            item.user_properties.append((_PROPERTY, [_area(item), 1, None]))


def pytest_terminal_summary(terminalreporter, config):
    """Prints the table if only tests of faults ran."""
    if config.getoption("markexpr") != "fault":
        return
    tried, failed = Counter(), Counter()
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    ]
    for report in reports:
        for _, (area, number, wrong) in (p for p in report.user_properties if p[0] == _PROPERTY):
            tried[area] += number
            failed[area] += int(report.failed) if wrong is None else wrong
    terminalreporter.section("faults")
    terminalreporter.line(f"{'area':<14}{'tried':>7}{'survived':>10}{'failed':>8}")
    rows = [(area, tried[area], failed[area]) for area in AREAS]
    for area, number, wrong in [*rows, ("all", tried.total(), failed.total())]:
        terminalreporter.line(f"{area:<14}{number:>7}{number - wrong:>10}{wrong:>8}")
