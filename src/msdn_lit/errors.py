"""Errors that the user can correct.

A command prints their text as one line, without a traceback. Every other exception is a bug and
keeps its traceback.
"""

import pickle
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

USER_ERROR_EXIT_CODE = 2  # exit code of a command that ends with a user error
_MAX_SHOWN = 5  # names in a message
_MAX_CHARACTERS = 1000  # of a value in a message


class UserError(Exception):
    """Something outside the program is not as it must be.

    Args:
        problem: What is wrong and where (name the file).
        expected: What would have been right.
        found: What is there instead.
        action: What to do next, as a sentence or a command.
    """

    def __init__(
        self, problem: str, *, expected: object = None, found: object = None, action: str = ""
    ) -> None:
        details = [
            f"{name} {_shortened(str(value))}"
            for name, value in (("expected", expected), ("found", found))
            if value is not None
        ]
        problem = _shortened(problem)
        message = problem if not details else f"{problem}: {', '.join(details)}"
        super().__init__(f"{message.rstrip('.')}. {action}".strip())


def some(names: Iterable[object], number: int = _MAX_SHOWN) -> str:
    """Joins names for a message that does not grow with the data: "a, b, c and 9,997 more"."""
    texts = list(map(str, names))
    rest = len(texts) - number
    shown = ", ".join(texts[:number])
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def _shortened(text: str) -> str:
    """Cuts a long text."""
    rest = len(text) - _MAX_CHARACTERS
    return f"{text[:_MAX_CHARACTERS]}... ({rest:,} more characters)" if rest > 0 else text


def print_error(program: str, error: object) -> None:
    """Prints one line on standard error."""
    print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)


@contextmanager
def exit_on_user_error(program: str) -> Iterator[None]:
    """Ends a command at a user error: one line on standard error, exit code 2."""
    try:
        yield
    except UserError as error:
        print_error(program, error)
        sys.exit(USER_ERROR_EXIT_CODE)


class DataError(UserError):
    """A data file is missing, damaged, or does not fit the others."""


class ConfigError(UserError):
    """An override or a config value makes no sense."""


class CheckpointError(UserError):
    """A checkpoint or run folder is missing or belongs to another model."""


class LeakError(UserError):
    """A test image, class or score would have a part in training or in a choice."""


class FullDiskError(UserError):
    """Nothing more can be written."""


class Pruned(Exception):
    """Ends a trial that a search gives up; nobody's fault."""


# What libraries raise when a file is damaged or not of the form that they expect: in practice
# anything but NameError. To be caught around their calls only, never around our own code.
READ_ERRORS = (
    *(
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        MemoryError,
        OSError,
    ),
    *(RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError, tokenize.TokenError),
)


def one_line(error: BaseException) -> str:
    """What an error says, for a message of ours that shall stay one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
