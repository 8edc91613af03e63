"""One batch on several processes: each computes the loss of the whole batch from its own share.

The loss of a batch is not the mean of the losses of its shares: shares have unequal sizes, the
self-calibration is -log of a batch mean, and a loss may compare images. So a process gathers from
the others what a loss reads of the outputs. Its own images keep their gradient. DDP averages the
gradients of the n processes, so that of the own images is n times as large.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn

from msdn_lit.errors import ConfigError

Order = tuple[int, ...]  # dimensions of a tensor from the largest stride to the smallest


class Shares(NamedTuple):
    """The shares of one batch.

    Attributes:
        rank: Rank of this process.
        sizes: Images of each process.
    """

    rank: int
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, total: int, rank: int, world_size: int) -> "Shares":
        """Returns the shares as `StepSampler` makes them: image i is of process i % world_size."""
        return cls(rank, tuple(len(range(r, total, world_size)) for r in range(world_size)))

    @classmethod
    def exchanged(cls, labels_B: Tensor, rank: int, world_size: int) -> "Shares":
        """Asks all processes for their sizes, for batches of another loader. Waits for the device.

        Args:
            labels_B: Labels of this process's images, (B,).
            rank: Rank of this process.
            world_size: Number of processes.
        """
        size = torch.tensor([len(labels_B)], device=labels_B.device)
        sizes = [torch.empty_like(size) for _ in range(world_size)]
        distributed.all_gather(sizes, size)
        return cls(rank, tuple(torch.cat(sizes).tolist()))

    def gather(self, own: Tensor) -> Tensor:
        """Returns the values of the whole batch, in the order of one process; without gradient.

        Args:
            own: Values of this process's images, (B, ...). A process without images has one.
        """
        longest, total = max(self.sizes), sum(self.sizes)
        padded = own.new_zeros(longest, *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in self.sizes]
        distributed.all_gather(parts, padded)
        if self == Shares.of(total, self.rank, len(self.sizes)):
            return torch.stack(parts, dim=1).flatten(0, 1)[:total]
        return torch.cat([part[:size] for part, size in zip(parts, self.sizes, strict=True)])

    def select(self, whole: Tensor) -> Tensor:
        """Returns the values of this process's images among those of the whole batch."""
        rank, sizes = self
        if self == Shares.of(sum(sizes), rank, len(sizes)):
            return whole[rank :: len(sizes)]
        return whole[sum(sizes[:rank]) :][: sizes[rank]]


class _Gathered(torch.autograd.Function):
    """`Shares.gather` with the gradient of the own images, times the number of processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, shares: Shares, order: Order) -> Tensor:  # noqa: ANN401 - PyTorch's
        ctx.shares, ctx.shape = shares, own.shape
        whole = shares.gather(own)  # a loss that draws like it draws in the order of the memory
        return whole.permute(order).contiguous().permute(tuple(np.argsort(order).tolist()))

    @staticmethod
    def backward(ctx: Any, whole: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        selected = ctx.shares.select(whole)
        own = whole.new_zeros(ctx.shape)
        own[: len(selected)] = selected * len(ctx.shares.sizes)
        return own, None, None


class WholeBatch:
    """Makes the outputs of a whole batch from those of the processes.

    Args:
        net: Net that maps a batch to NamedTuples. Of their tensors, those whose length is that of
            the batch are gathered. Other values, e.g. a parameter, are taken from this process.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._orders: dict[str, Order] | None = None  # of the tensors with a row for each image

    def outputs(self, outputs: Sequence[Any], inputs_B: Tensor, shares: Shares) -> list[Any]:
        """Returns outputs whose fields are gathered when they are read.

        Every process must read the same fields in the same order, as a loss does.

        Args:
            outputs: Outputs for the batch of this process.
            inputs_B: Batch of this process.
            shares: The shares of the whole batch.

        Raises:
            ConfigError: An output is no NamedTuple.
        """
        for output in outputs:
            if not hasattr(output, "_fields"):
                problem = "Several processes need a net whose outputs are NamedTuples"
                raise ConfigError(problem, found=type(output).__name__)
        if self._orders is None:
            self._orders = _orders_of_images(self.net, inputs_B)
        return [
            _on_demand(output, cache(partial(self._field, output, k, shares)))
            for k, output in enumerate(outputs)
        ]

    def _field(self, output: Any, k: int, shares: Shares, name: str) -> Any:  # noqa: ANN401
        assert self._orders is not None
        orders = self._orders

        def whole(name: str, value: Any) -> Any:  # noqa: ANN401 - of an output
            return _Gathered.apply(value, shares, orders[name]) if name in orders else value

        return _map(whole, f"{k}.{name}", getattr(output, name))


def _orders_of_images(net: nn.Module, inputs_B: Tensor) -> dict[str, Order]:
    """Returns the order in memory of each output tensor that has a row for each image, by name."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()  # BatchNorm counts no batch
    with torch.no_grad():
        one, two = (_tensors(net(inputs_B[:1].repeat_interleave(n, dim=0))) for n in (1, 2))
    for module, mode in modes:
        module.training = mode
    return {
        name: tuple(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
        for name, tensor in two.items()
        if name in one and (len(one[name]), len(tensor)) == (1, 2)
    }


def _tensors(outputs: Sequence[Any]) -> dict[str, Tensor]:
    """Returns the tensors of outputs by their names."""
    found: dict[str, Tensor] = {}

    def visit(name: str, value: Any) -> None:  # noqa: ANN401 - of an output
        if isinstance(value, Tensor) and value.ndim:
            found[name] = value

    for k, output in enumerate(outputs):
        for name, value in output._asdict().items():
            _map(visit, f"{k}.{name}", value)
    return found


def _map(function: Callable[[str, Any], Any], name: str, value: Any) -> Any:  # noqa: ANN401
    """Applies a function to the names and values inside lists, tuples and dictionaries."""
    if isinstance(value, Mapping):
        return {key: _map(function, f"{name}.{key}", each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        made = [_map(function, f"{name}.{index}", each) for index, each in enumerate(value)]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return function(name, value)


def _on_demand(output: Any, read: Callable[[str], Any]) -> Any:  # noqa: ANN401 - any NamedTuple
    """Returns an output of the same kind whose fields are `read` by their names."""
    kind: Any = type(output)
    made = _on_demand_kind(kind)(*output)
    made.read = read
    return made


@cache
def _on_demand_kind(kind: Any) -> Any:  # noqa: ANN401 - a kind of NamedTuple
    fields: tuple[str, ...] = kind._fields

    def item(self: Any, index: Any) -> Any:  # noqa: ANN401
        names = fields[index]
        return self.read(names) if isinstance(names, str) else tuple(map(self.read, names))

    members: dict[str, Any] = {
        name: property(lambda self, name=name: self.read(name))  # type: ignore[misc]
        for name in fields
    }
    members |= {"__iter__": lambda self: map(self.read, fields), "__getitem__": item}
    return type(kind.__name__, (kind,), members)


@contextmanager
def own_random_numbers(device: torch.device, *numbers: int) -> Iterator[None]:
    """Draws other random numbers in each process, and the same again when a step is repeated.

    Afterwards the generators are as before: what all processes draw in common stays in step.

    Args:
        device: Device of the process.
        *numbers: Numbers that decide what is drawn, e.g. rank and step.
    """
    on_gpu = device.type == "cuda"
    seeds = np.random.SeedSequence([torch.initial_seed(), *numbers])
    seed = int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1))
    with torch.random.fork_rng([device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield
