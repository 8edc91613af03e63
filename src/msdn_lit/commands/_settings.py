"""The settings of conf/ for the completion of a command line, read without Hydra."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from msdn_lit.files import config_dir

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_SHOWN = ("hydra", "paths")  # groups with one file, or with files for other parts of Hydra
_GLOBAL = "@package _global_"


def groups() -> list[str]:
    """Returns the config groups."""
    found = sorted(path.name for path in config_dir().iterdir() if path.is_dir())
    return [name for name in found if name not in _NOT_SHOWN]


def choices(group: str) -> list[str]:
    """Returns the files of a group, with those in its folders."""
    folder = config_dir() / group
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("[!_]*.yaml"))]
    return [path.with_suffix("").as_posix() for path in paths]


def settings(words: Sequence[str]) -> dict[str, Any]:
    """Returns the settings by dotted key, with those of the files that words choose.

    Args:
        words: Words of a command line; `GROUP=NAME` chooses a file.
    """
    typed = dict(word.split("=", 1) for word in words if "=" in word)
    train = _content(config_dir() / "train.yaml")
    found = dict(_flat(train, ""))
    chosen = {
        group: typed.get(group, name)
        for entry in train["defaults"]
        if isinstance(entry, dict)
        for group, name in entry.items()
        if isinstance(name, str) and group.isidentifier()
    }
    for group, names in (chosen | typed).items():
        for name in str(names).strip("[]").split(","):
            found |= _of_file(config_dir() / group / f"{name.strip()}.yaml", group)
    return found


def _of_file(path: Path, prefix: str) -> dict[str, Any]:
    """Returns the settings of a file and of the files that it names as its defaults."""
    if not path.is_file():
        return {}
    content = _content(path)
    found: dict[str, Any] = {}
    for entry in content.get("defaults", []):
        if isinstance(entry, str):
            found |= _of_file(path.parent / f"{entry.partition('@')[0]}.yaml", prefix)
    is_global = _GLOBAL in path.read_text(encoding="utf-8").partition("\n")[0]
    return found | dict(_flat(content, "" if is_global else f"{prefix}."))


def _content(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), _LOADER) or {}


def _flat(node: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields the values of a mapping by dotted key, without `defaults` and Hydra's own keys."""
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{name}.")
        elif key != "defaults" and not str(key).startswith("_") and not name.startswith("hydra."):
            yield name, value
