"""Classes that a user has typed, in YAML."""

from pathlib import Path
from typing import Any

import yaml

from msdn_lit.errors import ConfigError, one_line


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML in which nothing is given twice; plain YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(
                    f"{key!r} is given twice, line {node.start_mark.line + 1} and after"
                )
        content: dict[Any, Any] = super().construct_mapping(node, deep)
        return content


def read_class_file(path: Path) -> dict[str, Any]:
    """Reads class: {attribute: value}, as `describe` takes it.

    Raises:
        ConfigError: The file is missing, no YAML, or gives a class or an attribute twice.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as a class file ({one_line(error)})") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} is no class file",
            expected="class: {attribute: value}",
            found=type(content).__name__,
        )
    return content
