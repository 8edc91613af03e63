"""msdn-train on the miniature benchmark, as a program: `python -m tests.mini_train ...`.

Every process that a launcher starts knows the benchmark: functions of this module are pickled by
value.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback


class Witness(Callback):
    """Writes down who trains, and takes its time.

    Args:
        folder: The run's.
        seconds: How long a step takes, besides.
    """

    def __init__(self, folder, seconds=0.0):
        self.folder, self.seconds = Path(folder), seconds

    def on_train_start(self, trainer, pl_module):
        lines = {
            "pid": os.getpid(),
            "step": trainer.global_step,
            "threads": torch.get_num_threads(),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        with (self.folder / "witness.jsonl").open("a") as file:
            file.write(json.dumps(lines) + "\n")

    def on_train_batch_end(self, *_):
        time.sleep(self.seconds)


def witnesses(folder):
    """What the witness of a run wrote, one entry for each time that training began."""
    path = Path(folder) / "witness.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def run(cfg):
    from msdn_lit.commands.train import train
    from msdn_lit.data.benchmarks import published
    from tests import miniature

    published.BENCHMARKS["MINI"] = miniature.MINI
    return train.run(cfg)


if __name__ == "__main__":
    from msdn_lit.commands._hydra import command

    if "MINI_GPUS" in os.environ:
        torch.cuda.device_count = lambda: int(os.environ["MINI_GPUS"])
    sys.argv[0] = "msdn-train"
    command("train", run, ())()
