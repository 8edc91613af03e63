"""Every command and override that a message, a help text or a document advises can be typed.

Remedies are collected from the source: every string that is not a docstring. What stands for
something else (an f-string's value, CAPITALS, "...") is replaced by a value that exists.
"""

import ast
import re
import shlex
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from msdn_lit.commands import COMMANDS
from msdn_lit.commands._overrides import _check_key, _check_type, _leaf_keys
from msdn_lit.commands._words import parse_override, read_words
from msdn_lit.errors import ConfigError, UserError
from msdn_lit.files import PACKAGE, config_dir

ROOT = Path(__file__).resolve().parents[1]
HYDRA = ("train", "finetune", "extract")
PLACEHOLDER = "PLACEHOLDER"
GROUPS = {str(p.relative_to(config_dir())) for p in config_dir().rglob("*") if p.is_dir()}
CONTEXTS = (  # of settings that only some choices have
    ["logger=wandb", "scheduler=cosine", "features=synthetic"],
    ["data=folder", "hparams_search=optuna_cub", "trial_launcher=slurm"],
    ["trial_launcher=ray", "experiment=demo"],
)
COMMAND = re.compile(r"(?<![=\w])msdn ([a-z][a-z-]*)((?: (?!msdn )[^\s`]+)*)")
VALUE = r"(?:\[[^\]]*\]|\w+\([^)]*\)|\{[^}]*\}|[^\s,;`])+"
OVERRIDE = re.compile(rf"(?<![\w.{{/=-])([~+]?)([a-z_]+(?:[./][a-z_]+)*)=({VALUE})")
ARGUMENT = re.compile(r"-|\S+=|[A-Z{]|~\w|\w+/")
ARGUMENTS = {"trust"}  # of msdn_lit.load; the commands take it as --trust
# words that stand for others; a list with commas, T1,U,S,H, is meant as it is
FREE = re.compile(rf"{re.escape(PLACEHOLDER)}|\{{\}}|\.\.\.|(?<!,)\b[A-Z]+\b(?!,)|\$\*")


def strings(path):
    """(line, text, is_action) of the strings of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # docstrings
            parts.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            parts.update(map(id, node.values))
    actions = {id(part) for node in ast.walk(tree) if is_action(node) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value, id(node) in actions
        if isinstance(node, ast.JoinedStr):
            values = [v.value if isinstance(v, ast.Constant) else PLACEHOLDER for v in node.values]
            yield node.lineno, "".join(values), id(node) in actions


def is_action(node):
    """Whether a node gives the remedy of an error."""
    if isinstance(node, ast.keyword):
        return node.arg == "action"
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(name, ast.Name) and name.id in ("action", "remedy") for name in targets)


def texts():
    """(place, text, is_action) of what users read: messages, help, configs, the Makefile."""
    for package in (PACKAGE, PACKAGE.parent / "hydra_plugins"):
        for path in sorted(package.rglob("*.py")):
            for line, *text in strings(path):
                yield f"{path.name}:{line}", *text
    for path in sorted(config_dir().rglob("*.yaml")):
        for comment in re.findall(
            r"#(?: +command:)?(?: *OMP_NUM_THREADS=1)?(.*)", path.read_text()
        ):
            yield str(path.relative_to(config_dir())), comment.strip(), False
    for line in makefile():
        yield "Makefile", line, False


def makefile():
    """Lines of the Makefile; its variables are placeholders."""
    text = re.sub(r"\\\n|\$\(BIN\)/|\$\(ARGS\)", "", (ROOT / "Makefile").read_text())
    while (shorter := re.sub(r"\$\([^()]*\)", PLACEHOLDER, text)) != text:
        text = shorter
    return map(str.strip, text.splitlines())


def commands(text):
    """(command, arguments) of a text that is a command, or of the commands in a sentence."""
    if text.startswith("msdn ") and not text.endswith("."):
        with suppress(ValueError):  # a sentence with an apostrophe
            name, *arguments = shlex.split(text, comments=True)[1:]
            if name in COMMANDS and (name not in HYDRA or all(map(ARGUMENT.match, arguments))):
                yield name, arguments
                return
    for name, rest in COMMAND.findall(text):
        clause = re.split(r"(?<!\.)[.,:;)](?: |$)", rest)[0]
        words = [word.strip("'\"") for word in clause.split()]
        while words and not (ARGUMENT.match(words[-1]) or (words[-2:-1] and words[-2][:2] == "--")):
            del words[-1]
        yield name, words


@cache
def configs():
    """Composed settings, in which every key occurs that a remedy may name."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return [compose("train", context, return_hydra_config=True) for context in ([], *CONTEXTS)]


def is_setting(key):
    known = {name for config in configs() for name in _leaf_keys(config)}
    return key in GROUPS or any(f"{name}.".startswith(f"{key}.") for name in known)


def check_override(prefix, key, value):
    """Raises if an override cannot be typed."""
    value = value.removesuffix(")") if value.count(")") > value.count("(") else value
    value = value.rstrip("'\".") if not value.endswith("...") else value
    if key in GROUPS:
        names = value.removeprefix("glob(").strip("[])").split(",")
        for name in names:
            found = (config_dir() / key).glob(f"{FREE.sub('*', name)}.yaml")
            assert any(not path.stem.startswith("_") for path in found), f"no {key}={name}"
    elif prefix != "+":
        _check_key(key, configs())
        if prefix == "~" or FREE.search(value):
            return
        override = parse_override(f"{key}={value}")
        holders = [each for each in configs() if OmegaConf.select(each, key) is not None]
        for choice in [] if override.is_sweep_override() else holders[:1]:
            _check_type(key, override.value(), choice)


def check_command(name, arguments):
    """Raises if a command line cannot be typed; RUN and files need not exist."""
    assert name in COMMANDS, name
    if not arguments or {"--help", "--version"} & set(arguments):
        return
    if name in HYDRA:
        read_words(f"msdn {name}", [word for word in arguments if PLACEHOLDER not in word])
        for word in arguments:
            for found in OVERRIDE.findall(word):
                check_override(*found)
        return
    free = "cub" if name == "fetch" else "RUN"
    try:
        import_module(COMMANDS[name].module_name)._parse([FREE.sub(free, w) for w in arguments])
    except ConfigError as error:
        if "are required" not in str(error):  # the sentence names some of the arguments
            raise


def advice():
    """(place, text, check) of every command and every override of a setting, each once."""
    for place, text, is_action in texts():
        for name, arguments in commands(text):
            yield place, f"msdn {name} {' '.join(arguments)}", (check_command, name, arguments)
        for found in OVERRIDE.findall(text):
            if found[1] not in ARGUMENTS and (is_action or is_setting(found[1])):
                yield place, f"{found[0]}{found[1]}={found[2]}", (check_override, *found)


@pytest.mark.fault("remedies")
def test_what_messages_advise_can_be_typed(faults):
    wrong = {}
    for place, text, (check, *arguments) in (tried := list(advice())):
        try:
            check(*arguments)
        except (AssertionError, UserError) as error:
            wrong[f"{place}: {text}"] = str(error).partition("\n")[0]
    faults(len(tried), len(wrong))
    assert len(tried) > 250
    assert not wrong, "\n".join(f"{text} -> {reason}" for text, reason in wrong.items())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Use logger=nothing.", "no logger=nothing"),
        ("Use trainer.cpu=true.", "There is no config key"),
        ("Give images=...", "There is no config key"),
        ("Use optimizer.lr=fast.", "wrong type"),
        ("Run msdn fetch cub --datadir DATA.", "There is no option --datadir"),
        ("Run msdn fetchall cub.", "fetchall"),
        ("msdn train expriment=demo", "There is no config key"),
    ],
)
def test_a_wrong_remedy_is_found(text, reason):
    (wrong, *_) = [command for command in commands(text)] or OVERRIDE.findall(text)
    check = check_command if "msdn" in text else check_override
    with pytest.raises((AssertionError, UserError), match=reason):
        check(*wrong)
