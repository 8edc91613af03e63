"""The commands: each module parses its command line, calls the library and prints.

`COMMANDS` is the only list of them. `msdn NAME` and `msdn-NAME` start the same function, `main` of
the module.
"""

import sys
from typing import NamedTuple

from msdn_lit.errors import USER_ERROR_EXIT_CODE, print_error

if sys.platform == "win32":  # no file locks of POSIX; before a command imports them
    print_error("msdn", "Windows is not supported. Use the Windows Subsystem for Linux (WSL).")
    sys.exit(USER_ERROR_EXIT_CODE)

GROUPS = {
    "data": "Bring data",
    "train": "Train",
    "results": "Read results",
    "use": "Use a trained model",
}


class Command(NamedTuple):
    """A command: its group, its module in that group's package, and one line of help."""

    group: str
    module: str
    summary: str

    @property
    def module_name(self) -> str:
        """Full name of the module."""
        return f"msdn_lit.commands.{self.group}.{self.module}"


COMMANDS = {
    "fetch": Command("data", "fetch", "download and unpack the published benchmarks"),
    "init-dataset": Command("data", "init_dataset", "write a template for a dataset of your own"),
    "extract": Command("data", "extract", "compute region features of images"),
    "doctor": Command("data", "doctor", "check hardware and data, suggest the next command"),
    "train": Command("train", "train", "train a model, evaluate it, record the result"),
    "finetune": Command("train", "finetune", "train a backbone on the images of seen classes"),
    "evaluate": Command("train", "evaluate", "evaluate a checkpoint of a run again"),
    "select": Command("train", "select", "choose settings on validation scores"),
    "list": Command("results", "list_configs", "list datasets, models, experiments, ..."),
    "completion": Command("results", "completion", "complete words with the tab key of a shell"),
    "report": Command("results", "report", "tables, figures, comparisons and records of runs"),
    "scores": Command("results", "scores", "scores at another fusion or calibration"),
    "attention": Command("results", "attention", "attention localisation scores; t-SNE"),
    "wandb-workspace": Command("results", "wandb_workspace", "make a W&B workspace"),
    "predict": Command("use", "predict", "predict the classes of images"),
    "app": Command("use", "app", "open a local page to try a model"),
    "export": Command("use", "export", "write or publish a model: bundle, Space, ONNX, torch"),
}
ALIASES = {"rescore": "scores"}  # former names, which the help does not list
