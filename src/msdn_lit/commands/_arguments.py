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
from msdn_lit.inference.publish.address import HubAddress, hub_address
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
    if address := hub_address(text):
        problem = f"{address} is a bundle, and this command needs a run folder"
        raise ConfigError(problem, action="msdn predict, msdn app and msdn export accept a bundle.")
    return Path(text).expanduser()


def run_or_bundle(text: str) -> Path | HubAddress:
    """Type of an argument that names a run folder or a bundle, also one on the Hub."""
    return hub_address(text) or run_folder(text)


def add_run_or_bundle(parser: argparse.ArgumentParser) -> None:
    """Adds the argument RUN of the commands that use a trained model."""
    text = "run folder, bundle, or bundle on the Hugging Face Hub: hf://USER/NAME"
    parser.add_argument("run", type=run_or_bundle, metavar="RUN", help=text)


def results_folder(run: Path | HubAddress) -> Path:
    """Returns the folder of what is made with a model: its own, or NAME for one of the Hub."""
    return Path(run.name) if isinstance(run, HubAddress) else run


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
