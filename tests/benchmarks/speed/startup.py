"""Time from a typed command to its first training step."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning.pytorch.callbacks import Callback

from tests.benchmarks.speed.timing import TimedProcess, compare, interleave

ROOT = Path(__file__).resolve().parents[3]
TRAIN = ("-m", "msdn_lit", "train")
DATA = ("data=synthetic", "features=semisynthetic")  # need no file
RECIPE = ("experiment=demo", "callbacks=default", "protocol=honest", "trainer.max_steps=1")
CALLBACK = f"+callbacks.first_step._target_={__name__}.FirstStep"
STARTED = "SPEED_BENCHMARK_STARTED"  # environment variable
PRINTED = "first step after "


class FirstStep(Callback):
    """Prints the seconds since the start of the command when the first training step ends."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 1:
            print(f"{PRINTED}{time.time() - float(os.environ[STARTED])}", flush=True)


def commands():
    """Yields the seconds of `import torch`, of msdn train's help, and until its first step."""
    with TemporaryDirectory() as folder:
        environment = {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "MSDN_DATA_DIR": folder,
            "MSDN_FEATURE_DIR": f"{folder}/features",
            "MSDN_LOG_DIR": f"{folder}/logs",
        }
        run_python(folder, environment, "-m", "msdn_lit", "extract", *DATA)
        while True:
            start = time.perf_counter()
            run_python(folder, environment, "-c", "import torch")
            imported = time.perf_counter()
            run_python(folder, environment, *TRAIN, "--help")
            helped = time.perf_counter()
            output = run_python(folder, environment, *TRAIN, *RECIPE, *DATA, CALLBACK)
            (line,) = (line for line in output.splitlines() if line.startswith(PRINTED))
            yield {
                "torch": imported - start,
                "help": helped - imported,
                "first_step": float(line.removeprefix(PRINTED)),
            }


def run_python(folder, environment, *arguments):
    """Runs Python in a folder and returns its standard output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment | {STARTED: str(time.time())},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def startup(options):
    """Measures the start of a training, and compares it with the import of PyTorch."""
    results = interleave({"ours": TimedProcess(commands)})
    yield compare("msdn train --help", "s", results, "help")
    results["limit"] = [{"first_step": result["torch"]} for result in results["ours"]]
    what = "first training step after the command (limit: import torch)"
    yield compare(what, "s", results, "first_step")
