"""Class files: a user's classes in YAML."""

from pathlib import Path
from typing import Any

import yaml

from msdn_lit.errors import READ_ERRORS, ConfigError, one_line
from msdn_lit.texts import check_yaml, read_text


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
        text = read_text(path)
    except READ_ERRORS as error:
        raise ConfigError(f"{path} cannot be read as a class file ({one_line(error)})") from error
    return parse_class_file(text, str(path))


def parse_class_file(text: str, name: str) -> dict[str, Any]:
    """Reads the text of a class file.

    Args:
        text: YAML.
        name: Name of the file, for messages.

    Raises:
        ConfigError: It is not YAML, or gives a class or an attribute twice.
    """
    try:
        check_yaml(text, aliases=False)
        content = yaml.load(text, _Loader)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    except (*READ_ERRORS, yaml.YAMLError) as error:
        raise ConfigError(f"{name} cannot be read as a class file ({one_line(error)})") from error
    if not isinstance(content, dict):
        expected, found = "class: {attribute: value}", type(content).__name__
        raise ConfigError(f"{name} is not a class file", expected=expected, found=found)
    return content
