"""What msdn train and msdn finetune do."""

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from msdn_lit import __version__
from msdn_lit.commands._hydra import is_multirun, single_run_command_line
from msdn_lit.commands._words import typed
from msdn_lit.errors import INTERRUPT_EXIT_CODE, ConfigError, Interrupted, print_error
from msdn_lit.files import is_first_process, short_path
from msdn_lit.progress import only_in_file, print_line
from msdn_lit.runs.layout import BACKBONE, WANDB, checkpoint_path, offline_wandb_runs, seed_folder
from msdn_lit.texts import comma_lines
from msdn_lit.training.run_folder import claimed

if TYPE_CHECKING:
    from msdn_lit.training.fit import Outcome

log = logging.getLogger(__name__)
# Typed words that an extraction needs, too; and those of them that belong to the training.
_OF_EXTRACTION = ("data.", "features.", "paths.")
_OF_TRAINING = (
    *("paths.run_dir=", "features.name=", "features.backbone.weights_file="),
    *("features.train=", "features.checkpointing=", "features.augmentation"),
)


def run_training(cfg: DictConfig, program: str) -> float | None:
    """Trains a model, evaluates it and writes everything about it into a run folder.

    Args:
        cfg: Config of the run.
        program: The command, for its messages.

    Returns:
        The score that a sweep maximises, if the config names one.
    """
    _check_number_of_processes(cfg)
    _check_early(cfg)
    folder = Path(cfg.paths.run_dir)
    with claimed(folder, checkpoint=cfg.ckpt_path, overwrite=cfg.overwrite):
        opening = comma_lines(
            [f"msdn-lit {__version__}", f"{cfg.protocol.name} protocol", short_path(folder)]
        )
        if not is_multirun() and is_first_process():
            print_line("\n".join(opening))  # before the imports and the data, which take seconds
        outcome = _train(cfg, opening, program)
    if outcome.results and not is_multirun():
        _show(cfg, outcome.results, folder)
    for result in outcome.results:
        if result["warning"]:
            print_error(program, result["warning"])
    return outcome.objective


def _show(cfg: DictConfig, results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Prints the tables of all seeds, and what to do next."""
    from msdn_lit.analysis.output.tables import print_command, print_next, print_result, terminal

    for result in results:
        print_result(result)
    terminal().print(str(folder), style="bold", soft_wrap=True)
    first = folder if len(results) == 1 else seed_folder(folder, results[0]["seed"])
    print_next(["msdn", "report", short_path(folder)], ["msdn", "evaluate", short_path(first)])
    if (folder / BACKBONE).is_file():
        print_command("Use the trained backbone with:", _extraction_words(cfg, folder / BACKBONE))
    if offline_wandb_runs(folder):
        # a folder of several runs: a resumed one has one for each part
        print_command("Send to W&B with:", ["wandb", "sync", short_path(folder / WANDB)])


def _train(cfg: DictConfig, opening: Sequence[str], program: str) -> "Outcome":
    """Trains.

    Args:
        cfg: Config of the run.
        opening: First lines of the header, which were printed.
        program: The command, for its messages.

    Raises:
        Interrupted: A signal ended the training; its message has the command that continues it.
    """
    from msdn_lit.build.training import training
    from msdn_lit.training.fit import fit
    from msdn_lit.training.header import header_lines

    made = training(cfg)
    if made.trainer.is_global_zero:
        for line in opening:
            only_in_file(log, line)
        for line in header_lines(made):
            log.info("%s", line)
    try:
        with single_run_command_line(cfg):
            return fit(made)
    except (KeyboardInterrupt, Interrupted) as stop:
        code, message = INTERRUPT_EXIT_CODE, "interrupted"
        if isinstance(stop, Interrupted):
            code, message = stop.exit_code, stop.message
        if checkpoint_path(made.folder).is_file():
            message += f". Continue with: {_command_that_continues(program, made.folder)}"
        raise Interrupted(code, message) from None


def _command_that_continues(program: str, folder: Path) -> str:
    """Returns the typed command with what continues the run of a folder."""
    replaced = ("ckpt_path=", "overwrite=", "paths.run_dir=")
    words = [word for word in sys.argv[1:] if not word.lstrip("+").startswith(replaced)]
    given = [shlex.quote(word) for word in words]
    place = typed("paths.run_dir", str(folder))
    return " ".join([program, *given, place, "ckpt_path=last"])


def _check_number_of_processes(cfg: DictConfig) -> None:
    """Refuses processes of torchrun or SLURM that would not train one model together.

    Raises:
        ConfigError: Each would train alone, or their number is not that of the devices.
    """
    trainer, tasks = cfg.trainer, _tasks_of_slurm()
    number = max(int(os.environ.get("WORLD_SIZE", 1)), tasks or 1)
    if number > 1 and trainer.strategy == "auto" and trainer.devices == 1:
        problem = f"{number} processes were started, and each would train alone"
        raise ConfigError(problem, action=f"Add trainer=ddp trainer.devices={number}.")
    if tasks is None or not isinstance(trainer.devices, int):
        return
    wanted = trainer.devices, trainer.num_nodes
    per_node, nodes = os.environ.get("SLURM_NTASKS_PER_NODE"), os.environ.get("SLURM_NNODES")
    if (tasks > 1 and not per_node) or (per_node or "1", nodes or "1") != tuple(map(str, wanted)):
        many = "srun --nodes {1} --ntasks-per-node {0}".format(*wanted)
        raise ConfigError(
            "SLURM must start one task for each device",
            expected=f"--nodes {wanted[1]} --ntasks-per-node {wanted[0]}",
            found=f"{tasks} tasks, {per_node or 'no --ntasks-per-node'} on each of {nodes or 1}",
            action=f"Use {many}, in a sweep trial_launcher=slurm_ddp, or other trainer.devices.",
        )


def _tasks_of_slurm() -> int | None:
    """Returns how many tasks srun has started; None if this process is not of SLURM."""
    is_by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # as for Lightning
    number = os.environ.get("SLURM_NTASKS")
    return None if is_by_hand or number is None else int(number)


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


def _extraction_words(cfg: DictConfig, weights: Path) -> list[str]:
    """Returns the command that extracts features with the trained weights of a backbone."""
    choices = HydraConfig.get().runtime.choices
    kept = [word for word in sys.argv[1:] if word.startswith(_OF_EXTRACTION)]
    return [
        *("msdn", "extract", f"data={choices['data']}", f"features={choices['features']}"),
        *(word for word in kept if not word.startswith(_OF_TRAINING)),
        f"features.name={cfg.features.name}_finetuned",
        typed("features.backbone.weights_file", str(weights.absolute())),
    ]
