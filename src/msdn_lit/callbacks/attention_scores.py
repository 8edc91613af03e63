"""Measures a model's attention at the end of training."""

import logging
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.attention.scores import measure_attention, num_images
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.progress import IMAGES, ProgressLine
from msdn_lit.runs.attention_file import write_attention
from msdn_lit.tasks import ZSLTask

log = logging.getLogger(__name__)


class AttentionScores(Callback):
    """Measures the attention at the end of training: attention.json, and scores in the loggers.

    Args:
        folder: Run folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the trained model on the first process, or logs why it cannot be measured."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, ZSLTask)
        assert isinstance(data, ZSLDataModule)
        if not trainer.is_global_zero:
            return
        pl_module.eval()  # in training mode a net may leave regions out
        try:
            with ProgressLine(IMAGES, num_images(data), label="measuring attention") as line:
                content = measure_attention(pl_module, data, line.update)
        except (ConfigError, DataError) as reason:
            log.info("Attention is not measured: %s", reason)
            return
        write_attention(self.folder, content | {"step": pl_module.global_step})
        for logger in trainer.loggers:
            logger.log_metrics(flat(content, pl_module.stage), step=pl_module.global_step)


def flat(content: dict[str, Any], stage: str) -> dict[str, float]:
    """Returns the scores under metric names, e.g. "test/pointing_game/attribute_to_visual"."""
    return {
        f"{stage}/{measure}/{name}": value
        for name, scores in content["scores"].items()
        for measure, value in scores.items()
    }
