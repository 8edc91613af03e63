"""msdn train on the miniature benchmark, as a program: `python -m tests.mini_train ...`.

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
    """Records the process of a training, and slows it down.

    Args:
        folder: Run folder.
        seconds: Additional time of each step.
    """

    def __init__(self, folder, seconds=0.0):
        self.folder = Path(folder)
        self.seconds = seconds

    def on_train_start(self, trainer, pl_module):
        entry = {
            "pid": os.getpid(),
            "step": trainer.global_step,
            "threads": torch.get_num_threads(),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        with (self.folder / "witness.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def on_train_batch_end(self, *_):
        time.sleep(self.seconds)


def witnesses(folder):
    """Returns the entries of a run's witness, one for each start of the training."""
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
