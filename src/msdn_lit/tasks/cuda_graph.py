"""CUDA graphs of the loss of a batch and of its gradient: compile=cuda_graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from msdn_lit.errors import ConfigError


class CUDAGraph:
    """Computes a loss and its gradient with two CUDA graphs instead of hundreds of kernel launches.

    `torch.cuda.make_graphed_callables` records the graphs with the first batch. Nothing is
    compiled: the graphs run the kernels of a training without them. A batch of another shape is
    computed without the graphs.

    Args:
        loss_of_batch: Method of a task that maps a batch to a NamedTuple of `loss` and of terms to
            log.
    """

    def __init__(self, loss_of_batch: Callable[..., Any]) -> None:
        self._loss_of_batch = loss_of_batch
        self._step: _Step | None = None
        self._shapes: list[torch.Size] = []

    def __call__(self, *batch: Tensor) -> Any:  # noqa: ANN401 - the loss's own NamedTuple
        """Computes the terms of the loss; the next call overwrites them.

        Args:
            *batch: Regions (B, R, D) and labels (B,).

        Raises:
            ConfigError: The batch is not on a CUDA GPU, or several processes train one model.
        """
        shapes = [part.shape for part in batch]
        if self._step is None:
            _check_device(batch[0].device)
            self._step, self._shapes = _record(self._loss_of_batch, batch), shapes
        if shapes != self._shapes:
            return self._loss_of_batch(*batch)
        return self._step.kind(*self._step(*batch))


class _Step(nn.Module):
    """The loss of a batch as a module that has the weights of the task."""

    kind: type = tuple  # of the terms

    def __init__(self, loss_of_batch: Any) -> None:  # noqa: ANN401 - method of a task
        super().__init__()
        self.net, self.loss = loss_of_batch.__self__.net, loss_of_batch.__self__.loss
        self.loss_of_batch = loss_of_batch

    def forward(self, *batch: Tensor) -> tuple[Tensor, ...]:
        terms = self.loss_of_batch(*batch)
        self.kind = type(terms)
        values = terms._asdict().items()
        return tuple(value if name == "loss" else value.detach() for name, value in values)


def _check_device(device: torch.device) -> None:
    if device.type != "cuda":
        problem = "CUDA graphs need a CUDA GPU"
        raise ConfigError(problem, found=device.type, action="Use trainer=gpu, or omit compile.")
    if torch.distributed.is_initialized():
        problem = "CUDA graphs are for one process, and several train one model"
        raise ConfigError(problem, action="Use compile=default.")


def _record(loss_of_batch: Callable[..., Any], batch: tuple[Tensor, ...]) -> _Step:
    """Records the graphs; the random number generators are afterwards as they were."""
    autocast = torch.autocast(
        "cuda",
        dtype=torch.get_autocast_dtype("cuda"),
        enabled=torch.is_autocast_enabled("cuda"),
        cache_enabled=False,  # a graph cannot have the weights that an earlier step has cast
    )
    own = tuple(part.clone() for part in batch)  # every later batch is copied into these
    devices = {part.device for part in own if part.is_cuda}
    with torch.random.fork_rng(devices), autocast:
        step = _Step(loss_of_batch)
        torch.cuda.make_graphed_callables(step, own, allow_unused_input=True)  # changes the step
    return step
