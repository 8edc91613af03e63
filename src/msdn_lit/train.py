"""msdn-train: trains one model, evaluates it, records the result."""

import time
from pathlib import Path

from omegaconf import DictConfig

from msdn_lit.cli import command


def run(cfg: DictConfig) -> None:
    """Trains and evaluates the model of the config; the run folder holds everything about it."""
    import lightning
    from rich.console import Console

    from msdn_lit import build, record
    from msdn_lit.analysis.tables import result_table
    from msdn_lit.checkpoint import load_checkpoint, find_checkpoint

    started = time.monotonic()
    run_dir = Path(cfg.paths.run_dir)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = build.datamodule(cfg)
    task = build.task(cfg, datamodule.semantics, datamodule.visual_dim)
    trainer = build.trainer(cfg)
    history = build.history_of(trainer)
    checkpoint = find_checkpoint(cfg.ckpt_path, run_dir) if cfg.ckpt_path else None
    if checkpoint:
        load_checkpoint(checkpoint, task)
    record.write_config(cfg)

    trainer.fit(task, datamodule, ckpt_path=checkpoint)
    if task.global_step not in history.scores_at:
        trainer.validate(task, datamodule, verbose=False)
    trainer.save_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    result = record.write_result(cfg, datamodule, history.summary(), time.monotonic() - started)
    Console().print(result_table(result), f"[bold]{run_dir}[/bold]")


main = command("train", run)

if __name__ == "__main__":
    main()
