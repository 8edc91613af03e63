"""Texts without the folders of the machine they were made on."""

import re
from collections.abc import Mapping

_PLACEHOLDERS = {
    "run_dir": "LOGS/RUN",
    "feature_dir": "FEATURES",
    "data_dir": "DATA",
    "log_dir": "LOGS",
}
_ABSOLUTE = re.compile(r"(?<![\w.}/:])/[\w.+@~-]+(?:/[\w.+@~-]+)*")


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
