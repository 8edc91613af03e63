"""Training and evaluating one zero-shot model, as Lightning sees it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from msdn_lit.errors import ConfigError, one_line
from msdn_lit.metrics import ZSLMetric
from msdn_lit.metrics.functional import fuse_logits
from msdn_lit.models.backbones.end_to_end import EndToEnd
from msdn_lit.models.base import output_names
from msdn_lit.tasks.whole_batch import Shares, WholeBatch, own_random_numbers

LossOfBatch = Callable[[Tensor, Tensor], Any]


@runtime_checkable
class ClosedForm(Protocol):
    """A net that is solved instead of trained."""

    def fit_closed_form(self, batches: Iterable[tuple[Tensor, ...]], seen: Tensor) -> None:
        """Sets the weights from one pass over regions (B, R, D) and labels (B,)."""


class ZSLTask(lightning.LightningModule):
    """Net, loss, metric and optimizer of one run.

    Args:
        net: Net that maps regions (B, R, D) to a tuple of outputs with `logits_BC`, e.g.
            `SubNetOutput`.
        loss: Loss of (outputs, labels); returns a NamedTuple of `loss` and of other terms to log.
        metric: Metric of fused logits.
        optimizer: Makes the optimizer from the parameters, or from groups of them.
        fusion: Weight of each output in the prediction.
        calibration: Number that the prediction adds to unseen and subtracts from seen logits.
        stage: Prefix of the logged scores: "test" or "val", after the splits that are evaluated.
        scheduler: Makes the schedule of the learning rate from the optimizer, in steps; None keeps
            it constant.
        compile: Compiles the function that computes the loss of a batch; None does not compile.
        backbone_lr: Learning rate of the backbone, if the net includes one; None for that of the
            rest.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: nn.Module,
        metric: ZSLMetric,
        optimizer: Callable[..., Optimizer],
        *,
        fusion: Sequence[float],
        calibration: float,
        stage: str,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        compile: Callable[[LossOfBatch], LossOfBatch] | None = None,
        backbone_lr: float | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        self.metric = metric
        self.optimizer = optimizer
        self.fusion = tuple(fusion)
        self.calibration = calibration
        self.stage = stage
        self.scheduler = scheduler
        self.backbone_lr = backbone_lr
        self.loaded_step = 0  # training steps of weights that were loaded to be evaluated
        self.loss_of_batch: LossOfBatch = (
            compile(self._loss_of_batch) if compile else self._loss_of_batch
        )
        # Of several processes. Their communication is not compiled.
        self._own_outputs: Callable[[Tensor], Any] = (
            compile(self._outputs) if compile else self._outputs  # type: ignore[arg-type,assignment]
        )
        self._whole_batch = WholeBatch(net)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the net's outputs."""
        return output_names(self.net)

    @property
    def global_step(self) -> int:
        """Training steps of the weights: the trainer's, or those of a loaded checkpoint."""
        return super().global_step or self.loaded_step

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Every parameter of the net, and the schedule of the learning rate.

        They are in one group, or in two if a part of the backbone is trained.

        Raises:
            ConfigError: The optimizer or the scheduler refuses its settings.
        """
        try:
            optimizer = self.optimizer(self._trained_parameters())
            scheduler = self.scheduler(optimizer) if self.scheduler else None
        except (TypeError, ValueError) as error:
            problem = f"The optimizer or the scheduler refuses its config ({one_line(error)})"
            raise ConfigError(problem) from error
        if scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _trained_parameters(self) -> Iterable[Any]:
        if isinstance(self.net, EndToEnd):
            return self.net.parameter_groups(self.backbone_lr)
        return self.net.parameters()

    def on_fit_start(self) -> None:
        """Solves a net that has a closed form; nothing is left to train then."""
        if isinstance(self.net, ClosedForm):
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            self.net.fit_closed_form(data.train_eval_dataloader(), self.metric.seen)
            self.trainer.limit_train_batches = 0

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Computes the loss of one batch of regions (B, R, D) and labels (B,)."""
        regions_BRD, labels_B, *_ = batch
        if self.trainer.world_size > 1:
            terms = self._loss_of_whole_batch(regions_BRD, labels_B, getattr(batch, "total", None))
        else:
            terms = self.loss_of_batch(regions_BRD, labels_B)
        if self.is_logged:  # what Lightning would only forget costs it 1 to 2 ms a step
            self.log_dict({f"train/{name}": value for name, value in detached(terms).items()})
        loss: Tensor = terms.loss
        return loss

    @property
    def is_logged(self) -> bool:
        """Whether the loggers take the numbers of this step."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (self.global_step + 1) % every == 0

    def _loss_of_batch(self, regions_BRD: Tensor, labels_B: Tensor) -> Any:  # noqa: ANN401 - the loss's own NamedTuple
        return self.loss(self._outputs(regions_BRD), labels_B)

    def _outputs(self, regions_BRD: Tensor) -> Any:  # noqa: ANN401 - the net's NamedTuples
        return self.net(regions_BRD)

    def _loss_of_whole_batch(self, regions_BRD: Tensor, labels_B: Tensor, total: int | None) -> Any:  # noqa: ANN401 - the loss's own NamedTuple
        """Computes the loss of all processes' images from the regions and labels of this one.

        Args:
            regions_BRD: Regions, (B, R, D).
            labels_B: Class ids, (B,).
            total: Images of all processes; None if the loader does not tell.
        """
        place = self.global_rank, self.trainer.world_size
        shares = Shares.exchanged(labels_B, *place) if total is None else Shares.of(total, *place)
        with own_random_numbers(self.device, self.global_rank, self.global_step):
            outputs = self._own_outputs(regions_BRD)
            outputs = self._whole_batch.outputs(outputs, regions_BRD, shares)
        return self.loss(outputs, shares.gather(labels_B))

    def regions(self, inputs: Tensor) -> Tensor:
        """Returns the regions (B, R, D) of a batch, which may be images."""
        return self.net.regions(inputs) if isinstance(self.net, EndToEnd) else inputs

    def predict_logits(self, regions_BRD: Tensor) -> Tensor:
        """Fused and calibrated logits, (B, C)."""
        return self._fuse([output.logits_BC for output in self.net(regions_BRD)])

    def _fuse(self, logits: Sequence[Tensor]) -> Tensor:
        return fuse_logits(logits, self.fusion, self.metric.unseen, self.calibration)

    def on_validation_epoch_start(self) -> None:
        """Refuses to score a model that has diverged.

        Raises:
            ConfigError: A weight is NaN or infinite.
        """
        if not all(torch.isfinite(weight).all() for weight in self.net.parameters()):
            action = "Lower optimizer.lr, or look at train/loss in the run's metrics."
            raise ConfigError(
                f"Training has diverged by step {self.global_step}: a weight is NaN or infinite",
                action=action,
            )

    def validation_step(
        self, batch: tuple[Tensor, ...], batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Adds one batch of an evaluated split to the metric.

        Returns:
            Logits of each output of the net without margin, (O, B, C); callbacks read them.
        """
        regions_BRD, labels_B, *_ = batch
        logits_OBC = torch.stack([output.logits_BC for output in self.net(regions_BRD)])
        self.count(logits_OBC, labels_B)
        return logits_OBC

    def count(self, logits_OBC: Tensor, labels_B: Tensor) -> None:
        """Adds the logits of the net's outputs and the labels of a batch to the metric."""
        self.metric.update(self._fuse(list(logits_OBC)), labels_B)

    def on_validation_epoch_end(self) -> None:
        """Logs the scores of all evaluated splits together."""
        scores = self.metric.compute()._asdict().items()
        self.log_dict(
            {
                f"{self.stage}/{name}": value.float()
                for name, value in scores
                if not torch.isnan(value)
            }
        )
        self.metric.reset()


def detached(terms: Any) -> dict[str, Tensor]:  # noqa: ANN401 - the loss's own NamedTuple
    """Copies the values of a loss by name, since a CUDA graph overwrites them in the next step."""
    return {name: value.detach().clone() for name, value in terms._asdict().items()}
