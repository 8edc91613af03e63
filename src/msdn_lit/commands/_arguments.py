"""Command lines of the commands without Hydra: one parser, one way to end."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from msdn_lit import __version__
from msdn_lit.commands._output import protected_output
from msdn_lit.errors import ConfigError, exit_on_user_error
from msdn_lit.runs.layout import AUSUC, FIGURE_FORMATS, SCORES
from msdn_lit.training.process import disable_telemetry


class Parser(argparse.ArgumentParser):
    """Parser whose errors are user errors: one line on standard error and exit code 2.

    Args:
        program: Name of the command, e.g. "msdn report".
        description: One sentence.
        examples: Command lines.
    """

    def __init__(self, program: str, description: str, examples: Sequence[str]) -> None:
        lines = "\n".join(f"  {example}" for example in examples)
        super().__init__(
            program,
            description=f"{description}\n\nexamples:\n{lines}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--version", action="version", version=f"msdn-lit {__version__}")

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError with the message and the way to the help."""
        raise ConfigError(message, action=f"See {self.prog} --help.")


def run_folder(text: str) -> Path:
    """Type of an argument that names a run folder; explains the spelling of version 0.1."""
    if text.startswith("run_dir="):
        problem = f"{text} is the spelling of version 0.1"
        raise ConfigError(problem, action=f"Name the folder alone: {text.partition('=')[2]}")
    return Path(text).expanduser()


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoint."""
    names = "last, peak_harmonic_mean, peak_acc_czsl, or a path (default: last)"
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help=names)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds --trust."""
    text = "build whatever the run's config names: your own code (default: only msdn-lit's)"
    parser.add_argument("--trust", action="store_true", help=text)


def add_folders(parser: argparse.ArgumentParser, *, features: bool = False) -> None:
    """Adds --data-dir, and --feature-dir where features are read, for data that were moved."""
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder, if it was moved")
    if features:
        text = "folder of the feature stores, if it was moved"
        parser.add_argument("--feature-dir", type=Path, metavar="DIR", help=text)


def add_figures(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds --figures, alone or with a format; alone it is "".

    Args:
        parser: Parser of the command.
        text: Beginning of the help.
    """
    names = ", ".join(FIGURE_FORMATS[:-1])
    text = f"{text}: {names} or {FIGURE_FORMATS[-1]} (default: {FIGURE_FORMATS[0]})"
    option = parser.add_argument
    option("--figures", type=_figure_format, nargs="?", const="", metavar="FORMAT", help=text)


def _figure_format(text: str) -> str:
    if text and text not in FIGURE_FORMATS:
        expected = " or ".join(FIGURE_FORMATS)
        action = "--output DIR names the folder of the figures; write run folders before --figures"
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text} ({action})")
    return text


def score_columns(text: str) -> list[str]:
    """Type of an argument that names scores as people read them: "T1,U,S,H"."""
    known = [*SCORES.values(), AUSUC]
    names = {name.lower(): name for name in known}
    words = [word.strip() for word in text.split(",")]
    unknown = [word for word in words if word.lower() not in names]
    if unknown or len(set(map(str.lower, words))) < len(words):
        found = unknown[0] or "nothing" if unknown else f"a name twice in {text}"
        expected = f"some of {','.join(known)}"
        raise argparse.ArgumentTypeError(f"expected {expected}, found {found}")
    return [names[word.lower()] for word in words]


def check_is_new(folder: Path) -> None:
    """Refuses an output folder that holds files, beside which new ones would be mixed.

    Raises:
        ConfigError: There are files.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"--output {folder} is not empty", action="Name a new folder.")


def folder_from_environment(name: str, default: str) -> Path:
    """Returns a folder that an environment variable may name."""
    return Path(os.environ.get(name, default))


def shown(folder: Path) -> str:
    """Returns a folder for the text of a help, in which argparse gives % a meaning."""
    return str(folder).replace("%", "%%")


def import_from_working_directory() -> None:
    """Makes modules of the working directory importable, e.g. for `model._target_=mine.Net`."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def run_command(
    program: str, run: Callable[[Sequence[str]], None], *, is_result: bool = False
) -> None:
    """Runs a command with the words of the command line; a user error ends it with exit code 2.

    Args:
        program: Name of the command, for messages.
        run: Function of the words.
        is_result: Whether what the command prints is all that it makes.
    """
    import_from_working_directory()
    disable_telemetry()
    words = ["--trust" if word == "trust=true" else word for word in sys.argv[1:]]
    with protected_output(program, is_result=is_result), exit_on_user_error(program):
        run(words)
