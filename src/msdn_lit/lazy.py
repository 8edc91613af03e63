"""Public names of a package that are imported when they are first used.

PyTorch, Lightning and timm take seconds to import. A command that only prints its help, or a page
that is shown before its model is loaded, must not wait for them.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Makes a package's `__getattr__` (PEP 562).

    Args:
        package: Name of the package.
        modules: Public name -> full name of the module that defines it.

    Returns:
        A function that imports a public name, and raises AttributeError for any other.
    """

    def get(name: str) -> Any:  # noqa: ANN401 - any public object
        if name in modules:
            return getattr(import_module(modules[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
