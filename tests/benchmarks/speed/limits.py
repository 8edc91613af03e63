"""What the machine can do: its rate of matrix products, and of copies."""

import torch

from tests.benchmarks.speed.contenders import Stopwatch
from tests.benchmarks.speed.shape import NUM_MAPS, Shape


class Products:
    """Seconds that the matrix products of a step take at the rate of its two large ones, alone and without allocation.

    Args:
        shape: Of the step.
        device: Where.
        precision: "fp32" or "bf16".
    """

    def __init__(self, shape: Shape, device: torch.device, precision: str) -> None:
        self.shape, self.device = shape, device
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        rows, columns = NUM_MAPS * shape.K, shape.B * shape.R
        self.queries = torch.rand(rows, shape.D, device=device, dtype=dtype)
        self.regions = torch.rand(columns, shape.D, device=device, dtype=dtype)
        self.maps = torch.rand(rows, columns, device=device, dtype=dtype)
        self.gradient = torch.empty_like(self.queries)

    def __call__(self) -> dict[str, float]:
        """Seconds of a step's products, of a forward pass's, and the rate in FLOP/s."""
        watch = Stopwatch(self.device)
        torch.mm(self.queries, self.regions.T, out=self.maps)
        forward = watch.lap()
        torch.mm(self.maps, self.regions, out=self.gradient)
        backward = watch.lap()
        large = 2.0 * NUM_MAPS * self.shape.K * self.shape.D * self.shape.B * self.shape.R
        step = self.shape.step_flops() / (2 * large) * (forward + backward)
        return {
            "step": step,
            "forward": self.shape.forward_flops() / large * forward,
            "rate": large / forward,
        }


class Copies:
    """Seconds of a copy of as many bytes as the regions of a batch have.

    Args:
        shape: Of the batch.
        device: Where.
    """

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.device = device
        self.source = torch.ones(shape.region_bytes(), dtype=torch.uint8, device=device)
        self.target = torch.empty_like(self.source)

    def __call__(self) -> float:
        """Seconds of one copy."""
        watch = Stopwatch(self.device)
        self.target.copy_(self.source)
        return watch.lap()
