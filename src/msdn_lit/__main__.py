"""The command `msdn` (also `python -m msdn_lit`): runs the command that its first word names."""

import difflib
import runpy
import shlex
import sys
from collections.abc import Sequence

from msdn_lit import __version__
from msdn_lit.commands import ALIASES, COMMANDS, GROUPS
from msdn_lit.commands import _habits as habits
from msdn_lit.commands._output import protected_output
from msdn_lit.errors import ConfigError, exit_on_user_error


def main() -> None:
    """Starts a command, or prints the list of commands.

    Raises:
        SystemExit: There is no such command.
    """
    if sys.argv[1:2] == ["help"] and sys.argv[2:3] and sys.argv[2] in COMMANDS:
        sys.argv[1:] = [sys.argv[2], "--help"]
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help", "--version"):
        with protected_output("msdn", is_result=True):
            is_version = words[:1] == ["--version"]
            print(f"msdn-lit {__version__}" if is_version else _overview())
        return
    with protected_output("msdn"), exit_on_user_error("msdn"):
        command = COMMANDS.get(ALIASES.get(words[0], words[0]))
        if command is None:
            raise ConfigError(f"There is no command {words[0]!r}", action=_instead_of(words))
        del sys.argv[1]
        # as `python -m MODULE` does: Lightning starts further processes in the same way as this one
        runpy.run_module(command.module_name, run_name="__main__", alter_sys=True)


def _instead_of(words: Sequence[str]) -> str:
    """Returns what to type for a command that does not exist."""
    if "=" in words[0] or words[0] in ("-m", "--multirun", "--cfg"):
        return f"Type msdn train {shlex.join(words)}."
    close = difflib.get_close_matches(words[0], COMMANDS, n=1)
    meant = f"Did you mean msdn {close[0]}?" if close else "See msdn --help."
    return habits.command(words[0]) or meant


def _overview() -> str:
    lines = ["usage: msdn COMMAND ...", "", "Zero-shot learning with MSDN and related methods."]
    for group, title in GROUPS.items():
        lines += ["", f"{title}:"]
        for name, command in COMMANDS.items():
            if command.group == group:
                lines.append(f"  {name:<16} {command.summary}")
    lines += ["", "msdn COMMAND --help explains a command. msdn --version prints the version."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
