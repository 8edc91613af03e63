"""Sizes of what is measured; without PyTorch, so that a command's help need not wait for it."""

from dataclasses import dataclass

NUM_MAPS = 4  # of MSDN as released


@dataclass(frozen=True)
class Shape:
    """Sizes of a step; by default CUB's, with a ResNet-101 at 448 px. Letters as everywhere."""

    B: int = 50
    R: int = 196
    D: int = 2048
    K: int = 312
    C: int = 200
    E: int = 300

    @property
    def num_seen(self) -> int:
        """Three quarters of the classes, as on CUB."""
        return max(1, 3 * self.C // 4)

    def forward_flops(self) -> float:
        """Of the matrix products of one batch: the queries, and their product with the regions."""
        return 2.0 * NUM_MAPS * self.K * self.D * (self.E + self.B * self.R)

    def step_flops(self) -> float:
        """Of the matrix products of a training step: the regions need no gradient, queries and weights do."""
        return 2.0 * NUM_MAPS * self.K * self.D * (3 * self.E + 2 * self.B * self.R)

    def region_bytes(self) -> int:
        """Of the regions of one batch as they are stored, fp16."""
        return 2 * self.B * self.R * self.D
