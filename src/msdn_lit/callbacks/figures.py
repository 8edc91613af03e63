"""A callback that draws figures at the end of training."""

import logging
from collections.abc import Iterator
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.analysis.figures.captions import ACCURACIES, NamedFigure, of_run, save_figures
from msdn_lit.analysis.figures.plots import plot_history
from msdn_lit.attention.maps import attention_rows
from msdn_lit.attention.plots import ATTENTION_CAPTION, plot_attention
from msdn_lit.callbacks.history import EvaluationHistory
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import ConfigError, DataError
from msdn_lit.runs.layout import FIGURE_FORMATS
from msdn_lit.tasks import ZSLTask

log = logging.getLogger(__name__)


class Figures(Callback):
    """Draws scores, and attention maps if the images of the benchmark are in the data folder.

    Args:
        folder: Folder of the figures.
        num_images: Number of images with attention maps, each of another class of the last
            evaluated split; half of them predicted right and half not, if there are both.
        num_attributes: Number of attributes of each sub-net for each image: those that contribute
            most to the logit of the predicted class.
        file_format: "png", "svg" or "pdf".
        run: Benchmark, backbone, protocol and seed, for the captions.

    Raises:
        ConfigError: There is no such format.
    """

    def __init__(
        self,
        folder: str,
        num_images: int = 4,
        num_attributes: int = 3,
        file_format: str = FIGURE_FORMATS[0],
        run: str = "",
    ) -> None:
        if file_format not in FIGURE_FORMATS:
            expected, found = " or ".join(FIGURE_FORMATS), file_format
            raise ConfigError(
                "callbacks.figures.file_format is wrong", expected=expected, found=found
            )
        self.folder = Path(folder)
        self.num_images = num_images
        self.num_attributes = num_attributes
        self.file_format = file_format
        self.run = run

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the figures of the trained model."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, ZSLTask)
        assert isinstance(data, ZSLDataModule)
        log.info("Drawing figures")  # which takes seconds
        pl_module.eval()  # in training mode a net may leave regions out
        figures = [*_scores(trainer, pl_module), *self._attention(pl_module, data)]
        save_figures(of_run(figures, self.run), self.folder, self.file_format)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the scores again with those of an evaluation that follows the training."""
        if trainer.state.fn == "validate" and trainer.is_global_zero:
            assert isinstance(pl_module, ZSLTask)
            figures = of_run(_scores(trainer, pl_module), self.run)
            save_figures(figures, self.folder, self.file_format)

    def _attention(self, task: ZSLTask, data: ZSLDataModule) -> Iterator[NamedFigure]:
        try:
            rows = attention_rows(
                task, data, self.num_images, self.num_attributes, right_and_wrong=True
            )
        except (ConfigError, DataError) as reason:
            log.info("No attention maps: %s", reason)
            return
        yield NamedFigure("attention", plot_attention(rows), ATTENTION_CAPTION)


def _scores(trainer: Trainer, task: ZSLTask) -> Iterator[NamedFigure]:
    history = EvaluationHistory.of(trainer)
    if history.scores_at:
        figure = plot_history(history.scores_at, task.stage)
        text = f"Scores on {task.stage} over the training. {ACCURACIES}"
        yield NamedFigure("scores", figure, text)
