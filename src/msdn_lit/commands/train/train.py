"""msdn train: trains a model, evaluates it, records the result."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command, single_run_command_line
from msdn_lit.commands._words import typed
from msdn_lit.errors import INTERRUPT_EXIT_CODE, ConfigError, Interrupted, print_error
from msdn_lit.runs.layout import checkpoint_path
from msdn_lit.training.run_folder import claimed

if TYPE_CHECKING:
    from msdn_lit.training.fit import Outcome

EXAMPLES = (
    "msdn train experiment=cub_gzsl seed=3 paths.data_dir=DATA",
    "msdn train -m experiment=cub_gzsl seed=0,1,2 sweep_name=seeds paths.data_dir=DATA",
)


def run(cfg: DictConfig) -> float | None:
    """Trains a model, evaluates it and writes everything about it into a run folder.

    Returns:
        The score that a sweep maximises, if the config names one.
    """
    _check_number_of_processes(cfg)
    _check_early(cfg)
    from msdn_lit.analysis.output.tables import result_table, terminal

    folder = Path(cfg.paths.run_dir)
    with claimed(folder, checkpoint=cfg.ckpt_path, overwrite=cfg.overwrite):
        outcome = _train(cfg)
    if outcome.results:
        terminal().print(*map(result_table, outcome.results))
        terminal().print(str(folder), style="bold", soft_wrap=True)
    for result in outcome.results:
        if result["warning"]:
            print_error("msdn train", result["warning"])
    return outcome.objective


def _train(cfg: DictConfig) -> "Outcome":
    """Trains.

    Raises:
        Interrupted: A signal ended the training; its message has the command that continues it.
    """
    from msdn_lit.build.training import training
    from msdn_lit.training.fit import fit

    made = training(cfg)
    try:
        with single_run_command_line(cfg):
            return fit(made)
    except (KeyboardInterrupt, Interrupted) as stop:
        code, message = INTERRUPT_EXIT_CODE, "interrupted"
        if isinstance(stop, Interrupted):
            code, message = stop.exit_code, stop.message
        if checkpoint_path(made.folder).is_file():
            message += f". Continue with: {_command_that_continues(made.folder)}"
        raise Interrupted(code, message) from None


def _command_that_continues(folder: Path) -> str:
    """Returns the typed command with what continues the run of a folder."""
    replaced = ("ckpt_path=", "overwrite=", "paths.run_dir=")
    words = [word for word in sys.argv[1:] if not word.lstrip("+").startswith(replaced)]
    given = [shlex.quote(word) for word in words]
    place = typed("paths.run_dir", str(folder))
    return " ".join(["msdn train", *given, place, "ckpt_path=last"])


def _check_number_of_processes(cfg: DictConfig) -> None:
    """Refuses several processes of torchrun that would each train alone, in the same folder."""
    number, trainer = int(os.environ.get("WORLD_SIZE", 1)), cfg.trainer
    if number > 1 and trainer.strategy == "auto" and trainer.devices == 1:
        problem = f"{number} processes were started, and each would train alone"
        raise ConfigError(problem, action=f"Add trainer=ddp trainer.devices={number}.")


def _check_early(cfg: DictConfig) -> None:
    """Checks the files, then the GPU, before PyTorch and Lightning are imported for seconds."""
    from msdn_lit.data.benchmarks.published import find_benchmark

    data, accelerator = cfg.data, cfg.trainer.accelerator
    benchmark = find_benchmark(data.benchmark, data.folder, data.test_seen)
    benchmark.check_files(Path(cfg.paths.data_dir))
    if accelerator in ("gpu", "cuda", "mps"):
        import torch

        backend = torch.backends.mps if accelerator == "mps" else torch.cuda
        if not backend.is_available():
            kind = "GPU of an Apple computer" if accelerator == "mps" else "GPU"
            problem = f"trainer.accelerator={accelerator}: PyTorch finds no {kind}"
            raise ConfigError(problem, action="Use trainer=cpu.")


main = command("train", run, EXAMPLES)

if __name__ == "__main__":
    main()
