"""msdn-evaluate: scores a checkpoint of a run again."""

from pathlib import Path

from omegaconf import DictConfig

from msdn_lit.commands._hydra import command


def run(cfg: DictConfig) -> None:
    """Evaluates a run's checkpoint; the run's folder says everything that the command line does not."""
    from rich.console import Console

    from msdn_lit.analysis.output.tables import result_table
    from msdn_lit.build import training as build
    from msdn_lit.runs.checkpoint import find_checkpoint, load_checkpoint
    from msdn_lit.runs.record import RunRecord, read_config

    run_cfg = read_config(Path(cfg.run_dir))
    for group in ("paths", "prediction"):
        run_cfg[group].update(
            {key: value for key, value in cfg[group].items() if value is not None}
        )
    run_cfg.paths.run_dir = cfg.output_dir
    record = RunRecord(run_cfg)
    checkpoint = find_checkpoint(cfg.checkpoint, Path(cfg.run_dir))
    datamodule = build.datamodule(run_cfg)
    task = build.task(run_cfg, datamodule.semantics, datamodule.visual_dim)
    content = load_checkpoint(checkpoint, task)
    task.load_state_dict(content["state_dict"])

    trainer = build.evaluator(run_cfg, cfg.accelerator)
    logged = trainer.validate(task, datamodule, verbose=False, weights_only=True)[0]
    scores = {name.partition("/")[2]: value for name, value in logged.items()}
    evaluation = {checkpoint.stem: {"step": content["global_step"], **scores}}
    result = record.write_result(datamodule, evaluation, trainer.strategy.root_device)
    Console().print(result_table(result))


main = command("evaluate", run)

if __name__ == "__main__":
    main()
