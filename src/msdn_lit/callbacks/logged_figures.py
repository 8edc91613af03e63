"""A callback that shows attention maps and the seen-unseen curve in W&B and in TensorBoard."""

import logging
from collections.abc import Iterator
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure

from msdn_lit.analysis.figures.comparison_plots import CurveLine, plot_curves
from msdn_lit.attention.maps import attention_rows
from msdn_lit.attention.plots import plot_attention
from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.runs.score_cache import ScoreCache
from msdn_lit.tasks import ZSLTask

log = logging.getLogger(__name__)
Pictures = WandbLogger | TensorBoardLogger  # loggers that show pictures


class LoggedFigures(Callback):
    """Logs attention maps during training, and the seen-unseen curve at its end.

    Does nothing without a logger that shows pictures. W&B gets the curve as a chart, from
    `WandbTables`.

    Args:
        folder: Folder of the score caches. `ScoreCacheWriter` must run before this callback.
        attention_every: Evaluations from one attention map to the next; 0 for no maps. There are
            no maps where the images are missing.
        num_images: Number of images in an attention map, each of another class.
        num_attributes: Number of attributes of each sub-net for each image.
    """

    def __init__(
        self, folder: str, *, attention_every: int, num_images: int, num_attributes: int
    ) -> None:
        self.folder = Path(folder)
        self.attention_every = attention_every
        self.num_images = num_images
        self.num_attributes = num_attributes

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the attention maps of every `attention_every`-th evaluation."""
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, ZSLTask)
        evaluation = len(EvaluationHistory.of(trainer).scores_at) - 1
        is_due = self.attention_every > 0 and evaluation % self.attention_every == 0
        loggers = list(_loggers(trainer))
        if not loggers or not is_due:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ZSLDataModule)
        try:
            rows = attention_rows(pl_module, data, self.num_images, self.num_attributes)
        except (ConfigError, DataError) as reason:
            log.info("No attention maps in the logger: %s", reason)
            self.attention_every = 0
            return
        for logger in loggers:
            _show(logger, "attention", plot_attention(rows), trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Logs the curve of the last evaluation."""
        path = self.folder / "last.npz"
        if pl_module.global_step not in EvaluationHistory.of(trainer).scores_at:
            return
        for logger in _loggers(trainer):
            if isinstance(logger, TensorBoardLogger) and path.is_file():
                cache = ScoreCache.load(path)
                line = CurveLine("last step", [cache.curve()], [cache.calibration])
                _show(logger, "seen_unseen_curve", plot_curves([line]), cache.step)


def _loggers(trainer: Trainer) -> Iterator[Pictures]:
    """Yields the loggers that show pictures, on the first rank, which alone logs."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, Pictures):
            yield logger


def _show(logger: Pictures, name: str, figure: Figure, step: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [figure], step=step)
    else:
        logger.experiment.add_figure(name, figure, global_step=step)
