"""msdn-train: trains one model, evaluates it, records the result."""

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command, own_command_line


def run(cfg: DictConfig) -> float | None:
    """Trains and evaluates the model of the config; the run folder holds everything about it.

    Returns:
        The score that a sweep maximises, if the config names one.
    """
    import lightning
    from rich.console import Console

    from msdn_lit.analysis.output.tables import result_table
    from msdn_lit.build import training as build
    from msdn_lit.callbacks import EvaluationHistory
    from msdn_lit.errors import ConfigError
    from msdn_lit.runs.record import RunRecord
    from msdn_lit.runs.selection import read_selection
    from msdn_lit.training import seeds as parallel
    from msdn_lit.training.fit import fit, start_of
    from msdn_lit.training.loggers import closing, open_loggers

    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise ConfigError(
            "seed is wrong", expected="a whole number from 0 to 2^32 - 1", found=cfg.seed
        )
    score = _objective(cfg)
    if cfg.protocol.seeds_in_parallel != 1:
        return parallel.run(cfg, score)
    record = RunRecord(cfg, read_selection(cfg))
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = build.datamodule(cfg)
    task = build.task(cfg, datamodule.semantics, datamodule.visual_dim)
    trainer = build.trainer(cfg)
    history = EvaluationHistory.of(trainer)
    checkpoint = start_of(cfg, record.folder, task)
    if trainer.is_global_zero:
        record.write_config()

    with own_command_line(cfg), closing(trainer):
        open_loggers(trainer, record.beginning(datamodule))
        fit(trainer, task, datamodule, checkpoint, [history], record.folder)
    objective = history.best(score) if score else None
    if trainer.is_global_zero:
        result = record.write_result(
            datamodule, history.summary(), trainer.strategy.root_device, objective
        )
        Console().print(result_table(result), f"[bold]{record.folder}[/bold]")
    return objective


def _objective(cfg: DictConfig) -> str:
    """The name of the score that a sweep maximises, "" where it maximises none; held to what the protocol measures."""
    from msdn_lit.errors import ConfigError, LeakError

    stage, _, score = (cfg.objective or "").partition("/")
    if stage == "test" and not cfg.protocol.allow_test_selection:
        raise LeakError(
            f"objective={cfg.objective}: a test score would choose",
            action="Use protocol=validation.",
        )
    if stage and stage != cfg.protocol.stage:
        expected = (
            f"a score of protocol={cfg.protocol.name}, like {cfg.protocol.stage}/harmonic_mean"
        )
        raise ConfigError("objective is wrong", expected=expected, found=cfg.objective)
    return str(score)


main = command("train", run)

if __name__ == "__main__":
    main()
