"""Standard output of the commands: it may be closed, full or narrow; the work is done anyway."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

import msdn_lit
from msdn_lit.analysis.output.tables import terminal
from msdn_lit.commands._output import _Outlet
from msdn_lit.commands.train import train
from msdn_lit.commands.use import predict
from tests.helpers import png, result_of

ROOT = Path(__file__).resolve().parents[1]
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
FULL = f"msdn list: Standard output cannot be written ({os.strerror(28)}).\n"
needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def python(arguments, shell='"$@"', **environment):
    """Runs Python in a shell that may redirect it: (exit code, standard output and error)."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}", "bash", sys.executable, *arguments],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment,
        timeout=120,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class TestOutlet:
    def test_the_reader_has_gone(self):
        reader, writer = os.pipe()
        outlet = _Outlet(writer, "wb")
        os.close(reader)
        with io.BufferedWriter(outlet) as stream:
            for _ in range(3):
                assert stream.write(b"text") == 4
                stream.flush()
            assert outlet.failure is None
            assert os.fstat(writer).st_rdev == os.stat(os.devnull).st_rdev

    def test_a_pipe_that_does_not_wait_is_waited_for(self):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        while True:
            try:
                os.write(writer, bytes(4096))
            except BlockingIOError:
                break
        with _Outlet(writer, "wb") as outlet, os.fdopen(reader, "rb", buffering=0) as source:
            source.read(8192)
            assert outlet.write(b"x" * 4096) == 4096

    @needs_full_device
    def test_a_full_device_is_remembered(self):
        with _Outlet("/dev/full", "wb") as outlet:
            assert outlet.write(b"text") == 4
            assert outlet.failure.strerror == os.strerror(28)


@pytest.mark.fault("processes")
@pytest.mark.parametrize(
    ("shell", "code", "err"),
    [
        ('"$@" | head -0', 0, ""),
        ('"$@" >&-', 0, ""),
        ('"$@" >&- 2>&-', 0, ""),
        pytest.param('"$@" >/dev/full', 2, FULL, marks=needs_full_device),
    ],
)
def test_a_command_that_only_prints(shell, code, err):
    module = "from msdn_lit.commands.results.list_configs import main; main()"
    assert python(["-c", module], shell) == (code, "", err)


@pytest.mark.fault("processes")
def test_the_ends_of_other_commands_are_in_the_same_place():
    for line, code in (("--help", 0), ("train --help", 0), ("nothing", 2)):
        assert python(["-m", "msdn_lit", *line.split()], '"$@" >&- 2>&-') == (code, "", "")


@pytest.fixture
def mini_train(mini_overrides, tmp_path):
    """Runs msdn train with its progress bar: (exit code, output, errors), result.json."""
    overrides = [o for o in mini_overrides if "progress" not in o]

    def run(shell, **environment):
        ended = python(["-m", "tests.mini_train", *overrides], shell, **environment)
        return ended, result_of(tmp_path / "run")

    return run


@pytest.mark.fault("processes")
def test_training_without_a_reader(mini_train):
    (code, _, err), result = mini_train('"$@" | head -0')
    assert (code, result["scores"]["last"]["step"]) == (0, 12)
    assert "Traceback" not in err
    assert "Logging error" not in err


@pytest.mark.fault("processes")
def test_training_on_a_terminal_of_ascii(mini_train):
    (code, out, err), result = mini_train('"$@"', **ASCII)
    assert (code, result["scores"]["last"]["step"]) == (0, 12)
    assert "Traceback" not in err
    assert out.isascii()
    assert "last step" in out


class TestNamesAreNoMarkup:
    NAMES = ("a[/]b", "[red]x[/red]", "[link=y]z", ":smile:", "[bold")

    @pytest.mark.fault("settings")
    def test_cells_and_titles(self, capsys, faults):
        for name in self.NAMES:
            table = Table(name, title=name)
            table.add_row(name)
            terminal().print(table, name)
            assert capsys.readouterr().out.count(name) == 4
        faults(len(self.NAMES))

    @pytest.mark.fault("settings")
    def test_a_run_folder(self, command, mini_overrides, tmp_path):
        others = [word for word in mini_overrides if not word.startswith("paths.run_dir")]
        code, out, _ = command(train, *others, "paths.run_dir='x/a[/]b'")
        assert (code, str(tmp_path / "x/a[/]b") in out) == (0, True)

    @pytest.mark.fault("settings")
    def test_classes_pictures_and_folders(self, command, tiny_run, tmp_path):
        (tmp_path / "[red]x.png").write_bytes(png())
        attribute = msdn_lit.load(tiny_run).attribute_names[0]
        text = f"'a[/]b': {{'{attribute}': 1}}\n"
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        words = [str(tiny_run), "[red]x.png", "--output", "o[/]p", "--classes", "mine.yaml"]
        code, out, err = command(predict, *words)
        assert (code, err) == (0, "")
        assert "a[/]b" in out
        assert "[red]x.png" in out
        assert "o[/]p" in out
