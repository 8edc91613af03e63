"""Several seeds of one setting at once, in one process on stacked weights; each leaves a run folder of its own."""

import copy
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from msdn_lit.errors import ConfigError

if TYPE_CHECKING:
    from msdn_lit.callbacks.seed_runs import SeedRun
    from msdn_lit.data.datamodule import ZSLDataModule
    from msdn_lit.tasks import ZSLTask

_OF_A_RUN = (
    "history",
    "scores",
    "peak_harmonic_mean",
    "peak_acc_czsl",
)  # SeedRuns does these for each
_OF_THE_PROCESS = ("last", "leak_guard", "preemption", "random_state", "progress")


def run(cfg: DictConfig, score: str) -> float | None:
    """Trains the seeds cfg.seed, cfg.seed + 1, ... and writes seed_*/ into the run folder.

    Args:
        cfg: Config of msdn-train.
        score: That a sweep maximises; "" for none.

    Returns:
        Its mean over the seeds.

    Raises:
        ConfigError: A setting belongs to one model alone, or there is more than one device.
    """
    from rich.console import Console

    from msdn_lit.analysis.output.tables import result_table
    from msdn_lit.build import training as build
    from msdn_lit.callbacks.seed_runs import SeedRuns
    from msdn_lit.runs.record import RESULT, RunRecord
    from msdn_lit.runs.selection import read_selection
    from msdn_lit.tasks import StackedTask
    from msdn_lit.training.fit import fit, start_of

    folder, selection = Path(cfg.paths.run_dir), read_selection(cfg)
    configs = _config_of_each(cfg)
    records = [RunRecord(config, selection) for config in configs]
    datamodule, tasks = _data_and_tasks(configs)
    task, runs = (
        StackedTask(tasks, build.compiler(cfg)),
        [_run_of(*pair) for pair in zip(configs, tasks, strict=True)],
    )
    trainer = build.trainer(
        cfg, [*(build.callback(cfg, name) for name in _process_callbacks(cfg)), SeedRuns(runs)]
    )
    if trainer.world_size > 1:
        raise ConfigError(
            "Seeds in parallel share one device",
            expected="trainer.devices=1",
            found=trainer.world_size,
        )
    checkpoint = start_of(cfg, folder, task)
    for record in records:
        record.write_config()

    fit(trainer, task, datamodule, checkpoint, [one.history for one in runs], folder)
    objectives = [one.history.best(score) if score else None for one in runs]
    results = [
        record.write_result(
            datamodule, one.history.summary(), trainer.strategy.root_device, objective
        )
        for record, one, objective in zip(records, runs, objectives, strict=True)
    ]
    Console().print(*map(result_table, results), f"[bold]{folder}[/bold]")
    return _write_means(folder / RESULT, results)


def _data_and_tasks(configs: Sequence[DictConfig]) -> tuple["ZSLDataModule", list["ZSLTask"]]:
    """Data that all runs share, with the batches of each, and the tasks, begun as each would begin alone."""
    import lightning

    from msdn_lit.build import training as build
    from msdn_lit.data.samplers import StackedBatches

    datamodule = build.datamodule(configs[0])
    draws = [build.draw(config) for config in configs]
    datamodule.draw = lambda labels: StackedBatches([draw(labels) for draw in draws])
    tasks = []
    for config in configs:
        lightning.seed_everything(config.seed, workers=True, verbose=False)
        tasks.append(build.task(config, datamodule.semantics, datamodule.visual_dim))
    return datamodule, tasks


def _config_of_each(cfg: DictConfig) -> list[DictConfig]:
    """What each run would be told if it were alone."""
    number = cfg.protocol.seeds_in_parallel
    if not isinstance(number, int) or number < 1:
        raise ConfigError(
            "protocol.seeds_in_parallel is wrong", expected="a whole number from 1", found=number
        )
    if "wandb" in cfg.logger:
        action = "Use logger=csv, or launcher=joblib for a process per seed."
        raise ConfigError(
            "logger=wandb has one run in a process, and seeds in parallel are several",
            action=action,
        )
    configs = []
    for seed in range(cfg.seed, cfg.seed + number):
        config = copy.deepcopy(cfg)
        config.seed, config.protocol.seeds_in_parallel, config.ckpt_path = seed, 1, None
        config.paths.run_dir = f"{cfg.paths.run_dir}/seed_{seed}"
        configs.append(config)
    return configs


def _process_callbacks(cfg: DictConfig) -> list[str]:
    """The callbacks that see no model."""
    strange = [name for name in cfg.callbacks if name not in (*_OF_THE_PROCESS, *_OF_A_RUN)]
    if strange:
        action = "Use callbacks=default; msdn-attention and msdn-report draw afterwards."
        raise ConfigError(
            f"callbacks.{strange[0]} sees one model, and seeds in parallel are several",
            action=action,
        )
    missing = [name for name in ("history", "scores") if name not in cfg.callbacks]
    if missing:
        raise ConfigError(
            f"callbacks.{missing[0]} is missing",
            action="Seeds in parallel need it; keep it in the config.",
        )
    return [name for name in cfg.callbacks if name in _OF_THE_PROCESS]


def _run_of(config: DictConfig, task: "ZSLTask") -> "SeedRun":
    from msdn_lit.build import training as build
    from msdn_lit.callbacks import EvaluationHistory, ScoreCacheWriter
    from msdn_lit.callbacks.seed_runs import SeedRun
    from msdn_lit.runs.checkpoint import FOLDER

    history, scores = (build.callback(config, name) for name in ("history", "scores"))
    assert isinstance(history, EvaluationHistory)
    assert isinstance(scores, ScoreCacheWriter)
    return SeedRun(
        task, history, scores, Path(config.paths.run_dir) / FOLDER, build.loggers(config)
    )


def _write_means(path: Path, results: Sequence[dict[str, Any]]) -> float | None:
    """Writes what a sweep reads of this folder: the seeds, and the means of their last scores and of the objective."""
    last = [result["scores"]["last"] for result in results]
    scores = {name: statistics.mean(one[name] for one in last) for name in last[0]}
    objectives = [result["objective"] for result in results if result["objective"] is not None]
    objective = statistics.mean(objectives) if objectives else None
    content = {
        "seeds": [result["seed"] for result in results],
        "scores": {"last": scores},
        "objective": objective,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return objective
