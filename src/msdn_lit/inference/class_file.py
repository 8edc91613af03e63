"""Class files: a user's classes in YAML."""

from pathlib import Path
from typing import Any

import yaml

from msdn_lit.errors import ConfigError, one_line


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML without repeated keys, of which plain YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise ConfigError(f"{key!r} is given twice, line {line} and after")
        content: dict[Any, Any] = super().construct_mapping(node, deep)
        return content


def read_class_file(path: Path) -> dict[str, Any]:
    """Reads class: {attribute: value}, the form that `describe` takes.

    Raises:
        ConfigError: The file is missing, is not YAML, or gives a class or an attribute twice.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as a class file ({one_line(error)})") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        expected, found = "class: {attribute: value}", type(content).__name__
        raise ConfigError(f"{path} is not a class file", expected=expected, found=found)
    return content
