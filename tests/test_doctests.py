"""The examples in docstrings are run. A module without examples is fine."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import msdn_lit.losses
import msdn_lit.metrics
import msdn_lit.models
from msdn_lit.metrics import functional, zsl

PACKAGES = (msdn_lit.losses, msdn_lit.metrics, msdn_lit.models)
MODULES = [
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_every_public_function_of_the_metrics_has_an_example():
    defined = vars(functional).values()
    public = {
        f"{functional.__name__}.{item.__name__}"
        for item in defined
        if inspect.isfunction(item) and not item.__name__.startswith("_")
    }
    tests = [*doctest.DocTestFinder().find(functional), *doctest.DocTestFinder().find(zsl)]
    with_examples = {test.name for test in tests if test.examples}
    assert len(public) == 6
    assert public | {f"{zsl.__name__}.ZSLMetric"} <= with_examples
