"""Semi-synthetic regions: drawn from the real class attributes of a benchmark whose images are not at hand.

They put a recipe's settings, samplers, counts and tables to the test; scores on them say nothing of real images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msdn_lit.data.features.extraction import RegionBatch
from msdn_lit.data.features.store import Manifest
from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import ConfigError


@dataclass(frozen=True)
class AttributeRegions:
    """A source of regions that looks at no image: each region shows a few attributes of its image's class.

    Every attribute has a direction, a random vector of length one. A region is the sum of the directions of the
    attributes that it shows, plus Gaussian noise. An image's regions follow from the seed and its row alone, so any
    number of processes, in batches of any size, make the same bytes.

    Attributes:
        class_attributes_CK: As in the split file, (C, K). An attribute is shown with a probability proportional to its
            value in the class; one that is negative (AWA2's "not rated") never.
        labels_N: Class of each image, (N,).
        num_channels: D.
        grid_side: Regions on a side of the square grid; its square is R.
        attributes_per_region: Draws for each region; the same attribute may come twice.
        background: Share of the regions that show nothing.
        noise: Root mean square length of a region's noise; the directions have length one.
        seed: Of the directions and of all draws.

    Raises:
        ConfigError: A number is out of its range.
    """

    class_attributes_CK: NDArray[np.float32]
    labels_N: IntArray
    num_channels: int
    grid_side: int
    attributes_per_region: int
    background: float
    noise: float
    seed: int

    def __post_init__(self) -> None:
        smallest = min(self.num_channels, self.grid_side, self.attributes_per_region)
        if (
            smallest < 1
            or not 0 <= self.background <= 1
            or not 0 <= self.noise <= 1000
            or self.seed < 0
        ):
            expected = "sizes from 1, background from 0 to 1, noise from 0 to 1000, seed from 0"
            raise ConfigError("features.regions is out of range", expected=expected)

    @cached_property
    def directions_KD(self) -> NDArray[np.float64]:
        """What each attribute adds to a region that shows it, unit rows, (K, D)."""
        K = self.class_attributes_CK.shape[1]
        drawn_KD = np.random.default_rng(self.seed).standard_normal((K, self.num_channels))
        unit_KD: NDArray[np.float64] = drawn_KD / np.linalg.norm(drawn_KD, axis=1, keepdims=True)
        return unit_KD

    def manifest(
        self, source: dict[str, Any], images_sha256: str, versions: dict[str, str]
    ) -> Manifest:
        """The manifest of the store of these regions; in place of weights, it identifies attributes and labels."""
        side, N = self.grid_side, len(self.labels_N)
        return Manifest(
            source=source,
            images_sha256=images_sha256,
            shape=(N, side * side, self.num_channels),
            grid=(side, side),
            weights_sha256=sha256(
                self.class_attributes_CK.tobytes() + self.labels_N.tobytes()
            ).hexdigest(),
            versions=versions,
            computation={"semi_synthetic": "drawn from class attributes, without images"},
        )

    def batches(self, claims: Iterator[range]) -> Iterator[RegionBatch]:
        """Draws the claimed batches, in order."""
        for rows in claims:
            yield RegionBatch(rows, np.stack([self.image(row) for row in rows]))

    def image(self, row: int) -> NDArray[np.float16]:
        """Draws the regions of one image, (R, D)."""
        rng = np.random.default_rng(
            (self.seed, row + 1)
        )  # (seed, 0) would be the directions' own stream
        R, K = self.grid_side**2, len(self.directions_KD)
        chances_K = self._cumulative_CK[self.labels_N[row]]
        shown_RM = np.searchsorted(
            chances_K, rng.random((R, self.attributes_per_region)), side="right"
        )
        shown_RM[rng.random(R) < self.background] = K
        noise_RD = (
            rng.standard_normal((R, self.num_channels)) * self.noise / np.sqrt(self.num_channels)
        )
        regions_RD: NDArray[np.float16] = (
            self._and_nothing[shown_RM].sum(axis=1) + noise_RD
        ).astype(np.float16)
        return regions_RD

    @cached_property
    def _and_nothing(self) -> NDArray[np.float64]:
        """The directions, and zeros for index K: background, and a class without any attribute."""
        return np.pad(self.directions_KD, ((0, 1), (0, 0)))

    @cached_property
    def _cumulative_CK(self) -> NDArray[np.float64]:
        """Of each class, the probabilities of its attributes, added up; zeros where it has none."""
        sums_CK = np.maximum(self.class_attributes_CK, 0).cumsum(axis=1, dtype=np.float64)
        parts_CK: NDArray[np.float64] = sums_CK / np.where(sums_CK[:, -1:] > 0, sums_CK[:, -1:], 1)
        return parts_CK
