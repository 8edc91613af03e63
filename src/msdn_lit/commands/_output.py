"""Standard output and standard error of the commands: printing never decides about the work.

If nobody reads the output any more, the rest is discarded and the work goes on. Characters that the
encoding of the terminal does not have are written as escapes.
"""

import io
import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from msdn_lit.errors import USER_ERROR_EXIT_CODE, print_error

_STREAMS = {"stdout": 1, "stderr": 2}


class _Outlet(io.FileIO):
    """A file descriptor to which writing never fails.

    Attributes:
        failure: The last error of writing, e.g. of a full disk. A closed pipe is none.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        """Writes what can be written."""
        try:
            while (count := super().write(data)) is None:  # a pipe that does not wait is full
                select.select([], [self], [])
            return count
        except BrokenPipeError:
            with open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), self.fileno())  # also for processes that this one starts
        except OSError as error:
            self.failure = error
        return memoryview(data).nbytes


_outlets: dict[str, _Outlet] = {}


def protect_output() -> None:
    """Lets neither printing nor logging raise an error from now on, in this process.

    Streams that something else replaced, like a notebook, stay as they are.
    """
    logging.raiseExceptions = False  # a handler that cannot write would print a traceback
    while (null := os.open(os.devnull, os.O_RDWR)) <= max(_STREAMS.values()):
        os.set_inheritable(null, True)  # a closed stream: no other file may get its number
    os.close(null)
    for name, number in _STREAMS.items():
        stream: TextIO | None = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            _outlets[name] = _Outlet(number, "wb", closefd=False)
            setattr(sys, name, _text_stream(_outlets[name], stream))


def _text_stream(outlet: _Outlet, stream: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=getattr(stream, "line_buffering", False)
        or getattr(stream, "write_through", False),
    )


@contextmanager
def protected_output(program: str, *, is_result: bool = False) -> Iterator[None]:
    """Protects the output of a command, and says at its end if it could not be written.

    Args:
        program: Name of the command, for the message.
        is_result: Whether the command writes no files, so that its work is lost with its output.

    Raises:
        SystemExit: The output that is the result could not be written.
    """
    protect_output()
    end = None
    try:
        yield
    except SystemExit as stop:
        if stop.code:
            raise
        end = stop
    sys.stdout.flush()
    failure = _outlets["stdout"].failure if "stdout" in _outlets else None
    if failure:
        print_error(program, f"Standard output cannot be written ({failure.strerror}).")
        if is_result:
            sys.exit(USER_ERROR_EXIT_CODE)
    if end:
        raise end
