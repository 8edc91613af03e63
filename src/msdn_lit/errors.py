"""Errors that the user can correct.

A command prints their text as one line, without a traceback. Every other exception is a bug and
keeps its traceback.
"""

import errno
import os
import pickle
import signal
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

USER_ERROR_EXIT_CODE = 2  # exit code of a command that ends with a user error
INTERRUPT_EXIT_CODE = 128 + signal.SIGINT  # as in shells
_MAX_SHOWN = 5  # names in a message
_MAX_CHARACTERS = 1000  # of a value in a message


class UserError(Exception):
    """Something outside the program is not as it must be.

    Args:
        problem: The fault and its place (name the file).
        expected: The right value or form.
        found: The value that is there instead.
        action: The next step of the user, as a sentence or a command.
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

    def __reduce__(self) -> tuple[object, ...]:
        """Lets an error keep its text when it is sent to another process."""
        return type(self).__new__, (type(self), *self.args)


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
    """Ends a command at a user error, or when it is interrupted: one line on standard error."""
    try:
        with output_errors():
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


class WriteError(OSError):
    """A file or folder cannot be written. `filename` is its final name."""


class OutputError(UserError):
    """A file cannot be written: its disk is full or read-only, or its folder is not one."""


# Errors of the system that only writing raises: the disk is full, the quota used up, ...
_ONLY_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def is_of_writing(error: OSError) -> bool:
    """Returns True if an error says that a file cannot be written, not that one cannot be read."""
    return isinstance(error, WriteError) or error.errno in _ONLY_OF_WRITING


@contextmanager
def output_errors(folder: object = None, remedy: Callable[[], str] = str) -> Iterator[None]:
    """Turns an error of the system in writing into a user error. Other errors are left.

    Args:
        folder: Folder to name if the error names no file.
        remedy: Returns what to do if the disk is full.

    Raises:
        OutputError: A file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if is_of_writing(error):
            raise output_error(error, folder, remedy()) from error
        raise


def output_error(error: OSError, folder: object = None, action: str = "") -> OutputError:
    """Returns the user error for an error of the system in writing (see `output_errors`)."""
    place, name = os.path.split(os.path.abspath(error.filename)) if error.filename else (folder, "")
    problem = f"{name or 'A file'} cannot be written{f' in {place}' if place else ''}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        action = action or "Make room, and repeat the command."
    else:
        action = "Choose another folder."
    return OutputError(f"{problem} ({error.strerror})", action=action)


class Interrupted(SystemExit):
    """Ends the program after a signal.

    Args:
        code: Exit code: 128 and the number of the signal, as in shells.
        message: Description of what was saved, and the way to continue.
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
