"""Training several zero-shot models at once, with stacked weights.

Letter besides the usual ones: n models, one for each seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from msdn_lit.errors import ConfigError
from msdn_lit.models import SubNetOutput
from msdn_lit.tasks.zsl import ClosedForm, LossOfBatch, ZSLTask, detached

Fields = dict[str, Tensor]  # the tensors of an output by name; vmap accepts no None


class StackedNet(nn.Module):
    """Nets of one kind whose weights are stacked along a new first dimension.

    Args:
        nets: Nets of equal shapes. Each keeps its slice of the stacked weights, so that it is
            trained, too.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        stacked, _ = stack_module_state(list(nets))
        self.names = tuple(stacked)
        self.weights = nn.ParameterList(stacked.values())
        self.nets = tuple(nets)  # a tuple, so that their parameters are not this module's

    def share(self) -> None:
        """Makes the nets' weights slices of the stacked ones, on whichever device those are."""
        for name, weight in zip(self.names, self.weights, strict=True):
            for net, slice_of_net in zip(self.nets, weight.detach(), strict=True):
                net.get_parameter(name).data = slice_of_net

    def train(self, mode: bool = True) -> "StackedNet":
        """Sets every net to training or evaluation mode."""
        for net in self.nets:
            net.train(mode)
        return super().train(mode)

    def forward(self, regions_nBRD: Tensor) -> tuple[SubNetOutput, ...]:
        """Computes the outputs of each net for its own regions.

        Every tensor has the dimension of the n nets before its usual shape.
        """
        return tuple(SubNetOutput(**fields) for fields in self.fields(regions_nBRD))

    def fields(self, regions_nBRD: Tensor) -> tuple[Fields, ...]:
        """Computes the same outputs as dictionaries of tensors."""
        weights = dict(zip(self.names, self.weights, strict=True))
        computed: tuple[Fields, ...] = vmap(self._one, randomness="different")(
            weights, regions_nBRD
        )
        return computed

    def logits(self, regions_BRD: Tensor) -> Tensor:
        """Computes the logits of each net's outputs for the same regions, (n, O, B, C)."""

        def of_one(weights: dict[str, Tensor]) -> Tensor:
            return torch.stack([fields["logits_BC"] for fields in self._one(weights, regions_BRD)])

        computed: Tensor = vmap(of_one)(dict(zip(self.names, self.weights, strict=True)))
        return computed

    def _one(self, weights: dict[str, Tensor], regions_BRD: Tensor) -> tuple[Fields, ...]:
        # Lightning restores the mode of registered modules after an evaluation: not of the nets.
        if self.nets[0].training != self.training:
            self.train(self.training)
        outputs = functional_call(self.nets[0], weights, (regions_BRD,))
        return tuple(
            {name: value for name, value in output._asdict().items() if value is not None}
            for output in outputs
        )


class StackedTask(ZSLTask):
    """Trains n models at once; a batch concatenates the n models' batches.

    Each model learns what it would learn alone: nothing is shared but the program, and gradients do
    not mix.

    Args:
        tasks: One task for each model; they differ only in their initial weights.
        compile: Compiles the function that computes the loss of a batch; None does not compile.

    Raises:
        ConfigError: The net has a closed form, or says that it cannot be stacked.
    """

    net: StackedNet

    def __init__(
        self, tasks: Sequence[ZSLTask], compile: Callable[[LossOfBatch], LossOfBatch] | None = None
    ) -> None:
        first = tasks[0]
        if isinstance(first.net, ClosedForm):
            problem = "protocol.seeds_in_parallel: a net with a closed form is not trained"
            raise ConfigError(problem, expected=1)
        if not getattr(first.net, "can_be_stacked", True):
            problem = "protocol.seeds_in_parallel: this net cannot train several seeds at once"
            raise ConfigError(problem, expected=1)
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
        """Moves the models to the device of the stacked weights."""
        for task in self.tasks:
            task.to(self.device)
        self.net.share()

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> dict[str, Any]:  # type: ignore[override]
        """Computes the sum of the losses for regions (n * B, R, D) and labels (n * B,).

        Returns:
            The "loss", and in steps that are logged each model's "terms", (n,) each.
        """
        terms = self.loss_of_batch(*batch[:2])
        return {"loss": terms.loss.sum()} | ({"terms": detached(terms)} if self.is_logged else {})

    def _loss_of_batch(self, regions_BRD: Tensor, labels_B: Tensor) -> Any:  # noqa: ANN401
        regions_nBRD, labels_nB = (
            part.reshape(len(self.tasks), -1, *part.shape[1:]) for part in (regions_BRD, labels_B)
        )
        return vmap(self._loss_of_fields)(self.net.fields(regions_nBRD), labels_nB)

    def _loss_of_fields(self, outputs: tuple[Fields, ...], labels_B: Tensor) -> Any:  # noqa: ANN401
        return self.loss([SubNetOutput(**fields) for fields in outputs], labels_B)

    def validation_step(
        self, batch: tuple[Tensor, ...], batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Counts one batch of any evaluated split for every model.

        Returns:
            Logits of each model's outputs without margin, (n, O, B, C).
        """
        regions_BRD, labels_B, *_ = batch
        logits_nOBC = self.net.logits(regions_BRD)
        for task, logits_OBC in zip(self.tasks, logits_nOBC, strict=True):
            task.count(logits_OBC, labels_B)
        return logits_nOBC

    def on_validation_epoch_end(self) -> None:
        """Does nothing: the callback that records the models computes and resets their metrics."""
