"""The shape of the code: who may import whom, and how long things may be."""

import ast
from pathlib import Path

import pytest

import msdn_lit

PACKAGE = Path(msdn_lit.__file__).parent
LEAVES = {"data", "models", "losses", "metrics"}
PLUMBING = {
    "cli",
    "overrides",
    "checkpoint",
    "fitting",
    "record",
    "trials",
    "tracking",
    "loggers",
    "selection",
}
# package -> packages of ours that it may import besides itself; everything may import errors and machine
MAY_IMPORT = {
    **{leaf: set() for leaf in LEAVES},
    "tasks": {"losses", "metrics"},
    "callbacks": {
        "losses",
        "metrics",
        "models",
        "tasks",
        "analysis",
        "data",
    },  # figures of a task on its data
    "analysis": {"losses", "metrics"},
    "inference": {"data", "models"},
    "performance": {"data", "losses", "metrics", "models", "tasks"},
}
EVERYTHING_BELOW = set(MAY_IMPORT)
CONFIG_LIBRARIES = {"hydra", "omegaconf"}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 50


def sources(root):
    """Parsed files by the parts of their module's name, e.g. ("data", "xlsa17")."""
    return {
        path.relative_to(root).with_suffix("").parts: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.py"))
        if "conf" not in path.relative_to(root).parts
    }


def imported(tree, module):
    """Dotted names of all that a file imports, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = ["msdn_lit", *module[:-1]]
            origin = [*inside[: len(inside) - node.level + 1]] if node.level else []
            origin += node.module.split(".") if node.module else []
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def may_import(module):
    """What a module may import of ours: names directly below msdn_lit."""
    if len(module) > 1:
        return MAY_IMPORT.get(module[0], set()) | {module[0]}
    if module[0] == "errors":
        return set()
    if module[0] == "__init__":
        return {"loading"}
    if module[0] in PLUMBING:
        return EVERYTHING_BELOW | PLUMBING
    if module[0] == "instantiation":
        return set()
    if module[0] in ("build", "build_predictor"):
        return EVERYTHING_BELOW | {"instantiation", "build"}
    return (
        EVERYTHING_BELOW | PLUMBING | {"build", "build_predictor", "loading", "parallel"}
    )  # entry points


def may_import_lightning(module):
    return (
        len(module) == 1
        or module[0] in ("tasks", "callbacks", "performance")
        or module == ("data", "datamodule")
    )


def wrong_imports(root):
    for module, tree in sources(root).items():
        for name in imported(tree, module):
            top, _, rest = name.partition(".")
            ours = rest.split(".")[0]
            if top == "msdn_lit" and ours not in {
                "",
                "errors",
                "machine",
                "__version__",
            } | may_import(module):
                yield module, name
            if top in CONFIG_LIBRARIES and (len(module) > 1 or module[0] == "errors"):
                yield module, name
            if top in ("lightning", "pytorch_lightning") and not may_import_lightning(module):
                yield module, name


def mentions_of_instantiate(root):
    for module, tree in sources(root).items():
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if (
            any(name.startswith("hydra.utils") for name in imported(tree, module))
            or "instantiate" in names
        ):
            yield module


def too_long(root):
    for path in sorted(root.rglob("*.py")):
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_FILE_LINES:
            yield path.name
    for module, tree in sources(root).items():
        for node in ast.walk(tree):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES:
                yield f"{'.'.join(module)}.{node.name}"


@pytest.fixture
def write_module(tmp_path):
    def write(name, text):
        path = tmp_path / "msdn_lit" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path / "msdn_lit"

    return write


def test_every_package_has_its_place():
    packages = {
        path.name for path in PACKAGE.iterdir() if any(path.rglob("*.py")) and path.name != "conf"
    }
    assert packages == set(MAY_IMPORT)


def test_imports_go_down():
    assert list(wrong_imports(PACKAGE)) == []


def test_only_build_instantiates():
    assert list(mentions_of_instantiate(PACKAGE)) == [("instantiation",)]


def test_files_and_functions_are_short():
    assert list(too_long(PACKAGE)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models/msdn", "from msdn_lit.data.semantics import Semantics"),
        ("models/msdn", "from msdn_lit import data"),
        ("models/msdn", "from ..data import semantics"),
        ("models/msdn", "import msdn_lit.losses.functional"),
        ("losses/msdn", "def f():\n    from msdn_lit.metrics import functional"),
        ("metrics/zsl", "from omegaconf import DictConfig"),
        ("data/images", "import hydra"),
        ("data/images", "from lightning import Trainer"),
        ("data/images", "from msdn_lit.runs.record import versions"),
        ("tasks/zsl", "from msdn_lit.models import MSDN"),
        ("tasks/zsl", "from hydra.utils import instantiate"),
        ("callbacks/history", "from msdn_lit import build"),
        ("analysis/tables", "import lightning.pytorch"),
        ("build", "from msdn_lit.commands._hydra import command"),
        ("record", "from msdn_lit import build"),
        ("cli", "from msdn_lit.commands.train.train import run"),
        ("errors", "from msdn_lit.data import xlsa17"),
        ("train", "from msdn_lit.commands.train.evaluate import run"),
        ("newcomer/thing", "from msdn_lit.models import MSDN"),
    ],
)
def test_a_wrong_import_is_found(write_module, name, text):
    assert [module for module, _ in wrong_imports(write_module(name, text))] == [
        tuple(name.split("/"))
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "models/msdn",
            "from msdn_lit.models.attention import over_regions\nfrom .attention import bilinear_maps",
        ),
        ("models/backbone", "import timm\nfrom msdn_lit.errors import DataError"),
        ("data/datamodule", "import lightning\nfrom msdn_lit import errors"),
        (
            "tasks/zsl",
            "import lightning\nfrom msdn_lit.losses import MSDNLoss\nfrom msdn_lit.metrics import ZSLMetric",
        ),
        (
            "record",
            "from omegaconf import OmegaConf\nfrom msdn_lit.analysis.output.tables import result_table",
        ),
        (
            "train",
            "import lightning\nfrom msdn_lit import build, record\nfrom msdn_lit.commands._hydra import command",
        ),
    ],
)
def test_a_right_import_passes(write_module, name, text):
    assert list(wrong_imports(write_module(name, text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "from hydra.utils import instantiate",
        "import hydra.utils as u",
        "from hydra import utils\nutils.instantiate({})",
        "import hydra\nhydra.utils.instantiate({})",
    ],
)
def test_an_instantiate_elsewhere_is_found(write_module, text):
    assert list(mentions_of_instantiate(write_module("record", text))) == [("record",)]


def test_long_files_and_functions_are_found(write_module):
    function = "def long():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
    root = write_module("data/one", function)
    write_module(
        "data/two", "class A:\n" + "    async " + function.replace("\n", "\n    ").rstrip() + "\n"
    )
    write_module("data/three", "x = 1\n" * (MAX_FILE_LINES + 1))
    write_module(
        "data/fine", "def short():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1) + "x = 1\n" * 250
    )
    assert list(too_long(root)) == ["three.py", "data.one.long", "data.two.long"]
