"""Messages do not grow with the data."""

import numpy as np
import pytest

from msdn_lit.commands.use import predict
from msdn_lit.errors import DataError, UserError, some
from tests.helpers import png


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (list("abcde"), "a, b, c, d, e"),
        (list("abcdef"), "a, b, c, d, e and 1 more"),
        (range(10_000), "0, 1, 2, 3, 4 and 9,995 more"),
    ],
)
def test_some_names(names, text):
    assert some(names) == text


def test_a_long_value_is_cut():
    error = str(UserError("p" * 5000, expected="e" * 5000, found=list(range(5000)), action="Act."))
    assert len(error) < 3300
    assert error.endswith("more characters). Act.")
    assert str(DataError("short", found=[1, 2])) == "short: found [1, 2]."


@pytest.mark.fault("images")
def test_many_unreadable_images(command, tiny_run, tmp_path):
    for number in range(300):
        (tmp_path / f"{number:03}.png").write_bytes(b"no image")
    (tmp_path / "last.png").write_bytes(png())
    images = sorted(map(str, tmp_path.glob("*.png")))
    code, _, err = command(predict, str(tiny_run), *images, "--output", str(tmp_path / "out"))
    assert code == 2
    assert len(err.splitlines()) == 6
    assert "300 of 301 images could not be read; the others are predicted. All are listed" in err


@pytest.mark.fault("tables")
def test_many_equal_classes(command, tiny_run, tmp_path):
    from msdn_lit import load

    name = load(tiny_run).attribute_names[0]
    classes = "".join(f'class {number}: {{"{name}": 50}}\n' for number in range(1000))
    (tmp_path / "many.yaml").write_text(classes)
    (tmp_path / "a.png").write_bytes(png(np.zeros((64, 64, 3), dtype=np.uint8)))
    words = [str(tiny_run), str(tmp_path / "a.png"), "--classes", str(tmp_path / "many.yaml")]
    code, _, err = command(predict, *words, "--output", str(tmp_path / "out"))
    assert (code, err.count("\n")) == (0, 1)
    assert err.rstrip().endswith("class 0 and class 5 and 994 more.")
