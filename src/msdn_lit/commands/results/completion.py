"""msdn completion: tab completion of commands, options, config groups and settings."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from importlib import import_module

from msdn_lit.commands import COMMANDS
from msdn_lit.commands._arguments import ASK, Asked, Parser, run_command
from msdn_lit.commands._settings import choices, groups, settings

EXAMPLES = (
    'msdn completion bash    # in ~/.bashrc: eval "$(msdn completion bash)"; likewise zsh',
    "msdn completion fish    # in ~/.config/fish/config.fish: msdn completion fish | source",
)
_WITH_HYDRA = ("train", "finetune", "extract")
_OPTIONS_OF_HYDRA = (
    *("--multirun", "--cfg", "--config-dir", "--help", "--hydra-help"),
    *("--info", "--resolve", "--version"),
)
_SCRIPTS = {
    "bash": r"""_msdn() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" typed
    COMPREPLY=($("${COMP_WORDS[0]}" completion --line "$line" 2>/dev/null))
    typed="${line##* }"  # bash replaces only what follows the last =
    [[ $typed == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${typed%=*}="}")
    [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _msdn msdn
""",
    "zsh": r"""_msdn() {
    local -a found
    found=("${(@f)$(${words[1]} completion --line "$LBUFFER" 2>/dev/null)}")
    if [[ -z ${found[1]} ]]; then compset -P '*='; _files; return; fi
    compadd -Q -S '' -- ${(M)found:#*[=./]}
    compadd -Q -- ${found:#*[=./]}
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _msdn msdn
""",
    "fish": r"""function __msdn
    set -l found ((commandline -poc)[1] completion --line (commandline -cp) 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c msdn -f -a '(__msdn)'
""",
}


def main() -> None:
    """Prints a script, or the words that complete a line."""
    run_command("msdn completion", run, is_result=True)


def run(words: Sequence[str]) -> None:
    """Prints the script of a shell; with --line the words that can be the last of the line."""
    options = _parse(words)
    if options.line is None:
        print(_SCRIPTS[options.shell], end="")
        return
    for candidate in candidates(options.line):
        print(candidate)


def candidates(line: str) -> list[str]:
    """Returns the words that can complete a command line; none where a path is expected.

    Args:
        line: Line up to the cursor, with the program as its first word.
    """
    words = _split(line)[1:]
    *before, typed = words if words and not line[-1:].isspace() else [*words, ""]
    if not before:
        found: Sequence[str] = list(COMMANDS)
    elif before[0] in _WITH_HYDRA:
        found = _of_hydra(typed, before[1:])
    elif before[0] in COMMANDS:
        found = _of_parser(before, typed)
    else:
        found = []
    return sorted({word for word in found if word.startswith(typed)})


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Prints the script that makes a shell complete the commands with the tab key."
    parser = Parser("msdn completion", description, EXAMPLES)
    parser.add_argument("shell", nargs="?", default="bash", choices=list(_SCRIPTS))
    text = "print the words that complete a line; the script asks this"
    parser.add_argument("--line", metavar="LINE", help=text)
    return parser.parse_args(words)


def _split(line: str) -> list[str]:
    """Splits a line, also where a quotation mark is still open."""
    for end in ("", "'", '"'):
        try:
            return shlex.split(line + end)
        except ValueError:
            continue
    return line.split()


def _of_hydra(typed: str, before: Sequence[str]) -> list[str]:
    """Returns options, `GROUP=NAME`, and the next part of the keys of settings."""
    if typed.startswith("-"):
        return list(_OPTIONS_OF_HYDRA)
    key, equals, _ = typed.partition("=")
    if equals and key in groups():
        return [f"{key}={name}" for name in choices(key)]
    known = settings(before)
    if equals:
        return [f"{key}={value}" for value in ("true", "false") if isinstance(known.get(key), bool)]
    mark = "~" if typed.startswith("~") else ""
    part = typed.removeprefix(mark)
    keys = [_next_part(name, part) for name in known if name.startswith(part)]
    return [f"{mark}{name}" for name in (*keys, *(f"{group}=" for group in groups()))]


def _next_part(key: str, typed: str) -> str:
    """Returns a key up to its next dot; the whole key with = if there is none."""
    dot = key.find(".", len(typed))
    return f"{key}=" if dot < 0 else key[: dot + 1]


def _of_parser(before: Sequence[str], typed: str) -> list[str]:
    """Returns options, or the choices of an argument, of a command without Hydra."""
    try:
        import_module(COMMANDS[before[0]].module_name)._parse([ASK])
    except Asked as asked:
        actions = asked.parser._actions
    options = {name: action for action in actions for name in action.option_strings}
    if typed.startswith("-"):
        return [name for name in options if name.startswith("--")]
    open_option = options.get(before[-1])
    wants_value = open_option is not None and open_option.nargs != 0
    if wants_value and open_option is not None:
        return [*map(str, open_option.choices or ())]
    return [*_choices_of_positionals(actions)]


def _choices_of_positionals(actions: Sequence[argparse.Action]) -> Iterator[str]:
    for action in actions:
        if not action.option_strings:
            yield from map(str, action.choices or ())


if __name__ == "__main__":
    main()
