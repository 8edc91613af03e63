"""Damaged and hostile files of every format: each raises a UserError or is read correctly.

Correct means equal to the intact content, or of the right shape and type and finite if a format has
no checksum and only numbers were changed. Every case is the same in every run: its seed is the name
of its format and its number.
"""

import os
import random
import resource
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from msdn_lit.errors import UserError
from tests.mutated import (
    archives,
    folders,
    hdf5,
    images,
    isolation,
    matlab,
    stores,
    tables,
    weights,
)
from tests.mutated.damage import damaged
from tests.mutated.format import TRACE, Format

FAMILIES = {
    module.__name__.rpartition(".")[2]: module
    for module in (matlab, tables, stores, hdf5, images, folders, weights, archives)
}
_AREAS = {"tables": "tables", "images": "images", "folders": "run folders"}
BY_AREA = [
    pytest.param(name, marks=pytest.mark.fault(_AREAS.get(name, "data files"))) for name in FAMILIES
]
DAMAGED = 20  # random cases of each format
GOOD = {"refused", "equal", "other numbers"}
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),  # of files that it decodes partly
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings(
        "ignore:.*no model can distinguish"
    ),  # classes with equal attributes
    pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required"),
    pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants"),
    pytest.mark.filterwarnings("ignore:invalid escape sequence"),
]


@pytest.fixture(scope="module")
def formats(tmp_path_factory):
    """Returns all formats by family."""
    return {
        name: list(family.formats(tmp_path_factory.mktemp(name)))
        for name, family in FAMILIES.items()
    }


def spoiled(form):
    """Returns the files of a format that are replaced by damaged or foreign ones."""
    return form.spoiled or tuple(form.files)


def random_damage(form):
    for number in range(DAMAGED):
        rng = random.Random(f"{form.name} {number}")
        file = rng.choice(spoiled(form))
        kind, data = damaged(form.files[file], rng)
        yield f"damage {number} ({kind} {file})", {file: data}


def examine(form, cases, case_dir, faults):
    """Reads a format's cases, counts them and returns a line for each wrong outcome."""
    reference = form.read(written(form, {}, case_dir))
    found = isolation.outcomes(
        lambda number: outcome(form, cases[number][1], case_dir, reference),
        len(cases),
        form.megabytes,
    )
    print(form.name, dict(Counter(found)))  # shown by pytest -rP
    wrong = [
        f"{form.name}, {case[0]}: {end}"
        for case, end in zip(cases, found, strict=True)
        if end not in GOOD
    ]
    faults(len(cases), len(wrong))
    return wrong


def written(form, changed, case_dir):
    """Writes a format's files, some of them changed, into an emptied folder."""
    shutil.rmtree(case_dir, ignore_errors=True)
    for name, content in {**form.files, **changed}.items():
        path = case_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content(path) if callable(content) else path.write_bytes(content)
    return case_dir


def outcome(form, changed, case_dir, reference):
    """Reads one case; returns its outcome, which includes files that it leaves behind."""
    os.chdir(written(form, changed, case_dir))
    before = tree(case_dir)
    try:
        end = judged(form, form.read(case_dir), reference)
    except UserError as fault:
        end = "refused" if "\n" not in str(fault) else f"more than a line: {fault}"
    except BaseException as error:
        end = f"{type(error).__name__}: {error}"
    left = {
        name
        for name in tree(case_dir) - before
        if end == "refused" or not name.startswith(archives.INTO)
    }
    return f"left {left}" if left else end


def judged(form, value, reference):
    try:
        np.testing.assert_equal(value, reference)
        return "equal"
    except AssertionError:
        return "other numbers" if form.can_be_right(value) else f"wrong: {value!r:.200}"


def tree(folder):
    """Returns the paths of all files and folders below a folder."""
    return {
        os.path.relpath(os.path.join(root, name), folder)
        for root, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


@pytest.mark.parametrize("family", BY_AREA)
def test_damaged_files(formats, family, tmp_path, faults):
    wrong = [
        line
        for form in formats[family]
        for line in examine(form, [*random_damage(form)], tmp_path / "case", faults)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "family", [each for each in BY_AREA if each.values != ("archives",)]
)  # see test_archives
def test_hostile_files(formats, family, tmp_path, faults):
    wrong = [
        line
        for form in formats[family]
        for line in examine(form, list(form.hostile), tmp_path / "case", faults)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("family", BY_AREA)
def test_files_of_other_formats(formats, family, tmp_path, faults):
    """For example a .pkl file in place of a .mat file."""
    others = [
        (form, form.files[name])
        for forms in formats.values()
        for form in forms
        for name in spoiled(form)
    ]
    if family == "archives":  # NumPy's and PyTorch's zip archives are valid archives
        others = [(form, data) for form, data in others if not data.startswith(b"PK")]
    wrong = []
    for form in formats[family]:
        cases = [
            (f"content of {other.name}", {spoiled(form)[0]: data})
            for other, data in others
            if other is not form
        ]
        wrong += examine(form, cases, tmp_path / "case", faults)
    assert not wrong, "\n".join(wrong)


def test_every_outcome_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "SECONDS", 5)
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    ends = (
        lambda: 1,
        lambda: 2,
        lambda: os.mkdir(TRACE),
        lambda: 1 / 0,
        lambda: os._exit(3),
        lambda: time.sleep(9),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: len(bytearray(peak_before + 2**28)),  # a process keeps freed memory
        lambda: bytearray(2**40),
    )
    form = Format("x", {"x": b""}, lambda folder: None, lambda value: False)
    found = isolation.outcomes(
        lambda number: outcome(
            replace(form, read=lambda folder: ends[number]()), {}, tmp_path / "case", 1
        ),
        len(ends),
        megabytes=200,
    )
    assert found[:2] == ["equal", "wrong: 2"]
    assert found[2:4] == ["left {'trace'}", "ZeroDivisionError: division by zero"]
    assert found[4:7] == ["ended by an exit", "ended by SIGALRM", "ended by SIGKILL"]
    assert found[7].startswith("took ")
    assert found[8].startswith("MemoryError")
