"""Figures at the end of training: how the scores went, and where the model looks."""

import logging
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.analysis.output.plots import plot_history
from msdn_lit.attention.maps import attention_rows
from msdn_lit.attention.plots import plot_attention
from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import DataError
from msdn_lit.models import MSDN
from msdn_lit.tasks import ZSLTask

log = logging.getLogger(__name__)


class Figures(Callback):
    """Writes scores.png, and attention.png where the benchmark's images are at hand.

    Args:
        folder: Where they go.
        num_images: Images in attention.png, the first of so many classes of the last evaluated split.
        num_attributes: Attributes shown of each sub-net: those that speak most for the predicted class.
    """

    def __init__(self, folder: str, num_images: int = 4, num_attributes: int = 3) -> None:
        self.folder = Path(folder)
        self.num_images = num_images
        self.num_attributes = num_attributes

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws what the trained model gives."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, ZSLTask)
        assert isinstance(data, ZSLDataModule)
        self.folder.mkdir(parents=True, exist_ok=True)
        history = EvaluationHistory.of(trainer)
        if history.scores_at:
            plot_history(history.scores_at, pl_module.stage).savefig(
                self.folder / "scores.png", dpi=150
            )
        if not isinstance(pl_module.net, MSDN):  # nothing to see: it looks everywhere alike
            return
        pl_module.eval()  # in training mode a net may leave regions out
        try:
            rows = attention_rows(pl_module, data, self.num_images, self.num_attributes)
        except DataError as reason:
            log.info("No attention.png: %s", reason)
            return
        plot_attention(rows).savefig(self.folder / "attention.png", dpi=150)
