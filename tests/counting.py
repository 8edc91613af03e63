"""A measurement that counts its repetitions; a process that imports it imports little."""

from itertools import count


def repetitions(name, file):
    for number in count(1):
        with file.open("a") as log:
            log.write(name)
        yield number
