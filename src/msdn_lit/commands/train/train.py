"""msdn train: trains a model, evaluates it, records the result."""

from pathlib import Path

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command, single_run_command_line
from msdn_lit.errors import ConfigError

EXAMPLES = (
    "msdn train experiment=cub_gzsl seed=3 paths.data_dir=DATA",
    "msdn train -m experiment=cub_gzsl seed=0,1,2 sweep_name=seeds paths.data_dir=DATA",
)


def run(cfg: DictConfig) -> float | None:
    """Trains a model, evaluates it and writes everything about it into a run folder.

    Returns:
        The score that a sweep maximises, if the config names one.
    """
    _check_early(cfg)
    from rich.console import Console

    from msdn_lit.analysis.output.tables import result_table
    from msdn_lit.build.training import training
    from msdn_lit.training.fit import fit

    made = training(cfg)
    with single_run_command_line(cfg):
        outcome = fit(made)
    if outcome.results:
        tables = [result_table(result) for result in outcome.results]
        Console().print(*tables, f"[bold]{made.folder}[/bold]")
    return outcome.objective


def _check_early(cfg: DictConfig) -> None:
    """Checks the files, then the GPU, before PyTorch and Lightning are imported for seconds."""
    from msdn_lit.data.benchmarks.published import find_benchmark

    data, accelerator = cfg.data, cfg.trainer.accelerator
    benchmark = find_benchmark(data.benchmark, data.folder, data.test_seen)
    benchmark.check_files(Path(cfg.paths.data_dir))
    if accelerator in ("gpu", "cuda"):
        import torch

        if not torch.cuda.is_available():
            problem = f"trainer.accelerator={accelerator}: PyTorch finds no GPU"
            raise ConfigError(problem, action="Use trainer=cpu.")


main = command("train", run, EXAMPLES)

if __name__ == "__main__":
    main()
