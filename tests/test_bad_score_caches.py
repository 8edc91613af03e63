"""Score caches that are damaged or hostile: one line in every command that reads them."""

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from msdn_lit.commands.results import report, scores
from msdn_lit.commands.train import select
from msdn_lit.errors import CheckpointError
from msdn_lit.runs.score_cache import ScoreCache
from tests.run_folders import made_up_cache, write_run

pytestmark = pytest.mark.fault("run folders")

INTACT = {name: np.asarray(value) for name, value in vars(made_up_cache()).items()}
N, C = 120, 10
HUGE = 10**12


def with_values(name, **values):
    """A field with some values replaced, by index."""
    array = INTACT[name].copy()
    for index, value in values.items():
        array.reshape(-1)[int(index[1:])] = value
    return {name: array}


FIELDS = {
    "labels minus 100": {"labels_N": INTACT["labels_N"] - 100},
    "labels plus 100": {"labels_N": INTACT["labels_N"] + 100},
    "a label of no class": {"labels_N": INTACT["labels_N"] % 9, "seen": INTACT["seen"][1:]},
    "float labels": {"labels_N": INTACT["labels_N"].astype(float)},
    "labels that are truth values": {"labels_N": INTACT["labels_N"] > 3},
    "labels as texts": {"labels_N": INTACT["labels_N"].astype(str)},
    "labels in two axes": {"labels_N": INTACT["labels_N"][None]},
    "too few labels": {"labels_N": INTACT["labels_N"][:-1]},
    "one label": {"labels_N": INTACT["labels_N"][:1]},
    "no label": {"labels_N": INTACT["labels_N"][:0]},
    "NaN": with_values("logits_ONC", i7=np.nan),
    "infinity": with_values("logits_ONC", i7=np.inf),
    "too large for float32": {"logits_ONC": INTACT["logits_ONC"].astype(float) * 1e300},
    "whole logits": {"logits_ONC": INTACT["logits_ONC"].astype(int)},
    "complex logits": {"logits_ONC": INTACT["logits_ONC"].astype(complex)},
    "logits in two axes": {"logits_ONC": INTACT["logits_ONC"][0]},
    "no image": {"logits_ONC": np.zeros((2, 0, C), np.float32)},
    "no image and no label": {
        "logits_ONC": np.zeros((2, 0, C), np.float32),
        "labels_N": INTACT["labels_N"][:0],
        "rows_N": INTACT["rows_N"][:0],
    },
    "no class": {"logits_ONC": np.zeros((2, N, 0), np.float32)},
    "no sub-net": {"logits_ONC": np.zeros((0, N, C), np.float32)},
    "three sub-nets": {"logits_ONC": np.zeros((3, N, C), np.float32)},
    "objects": {"labels_N": np.array([os.system] * N, dtype=object)},
    "negative rows": {"rows_N": INTACT["rows_N"] - 100},
    "repeated rows": {"rows_N": INTACT["rows_N"] // 2},
    "rows backwards": {"rows_N": INTACT["rows_N"][::-1]},
    "too few rows": {"rows_N": INTACT["rows_N"][1:]},
    "no seen class": {"seen": INTACT["seen"][:0]},
    "no unseen class": {"unseen": INTACT["unseen"][:0]},
    "a class that is both": {"unseen": np.append(INTACT["unseen"], INTACT["seen"][0])},
    "a class twice": {"seen": np.append(INTACT["seen"], INTACT["seen"][0])},
    "a negative class": with_values("seen", i0=-1),
    "a class too many": with_values("seen", i0=C),
    "float classes": {"seen": INTACT["seen"].astype(float)},
    "fusion NaN": {"fusion": np.array([np.nan, 1])},
    "fusion infinite": {"fusion": np.array([np.inf, 1])},
    "fusion of three": {"fusion": np.array([0.3, 0.3, 0.4])},
    "fusion without a sum": {"fusion": np.array([1.0, -1.0])},
    "fusion of texts": {"fusion": np.array(["a", "b"])},
    "one name": {"subnets": INTACT["subnets"][:1]},
    "the same names": {"subnets": np.array(["a", "a"])},
    "names as numbers": {"subnets": np.array([1, 2])},
    "calibration NaN": {"calibration": np.array(np.nan)},
    "calibration infinite": {"calibration": np.array(-np.inf)},
    "two calibrations": {"calibration": np.array([1.0, 2.0])},
    "another stage": {"stage": np.array("train")},
    "stage as a number": {"stage": np.array(1)},
    "half a step": {"step": np.array(1.5)},
    "a negative step": {"step": np.array(-1)},
    "steps": {"step": np.array([1, 2])},
    "no step": {"step": None},
}


def header(shape, dtype="<f4", order=False):
    """Content of a .npy file with nothing after its header."""
    file = io.BytesIO()
    content = {"descr": dtype, "fortran_order": order, "shape": shape}
    np.lib.format.write_array_header_1_0(file, content)
    return file.getvalue()


MEMBERS = {
    "10^12 logits": header((2, HUGE, C)),
    "10^30 logits": header((2, 10**30, C)),
    "10^12 empty texts": header((HUGE,), "<U0"),
    "a negative size": header((2, -N, -C)),
    "one byte too few": header((2, N, C)) + bytes(4 * 2 * N * C - 1),
    "one byte too many": header((2, N, C)) + bytes(4 * 2 * N * C + 1),
    "another type": b"no array",
    "a header of 60 kB": b"\x93NUMPY\x01\x00\xff\xee" + b"(" * 61_183,
    "a deep header": b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192,
    "nothing": b"",
}


def members(**changes):
    """An archive of the intact fields, some of them with other bytes."""
    file = io.BytesIO()
    np.savez(file, **INTACT)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()} | changes


def archive(content, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, data in content.items():
            made.writestr(name, data)
    return file.getvalue()


def saved(changes):
    file = io.BytesIO()
    fields = {name: value for name, value in (INTACT | changes).items() if value is not None}
    np.savez(file, **fields)
    return file.getvalue()


FILES = {name: saved(changes) for name, changes in FIELDS.items()}
FILES |= {
    name: archive(members(**{"logits_ONC.npy": content})) for name, content in MEMBERS.items()
}
bomb = header((2, 25_000_000, C)) + bytes(2_000_000_000 // 100)
FILES |= {
    "a compressed bomb": archive(members(**{"logits_ONC.npy": bomb}), zipfile.ZIP_DEFLATED),
    "compressed": archive(members(), zipfile.ZIP_DEFLATED),
    "empty": b"",
    "no archive": b"no zip",
    "half": saved({})[:3000],
    "a damaged byte": saved({}).replace(INTACT["labels_N"].tobytes(), b"\1" * 8 * N),
    "an empty archive": archive({}),
}


@pytest.mark.parametrize("name", FILES)
def test_is_refused_when_it_is_read(tmp_path, name):
    path = tmp_path / "last.npz"
    path.write_bytes(FILES[name])
    tracemalloc.start()
    with pytest.raises(
        CheckpointError, match=r"last\.npz cannot be (read|used) as scores"
    ) as caught:
        ScoreCache.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < 3e6 + 3 * len(FILES[name])


def test_what_was_saved_is_read(tmp_path):
    cache = made_up_cache()
    cache.save(tmp_path / "last.npz")
    found = ScoreCache.load(tmp_path / "last.npz")
    for name, value in INTACT.items():
        np.testing.assert_array_equal(getattr(found, name), value)
        assert np.asarray(getattr(found, name)).dtype == value.dtype


@pytest.mark.parametrize("name", ["labels minus 100", "NaN", "no image", "10^12 logits"])
def test_every_command_ends_in_one_line(tmp_path, load_config, command, name):
    run = write_run(tmp_path / "logs" / "bad", load_config("protocol=validation"))
    (run / "scores" / "last.npz").write_bytes(FILES[name])
    (run / "scores" / "step_000100.npz").write_bytes(FILES[name])
    for module, words in ((scores, []), (select, ["--output=chosen.json"])):
        code, out, err = command(module, str(run), *words)
        assert (code, out, err.count("\n")) == (2, "", 1), module.__name__
        assert "as scores (" in err
    code, out, err = command(report, str(run))
    assert (code, err) == (0, "")
    assert out.count("| damaged ") == 1


@pytest.mark.parametrize("words", [["--calibration", "nan"], ["--fusion", "nan", "1"]])
def test_settings_that_are_no_numbers(tmp_path, command, words):
    made_up_cache().save(tmp_path / "last.npz")
    code, out, err = command(scores, str(tmp_path / "last.npz"), *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{words[0]} is wrong" in err
