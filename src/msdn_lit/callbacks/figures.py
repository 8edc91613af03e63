"""A callback that draws figures at the end of training."""

import logging
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.analysis.output.plots import plot_history
from msdn_lit.analysis.output.style import save_figure
from msdn_lit.attention.maps import attention_rows
from msdn_lit.attention.plots import plot_attention
from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.files import make_folder
from msdn_lit.tasks import ZSLTask

log = logging.getLogger(__name__)


class Figures(Callback):
    """Writes scores.png, and attention.png if the images of the benchmark are in the data folder.

    Args:
        folder: Folder of the figures.
        num_images: Number of images in attention.png, each of another class of the last evaluated
            split.
        num_attributes: Number of attributes of each sub-net for each image: those that contribute
            most to the logit of the predicted class.
    """

    def __init__(self, folder: str, num_images: int = 4, num_attributes: int = 3) -> None:
        self.folder = Path(folder)
        self.num_images = num_images
        self.num_attributes = num_attributes

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the figures of the trained model."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, ZSLTask)
        assert isinstance(data, ZSLDataModule)
        log.info("Drawing figures")  # which takes seconds
        make_folder(self.folder)
        history = EvaluationHistory.of(trainer)
        if history.scores_at:
            figure = plot_history(history.scores_at, pl_module.stage)
            save_figure(figure, self.folder / "scores.png")
        pl_module.eval()  # in training mode a net may leave regions out
        try:
            rows = attention_rows(pl_module, data, self.num_images, self.num_attributes)
        except (ConfigError, DataError) as reason:
            log.info("No attention.png: %s", reason)
            return
        save_figure(plot_attention(rows), self.folder / "attention.png")
