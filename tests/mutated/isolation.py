"""Runs readers in child processes, so that a crash, a hang or high memory use is an outcome."""

import json
import os
import resource
import signal
import warnings
from pathlib import Path

SECONDS = 10  # limit for one case
_ADDRESS_SPACE = 4 * 2**30  # limit for a faulty reader, which could exhaust the machine's memory


def outcomes(read, count, megabytes):
    """Reads cases 0 to count - 1 in child processes.

    Args:
        read: Function that reads the case of a given number and returns its outcome as a text.
        count: Number of cases.
        megabytes: Memory limit of a case.

    Returns:
        Outcome of each case: the returned text, or how the process ended.
    """
    found = []
    while len(found) < count:
        found += _in_child(read, range(len(found), count), megabytes)
    return found


def _in_child(read, numbers, megabytes):
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of every fork
        child = os.fork()
    if child == 0:
        try:
            _send_outcomes(read, numbers, megabytes, sending)
        finally:
            os._exit(0)
    os.close(sending)
    with open(receiving, encoding="utf-8") as lines:
        found = list(map(json.loads, lines))
    _, status = os.waitpid(child, 0)
    if len(found) < len(numbers):
        end = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "an exit"
        found.append(f"ended by {end}")  # SIGALRM is a hang
    return found


def _send_outcomes(read, numbers, megabytes, sending):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    peak = _peak()
    for number in numbers:
        signal.alarm(SECONDS)
        outcome = read(number)
        if _peak() - peak > megabytes:
            outcome, peak = f"took {_peak() - peak} MB", _peak()
        os.write(sending, (json.dumps(outcome) + "\n").encode())


def _peak():
    """Returns the peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
