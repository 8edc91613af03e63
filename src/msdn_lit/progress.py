"""How far a long piece of work is, and a handler that prints log lines above that.

In a terminal, one line is rewritten several times a second. Elsewhere, e.g. in the log of a job, a
line is printed after ten seconds and then about every minute.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich is imported where it is used: not every command needs it
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

SECONDS_BETWEEN_REFRESHES = 0.25
SECONDS_TO_FIRST_LINE = 10.0
SECONDS_BETWEEN_LINES = 60.0
_SHORTEST_WINDOW = 30.0  # seconds over which the speed is measured
_SEPARATOR = "  "

Details = Callable[[], Iterable[str]]  # computed only when they are shown
Clock = Callable[[], float]


@dataclass(frozen=True)
class Unit:
    """How a number is written.

    Attributes:
        before: Text before "DONE/TOTAL".
        after: Text after it.
        rate: Unit of the speed.
        scale: Number that one unit stands for.
    """

    before: str = ""
    after: str = ""
    rate: str = ""
    scale: float = 1.0


STEPS = Unit(before="step ", rate="step/s")
IMAGES = Unit(after=" images", rate="images/s")
MEGABYTES = Unit(after=" MB", rate="MB/s", scale=1e6)


@dataclass(frozen=True)
class Surroundings:
    """What progress lines are among.

    Attributes:
        label: Text at the start of each line, e.g. "trial 3 of 12".
        has_terminal: Whether the work may rewrite a line of the terminal; not with others beside.
    """

    label: str = ""
    has_terminal: bool = True


_ALONE = Surroundings()
_surroundings: ContextVar[Surroundings] = ContextVar("surroundings", default=_ALONE)


@contextmanager
def progress_among(surroundings: Surroundings) -> Iterator[None]:
    """Gives the progress lines of a block a label, and may take the terminal away from them."""
    token = _surroundings.set(surroundings)
    try:
        yield
    finally:
        _surroundings.reset(token)


def is_terminal() -> bool:
    """Returns True if standard output is a terminal whose lines can be rewritten."""
    from rich.console import Console

    # not Console.is_terminal, which believes FORCE_COLOR, as in many CI systems
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def print_line(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)


def print_status(text: str) -> None:
    """Prints a line at once on standard error, of a command whose output is its result."""
    print(text, file=sys.stderr, flush=True)


class ProgressLine:
    """Shows how far a piece of work is; a context manager, which removes the line at its end.

    Args:
        unit: Form of the numbers.
        total: Number at the end of the work; None if it is unknown.
        label: Text at the start of the line.
        done: Number at the beginning, of a piece of work that continues.
        say: Prints a line where there is no terminal.
        seconds_between_lines: Pause between those lines.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        unit: Unit,
        total: int | None,
        *,
        label: str = "",
        done: int = 0,
        say: Callable[[str], None] = print_line,
        seconds_between_lines: float = SECONDS_BETWEEN_LINES,
        clock: Clock = time.monotonic,
    ) -> None:
        around = _surroundings.get()
        self.unit = unit
        self.total = total
        self.label = _SEPARATOR.join(filter(None, (around.label, label)))
        self.say = say
        self.seconds_between_lines = seconds_between_lines
        self.clock = clock
        self.is_live = around.has_terminal and is_terminal()
        self._live: Live | None = None
        first = 0.0 if self.is_live else min(SECONDS_TO_FIRST_LINE, seconds_between_lines)
        self._due = clock() + first
        self._speed = Speed(clock(), done)

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, done: int, details: Details = tuple) -> None:
        """Shows the work if it is time to; costs a microsecond otherwise.

        Args:
            done: Number that is done.
            details: Returns more parts of the line, the most important first.
        """
        now = self.clock()
        is_last_refresh = self.is_live and done == self.total
        if now < self._due and not is_last_refresh:
            return
        self._speed.add(now, done)
        parts = [*self._parts(done), *details()]
        if self.is_live:
            self._due = now + SECONDS_BETWEEN_REFRESHES
            self._show(parts)
        else:
            self._due = now + self.seconds_between_lines
            self.say(_SEPARATOR.join(parts))

    def restart(self, label: str, total: int | None, done: int = 0) -> None:
        """Starts another phase of the work, whose speed is measured on its own."""
        self.label, self.total = label, total
        self._speed = Speed(self.clock(), done)

    def close(self) -> None:
        """Removes the line from the terminal."""
        if self._live:
            self._live.stop()
            self._live = None

    def _parts(self, done: int) -> Iterator[str]:
        unit, per_second = self.unit, self._speed.per_second
        number = f"{done / unit.scale:.0f}"
        if self.total is not None:
            number += f"/{self.total / unit.scale:.0f}"
        yield _SEPARATOR.join(filter(None, (self.label, f"{unit.before}{number}{unit.after}")))
        if per_second:
            if self.total is not None:
                yield f"ETA {duration((self.total - done) / per_second)}"
            yield f"{_speed_text(per_second / unit.scale)} {unit.rate}"

    def _show(self, parts: Sequence[str]) -> None:
        if self._live is None:
            self._live = _new_live()
            self._live.start()
        self._live.update(_Line(parts), refresh=True)


class Speed:
    """Speed over the last quarter of the time, at least over 30 s.

    Args:
        now: Time at the beginning, seconds.
        done: Number that is done then.
    """

    def __init__(self, now: float, done: int) -> None:
        self.begin = now
        self.samples = deque([(now, done)])

    def add(self, now: float, done: int) -> None:
        """Adds how much is done at a time, in seconds."""
        self.samples.append((now, done))
        window = max(_SHORTEST_WINDOW, (now - self.begin) / 4)
        while len(self.samples) > 2 and self.samples[1][0] <= now - window:
            self.samples.popleft()

    @property
    def per_second(self) -> float:
        """Number a second; 0.0 if it is unknown."""
        (begin, before), (end, after) = self.samples[0], self.samples[-1]
        return max(0.0, (after - before) / (end - begin)) if end > begin else 0.0


@dataclass(frozen=True)
class _Line:
    """A line of the terminal, with as many parts as it has room for."""

    parts: Sequence[str]

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        yield Text(fitting(self.parts, options.max_width), no_wrap=True, overflow="crop")


def fitting(parts: Sequence[str], width: int) -> str:
    """Joins the first parts, as many as fit the width; at least the first one."""
    text = parts[0]
    for part in parts[1:]:
        longer = f"{text}{_SEPARATOR}{part}"
        if len(longer) > width:
            break
        text = longer
    return text


def duration(seconds: float) -> str:
    """Returns a time as minutes and seconds, or hours, minutes and seconds: "0:38", "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _speed_text(per_second: float) -> str:
    return f"{per_second:.0f}" if per_second >= 10 else f"{per_second:.2g}"


def _new_live() -> "Live":
    """Returns an empty live line, above which everything else is printed.

    It has no thread: a thread would refresh it during the forks of loader processes.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(markup=False, emoji=False, highlight=False, force_terminal=True)
    # lines of standard error go to the terminal above the line, unless they are sent elsewhere
    return Live(
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stderr=sys.stderr.isatty(),
    )


class ConsoleHandler(logging.StreamHandler[Any]):
    """Prints log lines on the present standard output, above a live line.

    Lines of `only_in_file` are left out.
    """

    def __init__(self, stream: object = None) -> None:
        super().__init__(sys.stdout)
        self.addFilter(lambda record: not getattr(record, "only_in_file", False))

    @property
    def stream(self) -> Any:  # noqa: ANN401 - rich replaces it while a line is live
        """Standard output as it is now."""
        return sys.stdout

    @stream.setter
    def stream(self, value: object) -> None:
        """Ignores the stream that the base class sets."""


def only_in_file(logger: logging.Logger, text: str) -> None:
    """Logs a line that is on the screen already."""
    logger.info("%s", text, extra={"only_in_file": True})
