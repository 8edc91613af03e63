"""Source files of a user's own code, found by the name of a class without importing anything."""

import sysconfig
from importlib.util import find_spec
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()


def source_files(target: str) -> list[Path]:
    """Returns the files of the module that a `_target_` names.

    `mine.nets.Net` gives `mine/nets.py`. `mine.Net` gives `mine.py`, or all modules of the package
    `mine`, since the package may import the class from any of them. Nothing is imported: a user's
    module imports PyTorch, which takes seconds.

    Returns:
        No files for a module that is not found, built in, or installed with pip. Versions of
        installed packages are in result.json.
    """
    path = _find_module(target.split("."))
    if path is None or _is_installed(path):
        return []
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _find_module(names: list[str]) -> Path | None:
    """Returns the file of a module or the folder of a package; the last name is the class."""
    top, *inside = names[:-1] or [""]
    path = _find_top(top)
    for name in inside:
        if path is None or not path.is_dir():
            return path
        if (path / f"{name}.py").is_file():
            return path / f"{name}.py"
        if not (path / name).is_dir():
            return path
        path = path / name
    return path


def _find_top(name: str) -> Path | None:
    """Returns the file or folder of a top-level module, for which Python imports nothing."""
    try:
        spec = find_spec(name)
    except ValueError:  # an empty name, or a module without a spec, such as __main__
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.has_location and spec.origin else None


def _is_installed(path: Path) -> bool:
    return not _INSTALLED.isdisjoint(path.parts) or path.is_relative_to(_STANDARD_LIBRARY)
