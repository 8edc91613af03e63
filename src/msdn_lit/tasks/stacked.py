"""Training several zero-shot models at once: their weights are stacked, and one product serves all of them.

Letters besides the usual: S models. (In this file S is no accuracy.)
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from msdn_lit.errors import ConfigError
from msdn_lit.tasks.zsl import ClosedForm, LossOfBatch, ZSLTask, detached


class StackedNet(nn.Module):
    """Nets of one kind whose weights are stacked along a new first dimension.

    Args:
        nets: Of equal shapes; each keeps its slice of the stacked weights as its own, so that it learns, too.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        stacked, _ = stack_module_state(list(nets))
        self.names = tuple(stacked)
        self.weights = nn.ParameterList(stacked.values())
        self.nets = tuple(nets)  # a tuple, so that their parameters are not this module's

    def share(self) -> None:
        """Makes the nets' weights slices of the stacked ones, wherever those are now."""
        for name, weight in zip(self.names, self.weights, strict=True):
            for net, slice_of_net in zip(self.nets, weight.detach(), strict=True):
                net.get_parameter(name).data = slice_of_net

    def train(self, mode: bool = True) -> "StackedNet":
        """Sets every net to training or evaluation."""
        for net in self.nets:
            net.train(mode)
        return super().train(mode)

    def forward(self, regions_nBRD: Tensor) -> Any:  # noqa: ANN401 - what one net gives
        """Each net's outputs of its own regions, every tensor with S before its shape."""
        weights = dict(zip(self.names, self.weights, strict=True))
        return vmap(self._one, randomness="different")(weights, regions_nBRD)

    def _one(self, weights: dict[str, Tensor], regions_BRD: Tensor) -> Any:  # noqa: ANN401
        return functional_call(self.nets[0], weights, (regions_BRD,))


class StackedTask(ZSLTask):
    """Trains the models of several tasks on batches that hold the images of one after those of the other.

    Each model learns what it would learn alone: nothing is shared but the program, and gradients do not mix.

    Args:
        tasks: One for each model; they differ in their initial weights alone.
        compile: As of a ZSLTask.

    Raises:
        ConfigError: Such a net is solved instead of trained.
    """

    net: StackedNet

    def __init__(
        self, tasks: Sequence[ZSLTask], compile: Callable[[LossOfBatch], LossOfBatch] | None = None
    ) -> None:
        first = tasks[0]
        if isinstance(first.net, ClosedForm):
            raise ConfigError(
                "protocol.seeds_in_parallel: a net with a closed form is not trained", expected=1
            )
        super().__init__(
            StackedNet([task.net for task in tasks]),
            first.loss,
            first.metric,
            first.optimizer,
            fusion=first.fusion,
            calibration=first.calibration,
            stage=first.stage,
            scheduler=first.scheduler,
            compile=compile,
        )
        self.tasks = tuple(tasks)

    def on_fit_start(self) -> None:
        """Puts the models where the stacked weights are."""
        for task in self.tasks:
            task.to(self.device)
        self.net.share()

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> dict[str, Any]:  # type: ignore[override]
        """Computes the sum of the losses, regions (S * B, R, D) and labels (S * B,).

        Returns:
            The "loss", and in steps that are logged each model's "terms", (S,) each.
        """
        terms = self.loss_of_batch(*batch[:2])
        return {"loss": terms.loss.sum()} | ({"terms": detached(terms)} if self.is_logged else {})

    def _loss_of_batch(self, regions_BRD: Tensor, labels_B: Tensor) -> Any:  # noqa: ANN401
        regions_nBRD, labels_nB = (
            part.reshape(len(self.tasks), -1, *part.shape[1:]) for part in (regions_BRD, labels_B)
        )
        return vmap(self.loss)([output.logits_BC for output in self.net(regions_nBRD)], labels_nB)

    def validation_step(
        self, batch: tuple[Tensor, ...], batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Counts one batch of any evaluated split for every model.

        Returns:
            Logits of each model's sub-nets without margin, (S, number of sub-nets, B, C).
        """
        return torch.stack(
            [task.validation_step(batch, batch_idx, dataloader_idx) for task in self.tasks]
        )

    def on_validation_epoch_end(self) -> None:
        """Leaves the scores in the tasks' metrics: whoever records them computes and resets them."""
