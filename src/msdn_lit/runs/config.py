"""The config of a run folder, read as data: the only place that reads a folder's config.

Also removes the folders of a machine from texts about a run.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.runs.layout import CONFIG
from msdn_lit.runs.version_0_1 import translate_config
from msdn_lit.texts import check_yaml, read_text

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NEEDED = ("paths", "data", "model", "prediction")
_PLACEHOLDERS = {
    "run_dir": "LOGS/RUN",
    "feature_dir": "FEATURES",
    "data_dir": "DATA",
    "log_dir": "LOGS",
}
_ABSOLUTE = re.compile(r"(?<![\w.}/:])/[\w.+@~-]+(?:/[\w.+@~-]+)*")


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the config of a run folder; names of version 0.1 are translated.

    Returns:
        Plain mappings, lists and values. References such as `${paths.data_dir}` are kept as text.

    Raises:
        CheckpointError: The folder has no config, or a damaged one.
    """
    path = folder / CONFIG
    try:
        text = read_text(path)
        check_yaml(text, aliases=False)
        config = yaml.load(text, _LOADER)
    except FileNotFoundError:
        problem = f"{folder} is no run folder: {CONFIG} is missing"
        raise CheckpointError(problem, action="Name a folder that msdn train wrote.") from None
    except (*READ_ERRORS, yaml.YAMLError) as error:
        problem = f"{path} is damaged ({one_line(error)})"
        raise CheckpointError(problem, action="Train again.") from error
    if not isinstance(config, dict) or not all(
        isinstance(config.get(name), dict) for name in _NEEDED
    ):
        expected = "a config of msdn train"
        raise CheckpointError(f"{path} is damaged", expected=expected, action="Train again.")
    translated = translate_config(config)
    if str(translated.get("sweep_name")).startswith("${now:"):  # as written until 0.2
        translated["sweep_name"] = None
    return translated


def without_paths(text: str, paths: object) -> str:
    """Replaces known folders by DATA, FEATURES and LOGS, and other absolute paths by PATH/name.

    Args:
        text: Text of any kind.
        paths: The `paths` of a config; anything but a mapping is ignored.
    """
    known = paths if isinstance(paths, Mapping) else {}
    words = {known.get(name): word for name, word in _PLACEHOLDERS.items()}
    folders = [path for path in words if isinstance(path, str) and path.startswith("/")]
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder, words[folder])
    return _ABSOLUTE.sub(lambda match: f"PATH/{match[0].rpartition('/')[2]}", text)
