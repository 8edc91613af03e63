"""Reads the files of an offline W&B run: protobuf records in LevelDB's log format."""

import json
import struct
import time
from pathlib import Path

BLOCK, HEADER, MAGIC = (
    2**15,
    struct.Struct("<IHB"),
    7,
)  # bytes of a block, of a piece's header, before the first block
WHOLE, LAST = 1, 4  # kinds of pieces that end a record


class RunFile:
    """A run's .wandb file.

    Attributes:
        run: The first record of the run: id, group, job type, tags.
        config, summary: As W&B would show them.
        history: What was logged, in order.
        machine: Names of what was measured of the machine.
        artifacts: Content of the files of each artifact, by its type and their names.
        exit_code: None of a run that was not ended.
    """

    def __init__(self, path):
        from wandb.proto import wandb_internal_pb2

        self.config, self.summary, self.history, self.exit_code, self.run = {}, {}, [], None, None
        self.machine, self.artifacts = set(), {}
        for data in _records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            self.artifacts |= _artifact(record)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = self.run or record.run
                self.config |= _items(record.run.config.update)
            elif kind == "config":
                self.config |= _items(record.config.update)
            elif kind == "summary":
                self.summary |= _items(record.summary.update)
            elif kind == "history":
                self.history.append(_items(record.history.item))
            elif kind == "stats":
                self.machine |= {item.key for item in record.stats.item}
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    def logged(self, name):
        """All values under one name."""
        return [row[name] for row in self.history if name in row]


def run_files(folder):
    """Files of all W&B runs below a training's folder, the oldest first."""
    paths = sorted(Path(folder).glob("wandb/*run-*/*.wandb"), key=_age)
    return [_read_when_written(path) for path in paths]


def _read_when_written(path, seconds=10):
    """Reads a run; W&B's own process can write its first records after the training's end."""
    end = time.monotonic() + seconds
    while True:
        found = RunFile(path)
        if (found.run and found.config.get("data")) or time.monotonic() > end:
            return found
        time.sleep(0.1)


def table(folder, name):
    """The last table of a name that a training logged: its header, and its rows."""
    paths = Path(folder).glob(f"wandb/*run-*/files/media/table/{name}_*.table.json")
    content = json.loads(max(paths, key=_age).read_text())
    return content["columns"], content["data"]


def _artifact(record):
    if record.WhichOneof("record_type") != "artifact":
        return {}
    entries = record.artifact.manifest.contents
    return {record.artifact.type: {e.path: Path(e.local_path).read_bytes() for e in entries}}


def _age(path):
    return path.stat().st_mtime_ns


def _records(data):
    position, record = MAGIC, b""
    while position + HEADER.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size + length
        record += data[position - length : position]
        if kind in (WHOLE, LAST):
            yield record
            record = b""


def _items(items):
    found = {}
    for item in items:
        names = [item.key] if item.key else list(item.nested_key)
        place = found
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = json.loads(item.value_json)
    return found
