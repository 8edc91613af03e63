"""What a run was computed with: versions of the libraries, and of this code."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msdn_lit.files import PACKAGE

_LIBRARIES = (
    "msdn-lit",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "timm",
    "hydra-core",
    "numpy",
    "scipy",
)


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that can change a number."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES}


def code_version() -> str:
    """Returns the commit of the checkout, with "+changes" if files differ from it.

    Outside a checkout it is "installed".
    """
    root = PACKAGE.parents[1]
    if not (root / ".git").exists():
        return "installed"
    commit = _git(root, "rev-parse", "HEAD")
    has_changes = commit != "unknown" and bool(_git(root, "status", "--porcelain"))
    return f"{commit}+changes" if has_changes else commit


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
