"""From a typed command to its first training step."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

SMALL = (
    "data=synthetic",
    "features=semisynthetic",
    "trainer=cpu",
    "sampler.batch_size=20",
)  # needs no file
_BEGAN, _TOOK = "MSDN_BENCH_BEGAN", "first step after "


class FirstStep(Callback):
    """Prints how long the command has run when its first training step ends."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Looks at the clock once."""
        if trainer.global_step == 1:
            print(f"{_TOOK}{time.time() - float(os.environ[_BEGAN])}", flush=True)


class Startup:
    """Commands in processes of their own, as a user types them."""

    def __init__(self) -> None:
        self.folder = TemporaryDirectory()
        self.environment = os.environ | {
            "MSDN_DATA_DIR": self.folder.name,
            "MSDN_FEATURE_DIR": f"{self.folder.name}/features",
            "MSDN_LOG_DIR": f"{self.folder.name}/logs",
        }
        self._run("msdn_lit.commands.data.extract", *SMALL[:2])

    def __call__(self) -> dict[str, float]:
        """Seconds to import PyTorch, to show the help of msdn-train, and up to the end of its first step."""
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        torch_imported = time.perf_counter()
        self._run("msdn_lit.commands.train.train", "--help")
        helped = time.perf_counter()
        callback = f"+callbacks.first_step._target_={FirstStep.__module__}.{FirstStep.__name__}"
        said = self._run(
            "msdn_lit.commands.train.train",
            *SMALL,
            "trainer.max_steps=1",
            "protocol=honest",
            callback,
        )
        first_step = next(line for line in said.splitlines() if line.startswith(_TOOK))
        return {
            "torch": torch_imported - began,
            "help": helped - torch_imported,
            "first_step": float(first_step.removeprefix(_TOOK)),
        }

    def _run(self, module: str, *arguments: str) -> str:
        environment = self.environment | {_BEGAN: str(time.time())}
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=Path(self.folder.name), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
