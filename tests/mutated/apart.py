"""A place to read files where a crash, a hang or a hunger for memory is just an outcome."""

import json
import os
import resource
import signal
import warnings
from pathlib import Path

SECONDS = 10  # for one case
_ROOM = (
    4 * 2**30
)  # address space for a reader that goes wrong, so that it cannot take the machine with it


def outcomes(read, count, megabytes):
    """Reads cases 0 to count - 1 in child processes.

    Args:
        read: Reads the case of a number and says in a text how it went.
        count: Number of cases.
        megabytes: What a case may take.

    Returns:
        What each case said, or how it ended its process.
    """
    told = []
    while len(told) < count:
        told += _in_child(read, range(len(told), count), megabytes)
    return told


def _in_child(read, numbers, megabytes):
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks in general
        child = os.fork()
    if child == 0:
        try:
            _tell(read, numbers, megabytes, sending)
        finally:
            os._exit(0)
    os.close(sending)
    with open(receiving, encoding="utf-8") as lines:
        told = list(map(json.loads, lines))
    _, status = os.waitpid(child, 0)
    if len(told) < len(numbers):
        end = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "an exit"
        told.append(f"ended by {end}")  # SIGALRM is a hang
    return told


def _tell(read, numbers, megabytes, sending):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    peak = _peak()
    for number in numbers:
        signal.alarm(SECONDS)
        outcome = read(number)
        if _peak() - peak > megabytes:
            outcome, peak = f"took {_peak() - peak} MB", _peak()
        os.write(sending, (json.dumps(outcome) + "\n").encode())


def _peak():
    """The most memory that this process ever held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
