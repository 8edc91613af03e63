"""Errors that the user can correct.

A command prints their text as one line, without a traceback. Every other exception is a bug and
keeps its traceback.
"""

import pickle
import signal
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

USER_ERROR_EXIT_CODE = 2  # exit code of a command that ends with a user error
INTERRUPT_EXIT_CODE = 128 + signal.SIGINT  # as in shells


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
            f"{name} {value}"
            for name, value in (("expected", expected), ("found", found))
            if value is not None
        ]
        message = problem if not details else f"{problem}: {', '.join(details)}"
        super().__init__(f"{message.rstrip('.')}. {action}".strip())


def print_error(program: str, error: object) -> None:
    """Prints one line on standard error."""
    print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)


@contextmanager
def exit_on_user_error(program: str) -> Iterator[None]:
    """Ends a command at a user error, or when it is interrupted: one line on standard error."""
    try:
        yield
    except KeyboardInterrupt:
        print_error(program, "interrupted")
        sys.exit(INTERRUPT_EXIT_CODE)
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


class Interrupted(SystemExit):
    """Ends the program after a signal.

    Args:
        code: Exit code: 128 and the number of the signal, as in shells.
        message: What was saved, and how to continue.
    """

    def __init__(self, code: int, message: str = "interrupted") -> None:
        super().__init__(code)
        self.exit_code = code
        self.message = message


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
