"""Figures at the end of training: how the scores went, and where the model looks."""

import logging
from pathlib import Path

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.analysis.plots import AttentionMap, AttentionRow, plot_attention, plot_history
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
        self.folder, self.num_images, self.num_attributes = Path(folder), num_images, num_attributes

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
            plot_history(history.scores_at, pl_module.stage).savefig(self.folder / "scores.png", dpi=150)
        if not isinstance(pl_module.net, MSDN):  # nothing to see: it looks everywhere alike
            return
        try:
            rows = self.attention_rows(pl_module, data)
        except DataError as reason:
            log.info("No attention.png: %s", reason)
            return
        plot_attention(rows).savefig(self.folder / "attention.png", dpi=150)

    @torch.no_grad()
    def attention_rows(self, task: ZSLTask, data: ZSLDataModule) -> list[AttentionRow]:
        """Chooses the images and looks at them with both sub-nets.

        Raises:
            DataError: The images are not there.
        """
        dataset = data.dataset(data.eval_splits[-1])
        positions = np.unique(dataset.labels, return_index=True)[1][: self.num_images]
        pictures = [data.picture(row) for row in dataset.rows[positions]]
        regions_BRD, labels_B, _ = dataset.__getitems__(positions.tolist())
        regions_BRD = regions_BRD.to(task.device)
        predicted_B = task.predict_logits(regions_BRD).argmax(dim=1).cpu()
        maps: list[list[AttentionMap]] = [[] for _ in pictures]
        assert isinstance(task.net, MSDN)
        for name, output in zip(task.net.subnets, task.net(regions_BRD), strict=True):
            scores_BK, attention_BKR = output.attribute_scores_BK.cpu(), output.attention_BKR.cpu()
            for row, label in enumerate(predicted_B.tolist()):
                maps[row] += self._strongest(scores_BK[row], attention_BKR[row], label, data, _direction(name))
        names = data.semantics.class_names
        return [
            AttentionRow(f"{_short(names[label])}\n→ {_short(names[predicted])}", picture, row)
            for label, predicted, picture, row in zip(
                labels_B.tolist(), predicted_B.tolist(), pictures, maps, strict=True
            )
        ]

    def _strongest(
        self, scores_K: Tensor, attention_KR: Tensor, label: int, data: ZSLDataModule, direction: str
    ) -> list[AttentionMap]:
        contributions_K = scores_K * torch.from_numpy(data.semantics.class_attributes_CK[label])
        top = contributions_K.topk(min(self.num_attributes, len(contributions_K))).indices.tolist()
        grid = data.store.manifest.grid
        titles = [f"{direction} {_readable(data.attribute_names[k])}\n{scores_K[k]:.2f}" for k in top]
        return [AttentionMap(title, _map(attention_KR[k], grid)) for title, k in zip(titles, top, strict=True)]


def _map(attention_R: Tensor, grid: tuple[int, int]) -> NDArray[np.float32]:
    weights_HW: NDArray[np.float32] = attention_R.float().reshape(grid).numpy()
    return weights_HW


def _short(class_name: str) -> str:
    """A class name without its number: "002.Laysan_Albatross" -> "Laysan Albatross"."""
    return class_name.rpartition(".")[2].replace("_", " ")


def _readable(attribute: str) -> str:
    """An attribute's name without the benchmark's spelling: "has_wing_color::black" -> "wing color: black"."""
    return attribute.removeprefix("has_").replace("::", ": ").replace("_", " ")


def _direction(subnet: str) -> str:
    """A sub-net's short name: "attribute_to_visual" -> "A→V"."""
    return "→".join(side[0].upper() for side in subnet.split("_to_"))
