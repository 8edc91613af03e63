"""The words of a command line of Hydra, in any order: options, overrides, folders of configs."""

import argparse
import json
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from msdn_lit.errors import ConfigError
from msdn_lit.files import config_dir
from msdn_lit.runs.layout import CONFIG

SEARCH_PATH = "hydra.searchpath"
_MODES = ("run", "multirun", "cfg", "info", "shell_completion")
_NOT_OURS = ("config_path", "config_name", "experimental_rerun")
_PACKAGE = "pkg://"


class Words(NamedTuple):
    """The words of a command line.

    Attributes:
        options: Options, without those that name folders of configs.
        overrides: Overrides as they were typed, without `hydra.searchpath`.
        search_path: Folders of the user's own configs as Hydra reads them: `file://` and an
            absolute path, or `pkg://` and a package.
        completes: Hydra is asked for its shell completion.
        foreign: Options that do not exist, each with its value, or with None.
    """

    options: list[str]
    overrides: list[str]
    search_path: list[str]
    completes: bool
    foreign: list[tuple[str, str | None]]

    @property
    def folders(self) -> list[Path]:
        """The folders of the user's own configs."""
        return [_folder(entry) for entry in self.search_path]

    @property
    def is_multirun(self) -> bool:
        """Whether the command is a sweep."""
        return "--multirun" in self.options or any("hydra.mode=" in w for w in self.overrides)

    @property
    def search_path_override(self) -> list[str]:
        """The folders of the user's own configs as an override; none if there are none."""
        return [f"{SEARCH_PATH}={quoted(self.search_path)}"] if self.search_path else []

    @property
    def for_hydra(self) -> list[str]:
        """All words, in the order that Hydra accepts: it refuses options between overrides."""
        return [*self.options, *self.search_path_override, *self.overrides]


def read_words(program: str, words: Sequence[str]) -> Words:
    """Reads the words of a command line.

    Args:
        program: Name of the command, for messages.
        words: Words; options may be at any place.

    Raises:
        ConfigError: An option has no value, options exclude each other, or a folder of configs
            does not exist.
    """
    options, foreign = _parse(program, words)
    overrides = options.pop("overrides")
    own = options.pop("config_dir")
    search_path = [] if own is None else [_absolute(own)]
    kept = []
    for word in overrides:
        if word.startswith(f"{SEARCH_PATH}="):
            search_path += [_absolute(entry) for entry in _search_path(parse_override(word))]
        else:
            kept.append(word)
    completes = options["shell_completion"]
    return Words(_typed(options), kept, search_path, completes, _with_values(foreign, words))


def parse_override(word: str) -> Override:
    """Parses an override.

    Raises:
        ConfigError: It is not one; the message shows how to quote the value.
    """
    override = _parsed(word)
    if override is None:
        raise ConfigError(f"{word!r} is not an override", action=_instead_of(word))
    return override


def typed(key: str, value: object) -> str:
    """Returns an override as a word for the shell, with quotation marks where they are needed."""
    plain = f"{key}={value}"
    parsed = _parsed(plain) if isinstance(value, str) else None
    is_safe = parsed is not None and parsed.value() == value
    return shlex.quote(plain if is_safe else f"{key}={quoted(value)}")


def quoted(value: object) -> str:
    """Returns a value as that of an override, with quotation marks around texts."""
    return json.dumps(value, ensure_ascii=False)


def _parsed(word: str) -> Override | None:
    """Returns an override; None if Hydra's grammar does not accept the word."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return None
    return override if override.key_or_group else None


def _instead_of(word: str) -> str:
    """Returns how to write an override that Hydra's grammar does not accept."""
    if word == "help":
        return "Type msdn train --help."
    if (Path(word).expanduser() / CONFIG).is_file():
        return f"To continue that run, type {typed('paths.run_dir', word)} ckpt_path=last."
    key, colon, value = word.partition(":")
    if colon and _parsed(f"{key}={value}"):
        return f"Type {key}={value}."
    group = _group_with(word)
    return f"Type {group}={word.lower()}." if group else _quoting_hint(word)


def _group_with(name: str) -> str:
    """Returns the config group that has a file of a name; "" for none."""
    for group in ("experiment", "data", "model", "protocol", "features", "trainer"):
        if (config_dir() / group / f"{name.lower()}.yaml").is_file():
            return group
    return ""


def _quoting_hint(word: str) -> str:
    """Returns how to quote the value of an override."""
    key, equals, value = word.partition("=")
    is_list = value.startswith("[") and value.endswith("]")
    content = [item.strip() for item in value[1:-1].split(",")] if is_list else value
    repaired = f"{key}={quoted(content)}"
    if equals and _parsed(repaired):
        return f"Quote the value: {shlex.quote(repaired)}"
    return "Write KEY=VALUE, +KEY=VALUE or ~KEY."


def _parse(program: str, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Parses the words with Hydra's parser; options may be between overrides.

    Returns:
        The options by name, and the words of options that do not exist.
    """
    help_of = f"See {program} --help."

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(message, action=help_of)

    parser = get_args_parser()
    parser.__class__ = Parser
    parser.allow_abbrev = False  # --config is a habit, and not --config-dir
    found, foreign = parser.parse_known_intermixed_args(list(words))
    options = vars(found)
    for name in _NOT_OURS:
        if options.pop(name) is not None:
            problem = f"--{name.replace('_', '-')} is not supported"
            raise ConfigError(problem, action="Use --config-dir DIR for configs of your own.")
    chosen = [f"--{name.replace('_', '-')}" for name in _MODES if options[name]]
    if len(chosen) > 1:
        raise ConfigError(f"{chosen[0]} and {chosen[1]} exclude each other", action=help_of)
    if options["resolve"] and not options["cfg"]:
        raise ConfigError("--resolve belongs to --cfg", action="Add --cfg job.")
    return options, foreign


def _with_values(foreign: Sequence[str], words: Sequence[str]) -> list[tuple[str, str | None]]:
    """Returns options that do not exist, each with its value: after = or the next word."""
    found: list[tuple[str, str | None]] = []
    for option in foreign:
        name, equals, value = option.partition("=")
        after = [*words, "-"][list(words).index(option) + 1]
        is_value = not after.startswith("-") and "=" not in after
        found.append((name, value if equals else after if is_value else None))
    return found


def _typed(options: dict[str, Any]) -> list[str]:
    """Returns the options as words."""
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value:
            words.append(f"{option}={value}")
    return words


def _search_path(override: Override) -> list[str]:
    """Returns the entries of `hydra.searchpath=...`."""
    value = override.value()
    if not isinstance(value, list):
        expected = "a list, such as hydra.searchpath=[DIR]"
        raise ConfigError(f"{SEARCH_PATH} is wrong", expected=expected, found=str(value))
    return [str(entry) for entry in value]


def _absolute(entry: str) -> str:
    """Returns an entry of the search path as Hydra reads it.

    Raises:
        ConfigError: There is no such folder.
    """
    found = entry
    if not entry.startswith(_PACKAGE):
        found = f"file://{Path(entry.removeprefix('file://')).expanduser().resolve()}"
    if not _folder(found).is_dir():
        place = found.removeprefix("file://")
        raise ConfigError(f"There is no config folder {place}", action="Correct --config-dir.")
    return found


def _folder(entry: str) -> Path:
    """Returns the folder of an entry of the search path."""
    if not entry.startswith(_PACKAGE):
        return Path(entry.removeprefix("file://"))
    name = entry.removeprefix(_PACKAGE).replace("/", ".")
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else Path("/nonexistent", name)
