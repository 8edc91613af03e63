"""CUDA graphs of the loss of a batch and of its gradient: compile=cuda_graph."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from msdn_lit.errors import ConfigError

# Batches whose gradient is compared with that without graphs: the recorded one, and the next one,
# which has other values and other weights.
_NUM_CHECKED = 2
# Largest accepted difference of a weight's gradient, as a share of its norm. Kernels in a graph may
# be others with other rounding.
_TOLERANCE, _TOLERANCE_AUTOCAST = 0.01, 0.05


class CUDAGraph:
    """Computes a loss and its gradient with two CUDA graphs instead of hundreds of kernel launches.

    `torch.cuda.make_graphed_callables` records the graphs with the first batch. Nothing is
    compiled: the graphs run the kernels of a training without them. A batch of another shape is
    computed without the graphs. The gradients of the first two batches are compared with those
    without graphs.

    Args:
        loss_of_batch: Method of a task that maps a batch to a NamedTuple of `loss` and of terms to
            log.
    """

    def __init__(self, loss_of_batch: Callable[..., Any]) -> None:
        self._loss_of_batch = loss_of_batch
        self._step: _Step | None = None
        self._shapes: list[torch.Size] = []
        self._num_checked = 0

    def __call__(self, *batch: Tensor) -> Any:  # noqa: ANN401 - the loss's own NamedTuple
        """Computes the terms of the loss; the next call overwrites them.

        Args:
            *batch: Regions (B, R, D) and labels (B,).

        Raises:
            ConfigError: The batch is not on a CUDA GPU, several processes train one model, or the
                graphs compute another gradient.
        """
        shapes = [part.shape for part in batch]
        if self._step is None:
            _check_device(batch[0].device)
            self._step, self._shapes = _record(self._loss_of_batch, batch), shapes
        if shapes != self._shapes:
            return self._loss_of_batch(*batch)
        if self._num_checked < _NUM_CHECKED and torch.is_grad_enabled():
            _check_gradients(self._step, self._loss_of_batch, batch)
            self._num_checked += 1
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
    with _same_random_numbers(batch), autocast:
        step = _Step(loss_of_batch)
        torch.cuda.make_graphed_callables(step, own, allow_unused_input=True)  # changes the step
    return step


def _check_gradients(
    step: _Step, loss_of_batch: Callable[..., Any], batch: tuple[Tensor, ...]
) -> None:
    """Compares the gradients of the graphs with those without graphs.

    Raises:
        ConfigError: They differ.
    """
    weights = {name: each for name, each in step.named_parameters() if each.requires_grad}

    def gradients(compute: Callable[..., Any]) -> dict[str, Tensor]:
        with _same_random_numbers(batch):
            loss = compute(*batch).loss.sum()  # of several seeds, too
            found = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        return dict(zip(weights, found, strict=True))

    def graphed(*parts: Tensor) -> Any:  # noqa: ANN401
        return step.kind(*step(*parts))

    expected, found = gradients(loss_of_batch), gradients(graphed)
    norms = {name: each.norm().item() for name, each in expected.items()}
    smallest = 1e-3 * math.hypot(*norms.values())  # a gradient below is rounding errors
    is_autocast = torch.is_autocast_enabled(batch[0].device.type)
    tolerance = _TOLERANCE_AUTOCAST if is_autocast else _TOLERANCE
    for name, norm in norms.items():
        difference = (found[name] - expected[name]).norm().item() / max(norm, smallest)
        if not difference <= tolerance:  # NaN, too
            raise ConfigError(
                "compile=cuda_graph computes another gradient than without it",
                expected=f"a difference of at most {tolerance:.0%}",
                found=f"{difference:.1%} of {name}",
                action="Omit compile.",
            )


def _same_random_numbers(batch: tuple[Tensor, ...]) -> AbstractContextManager[None]:
    """Restores the generators of random numbers, of the CPU and of the batch's GPU, at its end."""
    return torch.random.fork_rng({part.device for part in batch if part.is_cuda})
