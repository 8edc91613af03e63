"""The reader of MATLAB files against SciPy's, which is right where a file is intact; and against hand-made files."""

import io
import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from msdn_lit.data.splits.matlab import read_matlab
from tests.miniature import cells

DTYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?")
TEXTS = [
    "",
    "a",
    "ab",
    "abc",
    "abcd",
    "abcde",
    "naïve",
    "日本語",
    "x" * 3000,
    "/disk/CUB/images/001.A/B_0.jpg",
]


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def write(tmp_path, request):
    def write(**content):
        savemat(tmp_path / "x.mat", content, do_compression=request.param)
        return tmp_path / "x.mat"

    return write


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 0), (2, 3, 4), (700, 1)])
def test_arrays(write, dtype, shape):
    values = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)
    path = write(first=1.0, x=values, last=np.zeros(3))
    (found,) = read_matlab(path, ["x", "absent"]).values()
    expected = loadmat(path)["x"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, values)


def test_texts(write):
    assert read_matlab(write(other=cells(["x"]), names=cells(TEXTS)), ["names"]) == {"names": TEXTS}


def test_only_what_is_wanted_is_read(write):
    path = write(code={"a": 1}, complex=1j, x=2.0, text="abc")
    assert read_matlab(path, ["x"]) == {"x": 2.0}
    for name in ("code", "complex", "text"):
        with pytest.raises(ValueError, match="is neither a real array nor cells of texts"):
            read_matlab(path, [name])


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_and_numbers_that_matlab_stores_as_smaller_ones(tmp_path, order):
    def element(kind, data):
        return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)

    def variable(kind, shape, name, *elements):
        head = (
            element(6, struct.pack(order + "II", kind, 0)),
            element(5, struct.pack(order + "2i", *shape)),
        )
        short_name = struct.pack(order + "I4s", len(name) << 16 | 1, name)
        return element(14, b"".join((*head, short_name, *elements)))

    doubles = variable(6, (2, 2), b"att", element(4, struct.pack(order + "4H", 1, 2, 3, 40_000)))
    utf16 = "日本".encode("utf-16-be" if order == ">" else "utf-16-le")
    text = variable(1, (1, 2), b"c", variable(4, (1, 2), b"", element(4, utf16)), element(14, b""))
    version = struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    (tmp_path / "x.mat").write_bytes(b"by hand".ljust(124) + version + doubles + text)
    found = read_matlab(tmp_path / "x.mat", ["att", "c"])
    assert found["c"] == ["日本", ""]
    assert (found["att"].dtype, found["att"].tolist()) == (np.float64, [[1, 3], [2, 40_000]])
    np.testing.assert_array_equal(
        found["att"], loadmat(tmp_path / "x.mat", variable_names=["att"])["att"]
    )


def test_every_cut_is_noticed(tmp_path):
    """Or the variable is not there at all."""
    file = io.BytesIO()
    savemat(file, {"x": np.arange(9.0), "y": 1.0}, do_compression=True)
    for length in range(len(file.getvalue())):
        (tmp_path / "x.mat").write_bytes(file.getvalue()[:length])
        try:
            found = read_matlab(tmp_path / "x.mat", ["x", "y"])
        except (ValueError, struct.error):
            continue
        assert found.keys() < {"x", "y"}
        assert all(value.size in (1, 9) for value in found.values())
