"""`msdn` and its commands: help, version, hints, lists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from msdn_lit import __main__ as msdn
from msdn_lit import __version__
from msdn_lit.commands import COMMANDS, GROUPS
from msdn_lit.commands.results import list_configs
from msdn_lit.files import config_dir

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def type_msdn(monkeypatch, capsys):
    """Types `msdn ...` in this process: (exit code, standard output, standard error)."""

    def call(*words):
        name = COMMANDS[words[0]].module_name if words and words[0] in COMMANDS else ""
        monkeypatch.delitem(sys.modules, name, raising=False)  # runs as __main__
        monkeypatch.setattr(sys, "argv", ["msdn", *words])
        try:
            msdn.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return call


def test_the_overview_has_every_command_in_its_group(type_msdn):
    code, out, _ = type_msdn()
    assert code == 0
    for name, command in COMMANDS.items():
        group = out.partition(f"{GROUPS[command.group]}:")[2].partition("\n\n")[0]
        assert f"  {name} " in group
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_a_sentence_two_examples_and_options(type_msdn, name):
    code, out, err = type_msdn(name, "--help")
    assert (code, err) == (0, "")
    usage, _, rest = out.partition("\n\n")
    sentence, _, rest = rest.partition("\n\nexamples:\n")
    examples, _, options = rest.partition("\n\n")
    assert usage.startswith(f"usage: msdn {name}")
    assert sentence.endswith(".")
    assert len(examples.splitlines()) >= 2
    assert all(line.startswith(f"  msdn {name}") for line in examples.splitlines())
    assert "options:" in options
    lines = [line for line in out.splitlines() if str(config_dir()) not in line]
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("words", [["--version"], ["train", "--version"], ["report", "--version"]])
def test_the_version_is_ours(type_msdn, words):
    assert type_msdn(*words)[:2] == (0, f"msdn-lit {__version__}\n")


def test_a_former_name_works_and_is_not_listed(type_msdn, monkeypatch):
    monkeypatch.delitem(sys.modules, COMMANDS["scores"].module_name, raising=False)
    assert type_msdn("rescore", "--help")[1].startswith("usage: msdn scores")
    assert "rescore" not in type_msdn()[1]


def test_a_typing_error_gets_a_hint(type_msdn):
    code, _, err = type_msdn("trian")
    assert (code, err) == (2, "msdn: There is no command 'trian'. Did you mean msdn train?\n")


def test_every_command_is_a_script():
    text = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2].partition("[")[0]
    scripts = dict(re.findall(r'^([\w-]+) = "(.*)"$', text, flags=re.MULTILINE))
    expected = {f"msdn-{name}": f"{c.module_name}:main" for name, c in COMMANDS.items()}
    assert scripts == {"msdn": "msdn_lit.__main__:main", **expected}


def test_python_m(tmp_path):
    command = [sys.executable, "-m", "msdn_lit", "list", "losses"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("losses (loss=NAME)")


@pytest.mark.parametrize("kind", ["datasets", "models", "features", "protocols", "losses"])
def test_lists_have_every_file_of_their_group(type_msdn, kind):
    _, out, _ = type_msdn("list", kind)
    folder = config_dir() / list_configs._GROUPS[kind]
    for path in folder.glob("[!_]*.yaml"):
        assert any(line.startswith(f"  {path.stem}  ") for line in out.splitlines()), path.stem


def test_experiments_state_published_and_own_scores(type_msdn):
    _, out, _ = type_msdn("list", "experiments")
    _, _, rest = out.partition("  cub_gzsl  ")
    entry = rest.partition("  demo  ")[0]
    assert "published: U 68.7, S 67.5, H 68.1" in entry
    assert "ours: H 40.7" in entry
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("path", sorted((config_dir() / "experiment").rglob("[!_]*.yaml")), ids=str)
def test_recipes_state_command_result_and_time(path):
    text, facts = list_configs.describe(path)
    assert text
    assert {"command", "ours", "time"} <= facts.keys()


def test_evaluate_explains_the_spelling_of_version_0_1(type_msdn, tmp_path):
    code, _, err = type_msdn("evaluate", f"run_dir={tmp_path}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"Name the folder alone: {tmp_path}" in err


def test_an_own_dataset_starts_from_a_template(type_msdn, tmp_path):
    folder = tmp_path / "mine"
    code, out, _ = type_msdn("init-dataset", str(folder))
    assert (code, "README.txt" in out) == (0, True)
    assert (folder / "README.txt").is_file()
    code, _, err = type_msdn("init-dataset", str(folder))
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.fault("processes")
def test_windows_is_refused_in_one_line():
    """Every way to start a command, on a Python that has no modules of POSIX."""
    code = """
import importlib, sys
from msdn_lit.commands import COMMANDS
modules = ["msdn_lit.__main__", *(command.module_name for command in COMMANDS.values())]
for name in [name for name in sys.modules if name.startswith("msdn_lit")]:
    del sys.modules[name]
sys.modules["resource"] = sys.modules["fcntl"] = None
sys.platform = "win32"
for module in modules:
    try:
        importlib.import_module(module)
    except SystemExit as stop:
        print(stop.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    number = len(COMMANDS) + 1
    assert done.stdout.split() == ["2"] * number
    line = "msdn: Windows is not supported. Use the Windows Subsystem for Linux (WSL).\n"
    assert done.stderr == line * number
