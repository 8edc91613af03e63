"""The settings that `msdn select` chose, compared with the config of the run that uses them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msdn_lit.errors import READ_ERRORS, ConfigError, LeakError, one_line


def read_selection(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a selection file and compares it with a run's config.

    Args:
        path: File that `msdn select` wrote.
        config: Resolved config of the run.

    Returns:
        Content of the file.

    Raises:
        ConfigError: The file is missing or damaged.
        LeakError: The settings were chosen on another benchmark, or one is not the chosen one.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        settings = dict(content["settings"])
    except READ_ERRORS as error:
        problem = f"{path} is no record of msdn select ({one_line(error)})"
        raise ConfigError(problem, action="Write it again.") from error
    benchmark = _lookup(config, "data.benchmark")
    if content.get("benchmark", benchmark) != benchmark:
        problem = f"{path} was chosen on another benchmark"
        raise LeakError(problem, expected=content["benchmark"], found=benchmark)
    for key, chosen in settings.items():
        found = _lookup(config, key)
        if found != chosen:
            problem = f"{key} is not what {path} chose"
            action = "Use the overrides that msdn select printed."
            raise LeakError(problem, expected=chosen, found=found, action=action)
    return content


def _lookup(config: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - any setting
    """Returns the value of a dotted key; None if there is none."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
