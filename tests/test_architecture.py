"""The shape of the code: which package may import which, and how long things may be."""

import ast
import re
from pathlib import Path

import pytest

import msdn_lit

PACKAGE = Path(msdn_lit.__file__).parent
EVERYWHERE = {
    "dtypes",
    "errors",
    "files",
    "lazy",
    "progress",
    "texts",
    "__version__",
}  # everything may import these
LEAVES = {"data", "models", "losses", "metrics"}
# Package -> packages that it may import besides itself; imports go down.
MAY_IMPORT = {leaf: set() for leaf in LEAVES}
MAY_IMPORT["runs"] = MAY_IMPORT["tasks"] = LEAVES
MAY_IMPORT["analysis"] = MAY_IMPORT["inference"] = {"runs", *LEAVES}
MAY_IMPORT["attention"] = {"analysis", "runs", "tasks", *LEAVES}
MAY_IMPORT["callbacks"] = {"attention", "inference", *MAY_IMPORT["attention"]}
MAY_IMPORT["training"] = MAY_IMPORT["sweeps"] = {"callbacks", *MAY_IMPORT["callbacks"]}
MAY_IMPORT["build"] = {"training", "sweeps", *MAY_IMPORT["training"]}
MAY_IMPORT["commands"] = {"build", *MAY_IMPORT["build"]}
CONFIG_LIBRARIES = {"hydra", "omegaconf"}
MAY_IMPORT_CONFIG_LIBRARIES = {"build", "commands", "sweeps"}
MAY_IMPORT_LIGHTNING = {"tasks", "callbacks", "training", "sweeps", "build", "commands"}
LIGHTNING = {"lightning", "pytorch_lightning"}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 50
MAX_MODULES_AT_THE_TOP, MAX_FILES_IN_A_FOLDER = 6, 12


def sources(root):
    """Parsed files by the parts of their module's name, e.g. ("data", "splits", "xlsa17")."""
    return {
        path.relative_to(root).with_suffix("").parts: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.py"))
        if "conf" not in path.relative_to(root).parts
    }


def imported(tree, module):
    """Dotted names of all imports of a file, inside functions and under TYPE_CHECKING too."""
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
        return {module[0]} | MAY_IMPORT.get(module[0], set())
    if module[0] == "__init__":  # the public names
        return {"build", "tasks", *LEAVES}
    return {"commands"} if module[0] == "__main__" else set()


def wrong_imports(root):
    for module, tree in sources(root).items():
        package = module[0] if len(module) > 1 else ""
        has_lightning = package in MAY_IMPORT_LIGHTNING or module == ("data", "datamodule")
        for name in imported(tree, module):
            top, _, rest = name.partition(".")
            ours = rest.split(".")[0]
            is_up = top == "msdn_lit" and ours not in {"", *EVERYWHERE} | may_import(module)
            is_config = top in CONFIG_LIBRARIES and package not in MAY_IMPORT_CONFIG_LIBRARIES
            if is_up or is_config or (top in LIGHTNING and not has_lightning):
                yield module, name


def mentions_of_instantiate(root):
    for module, tree in sources(root).items():
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        uses_utils = any(name.startswith("hydra.utils") for name in imported(tree, module))
        if uses_utils or "instantiate" in names:
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
    packages = {path.name for path in PACKAGE.iterdir() if any(path.rglob("*.py"))} - {"conf"}
    assert packages == set(MAY_IMPORT)


def test_imports_go_down():
    assert list(wrong_imports(PACKAGE)) == []


def test_nothing_imports_a_command():
    commands = (PACKAGE / "commands").glob("*/*.py")
    names = {f"msdn_lit.commands.{path.parent.name}.{path.stem}" for path in commands}
    for module, tree in sources(PACKAGE).items():
        assert not names & set(imported(tree, module)), module


def test_only_build_instantiates():
    assert list(mentions_of_instantiate(PACKAGE)) == [("build", "instantiate")]


def test_files_and_functions_are_short():
    assert list(too_long(PACKAGE)) == []


def test_folders_are_small():
    top = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
    assert len(top) <= MAX_MODULES_AT_THE_TOP, top
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        assert len(list(folder.glob("*.py"))) <= MAX_FILES_IN_A_FOLDER, folder


def test_no_code_asks_for_the_class_of_a_net():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"isinstance\(.*MSDN", path.read_text(encoding="utf-8")), path


def test_no_test_module_imports_another():
    for path in Path(__file__).parent.rglob("*.py"):
        for name in imported(ast.parse(path.read_text(encoding="utf-8")), ("tests",)):
            assert not re.search(r"^tests\.(\w+\.)*test_\w+", name), f"{path.name}: {name}"


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
        ("data/images", "from msdn_lit.runs.environment import versions"),
        ("runs/record", "from msdn_lit.analysis.output.tables import result_table"),
        ("runs/record", "from msdn_lit import build"),
        ("runs/config", "from omegaconf import OmegaConf"),
        ("tasks/zsl", "from msdn_lit.callbacks import EvaluationHistory"),
        ("tasks/zsl", "from hydra.utils import instantiate"),
        ("analysis/groups", "from msdn_lit.attention.tables import attention_tables"),
        ("analysis/tables", "import lightning.pytorch"),
        ("attention/maps", "from msdn_lit.callbacks import Figures"),
        ("callbacks/history", "from msdn_lit import build"),
        ("callbacks/history", "from omegaconf import DictConfig"),
        ("training/fit", "from msdn_lit.build.training import training"),
        ("training/fit", "from msdn_lit.sweeps.trials import Trial"),
        ("sweeps/trials", "from msdn_lit.build.training import training"),
        ("build/training", "from msdn_lit.commands._hydra import command"),
        ("errors", "from msdn_lit.data import ZSLDataModule"),
        ("errors", "from omegaconf import OmegaConf"),
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
        ("models/msdn", "from msdn_lit.models.attention import over_regions"),
        ("models/msdn", "from .attention import bilinear_maps"),
        ("models/backbones/backbone", "import timm\nfrom msdn_lit.errors import DataError"),
        ("data/datamodule", "import lightning\nfrom msdn_lit import errors"),
        ("tasks/zsl", "import lightning\nfrom msdn_lit.losses import MSDNLoss"),
        ("tasks/zsl", "from msdn_lit.models import SubNetOutput"),
        ("runs/record", "from msdn_lit.data import ZSLDataModule"),
        ("runs/record", "from msdn_lit.files import write_atomically"),
        ("callbacks/figures", "from msdn_lit.attention.maps import attention_rows"),
        ("training/fit", "import lightning\nfrom msdn_lit.callbacks import EvaluationHistory"),
        ("sweeps/pruning", "from msdn_lit.callbacks import EvaluationHistory"),
        ("build/training", "from omegaconf import DictConfig"),
        ("build/training", "from msdn_lit.training.fit import fit"),
        ("commands/train/train", "from msdn_lit.build.training import training"),
        ("__main__", "from msdn_lit.commands import COMMANDS"),
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
    root = write_module("runs/record", text)
    assert list(mentions_of_instantiate(root)) == [("runs", "record")]


def test_long_files_and_functions_are_found(write_module):
    function = "def long():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
    root = write_module("data/one", function)
    inside = "    async " + function.replace("\n", "\n    ").rstrip() + "\n"
    write_module("data/two", "class A:\n" + inside)
    write_module("data/three", "x = 1\n" * (MAX_FILE_LINES + 1))
    short = "def short():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    write_module("data/fine", short + "x = 1\n" * 250)
    assert list(too_long(root)) == ["three.py", "data.one.long", "data.two.long"]
