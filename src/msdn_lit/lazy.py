"""Imports that are delayed, or made without what they do not need.

PyTorch, Lightning and timm take seconds to import. A command that only prints its help, or a page
that is shown before its model is loaded, must not wait for them.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from types import ModuleType
from typing import Any

_DYNAMO_UTILS = "torch._dynamo.utils"


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


def import_without_extras(name: str) -> ModuleType:
    """Imports timm or torchvision without wandb and torch.compile, in half of the time.

    timm imports wandb for its table of training results, which is not used here. torchvision's
    roi_align and timm's NaFlexViT import `torch._dynamo`, the compiler of `torch.compile`, for two
    small functions. They get stand-ins that import the compiler when they are called, so nothing
    else changes, and `import wandb` and `torch.compile` work afterwards. What has been imported
    before is left as it is.

    Args:
        name: Full name of a module of timm or torchvision.
    """
    with _without_wandb(), _without_compiler():
        return import_module(name)


@contextmanager
def _without_wandb() -> Iterator[None]:
    """Makes `import wandb` raise ImportError, which timm expects."""
    if "wandb" in sys.modules:
        yield
        return
    sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["wandb"]


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Puts the stand-ins in the place of two functions of PyTorch's compiler."""
    import torch

    if "torch._dynamo" in sys.modules:
        yield
        return
    disable = torch.compiler.disable
    torch.compiler.disable = partial(_disable_when_called, disable)
    sys.modules[_DYNAMO_UTILS] = stand_in = _DynamoUtils(_DYNAMO_UTILS)
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_DYNAMO_UTILS) is stand_in:
            del sys.modules[_DYNAMO_UTILS]


class _DynamoUtils(ModuleType):
    """Stand-in of `torch._dynamo.utils`."""

    @staticmethod
    def is_compile_supported(device_type: Any) -> Any:  # noqa: ANN401 - as PyTorch's
        """Asks PyTorch's function of this name."""
        return import_module(_DYNAMO_UTILS).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any object
        """Gives way to the module, which another version of torchvision may need after all."""
        if name.startswith("__"):  # questions of Python's import
            raise AttributeError(name)
        if sys.modules.get(_DYNAMO_UTILS) is self:
            del sys.modules[_DYNAMO_UTILS]
        return getattr(import_module(_DYNAMO_UTILS), name)


def _disable_when_called(
    disable: Callable[..., Any],
    function: Callable[..., Any] | None = None,
    *args: Any,  # noqa: ANN401 - those of torch.compiler.disable
    **named: Any,  # noqa: ANN401
) -> Callable[..., Any]:
    """Stand-in of `torch.compiler.disable`, which decorates a function when it is called."""
    if function is None:
        return partial(_disable_when_called, disable, **named)

    @wraps(function)
    def disabled(*inputs: Any, **options: Any) -> Any:  # noqa: ANN401 - those of the function
        return disable(function, *args, **named)(*inputs, **options)

    return disabled
