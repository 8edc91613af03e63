"""A callback that logs tables and curves to Weights & Biases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger

from msdn_lit.analysis.classes import class_table, confusion_table, curve_points, readable_names
from msdn_lit.analysis.output.formats import Table
from msdn_lit.analysis.predictions import Predictions
from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.metrics.curve import seen_unseen_auc
from msdn_lit.runs.score_cache import ScoreCache


class WandbTables(Callback):
    """Logs scores, class tables and the seen-unseen curve at the end of a training.

    Does nothing without a WandbLogger. `msdn wandb-workspace` shows what is logged here.

    Args:
        folder: Folder of the score caches. `ScoreCacheWriter` must run before this callback.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Logs the reported scores and the class tables after the last evaluation."""
        logger, history = _wandb_logger(trainer), EvaluationHistory.of(trainer)
        if logger is None or pl_module.global_step not in history.scores_at:
            return
        for evaluation, scores in history.summary().items():
            cache = self._cache(evaluation)
            area = (
                {"ausuc": seen_unseen_auc(cache.curve())}
                if cache and cache.step == scores["step"]
                else {}
            )
            summary = {f"{evaluation}/{name}": value for name, value in {**scores, **area}.items()}
            logger.experiment.summary.update(summary)
        if history.partial:
            logger.experiment.summary.update({"partial": history.partial})
        last = self._cache("last")
        if last and last.step == pl_module.global_step:
            self._log_classes(logger, last, _data(trainer).semantics.class_names)

    def _cache(self, evaluation: str) -> ScoreCache | None:
        """Returns the score cache of an evaluation; None if it lies in another run folder.

        That is so for a peak before the checkpoint of another run, from which training continued.
        """
        path = self.folder / f"{evaluation}.npz"
        return ScoreCache.load(path) if path.is_file() else None

    def _log_classes(
        self, logger: WandbLogger, cache: ScoreCache, class_names: Sequence[str]
    ) -> None:
        names = readable_names(class_names, cache)
        seeds = [Predictions(cache)]
        for table in (class_table(seeds, names), confusion_table(seeds, names)):
            logger.log_table(table.slug, *_plain(table), step=cache.step)
        logger.experiment.log(
            {"seen_unseen_curve": _curve(cache), "trainer/global_step": cache.step}
        )


def _wandb_logger(trainer: Trainer) -> WandbLogger | None:
    """Returns the W&B logger on the first rank, which alone logs."""
    loggers = (logger for logger in trainer.loggers if isinstance(logger, WandbLogger))
    return next(loggers, None) if trainer.is_global_zero else None


def _data(trainer: Trainer) -> ZSLDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ZSLDataModule)
    return data


def _plain(table: Table) -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of a table, with fractions as plain numbers."""
    rows = [
        [float(cell) if isinstance(cell, float) else cell for cell in row] for row in table.rows
    ]
    return list(table.header), rows


def _curve(cache: ScoreCache) -> Any:  # noqa: ANN401 - W&B's chart
    import wandb

    points = wandb.Table(columns=["U", "S", "H"], data=curve_points(cache))
    return wandb.plot.line(points, "U", "S", title="Seen-unseen curve, last step")
