"""docs/trust.md names a test for every promise, and every test that it names exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?!Promise|---)(?P<promise>.+) \| (?P<tests>.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(test_\w+)(?:::(\w+))?`")


def defined(module):
    """Names of the tests and classes of tests in a module."""
    tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_promise_has_a_test():
    rows = list(ROW.finditer(PAGE))
    assert len(rows) > 20
    for row in rows:
        named = TEST.findall(row["tests"])
        assert named, f"no test is named for: {row['promise']}"
        for module, name in named:
            assert not name or name in defined(module), f"{module}::{name} does not exist"
