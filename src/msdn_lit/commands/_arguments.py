"""Command lines of the commands without Hydra: one parser, one way to end."""

import argparse
import gc
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from msdn_lit import __version__
from msdn_lit.commands import _habits as habits
from msdn_lit.commands._output import protected_output
from msdn_lit.errors import ConfigError, exit_on_user_error
from msdn_lit.inference.publish.address import HubAddress, hub_address
from msdn_lit.runs.layout import AUSUC, FIGURE_FORMATS, SCORES
from msdn_lit.training.process import disable_telemetry

if TYPE_CHECKING:  # it imports torch
    from msdn_lit.inference import Predictor

ASK = "--ask-for-the-parser"


class Asked(Exception):
    """Answers the completion of a command line with the parser of a command.

    Attributes:
        parser: The parser.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


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

    def parse_args(self, words: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """Parses words; one that is of another program or of Hydra is answered first.

        Raises:
            ConfigError: A word is wrong; the message names the option that is meant.
            Asked: The only word is `ASK`.
        """
        if list(words) == [ASK]:
            raise Asked(self)
        known = [name for name in self._option_string_actions if name.startswith("--")]
        previous = ""
        for word, following in zip(words, [*words, "-"][1:], strict=True):
            name, equals, value = word.partition("=")
            is_option = name.startswith("--") and not any(o.startswith(name) for o in known)
            is_override = equals and not name.startswith("-") and not Path(word).exists()
            if is_option or (is_override and not previous.startswith("-")):
                after = "" if equals or following.startswith("-") else following
                self._refuse(name, value or after, known)
            previous = word
        return super().parse_args(words)

    def _refuse(self, typed: str, value: str, options: Sequence[str]) -> None:
        """Refuses a word if an option, or a checkpoint of a run, is known to be meant.

        Raises:
            ConfigError: It is known.
        """
        name = f"--{typed.lstrip('-').rpartition('.')[2].replace('_', '-')}"
        run = habits.run_of(value)
        if run and "--checkpoint" in options:
            action = f"Type {self.prog} {run[0]} --checkpoint {run[1]}."
            raise ConfigError(f"There is no option {typed}", action=action)
        meant = habits.option(name, value, options)
        if meant:
            raise ConfigError(f"There is no option {typed}", action=f"Type {meant}.")


def run_folder(text: str) -> Path:
    """Type of an argument that names a run folder; explains an override or a checkpoint."""
    name, equals, folder = text.partition("=")
    if equals and name in ("run_dir", "run", "paths.run_dir"):
        raise ConfigError(f"{text} is an override", action=f"Name the folder alone: {folder}")
    if address := hub_address(text):
        problem = f"{address} is a bundle, and this command needs a run folder"
        raise ConfigError(problem, action="msdn predict, msdn app and msdn export accept a bundle.")
    run = habits.run_of(text)
    if run:
        action = f"Type {run[0]} --checkpoint {run[1]}."
        raise ConfigError(f"{text} is a checkpoint and no run folder", action=action)
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


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds --device, of a command that predicts images."""
    text = "cpu, cuda, cuda:1, mps, or auto: the GPU if there is one (default: cpu)"
    parser.add_argument("--device", default="cpu", metavar="NAME", help=text)


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


def check_calibration(value: float | None) -> None:
    """Refuses a value of --calibration that is no finite number; None is that of the run.

    Raises:
        ConfigError: It is infinite or NaN.
    """
    if not math.isfinite(value or 0):
        raise ConfigError("--calibration is wrong", expected="a finite number", found=value)


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


def load_model(options: argparse.Namespace) -> "Predictor":
    """Loads the model of a run folder, a bundle or an address of the Hub.

    Args:
        options: Options `run`, `checkpoint`, `data_dir` and `trust`; `device` if there is one.
    """
    gc.disable()  # modules are no garbage: looking for some takes a fifth of the time
    try:
        from msdn_lit.build.load import load

        return load(
            str(options.run),
            checkpoint=options.checkpoint,
            data_dir=options.data_dir,
            trust=options.trust,
            device=getattr(options, "device", "cpu"),
        )
    finally:
        gc.enable()


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
