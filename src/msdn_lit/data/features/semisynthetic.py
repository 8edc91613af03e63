"""Semi-synthetic regions, generated from the real class attributes of a benchmark without images.

They test a recipe's settings, samplers, counts and tables; scores on them say nothing about real
images.
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
    """Source of generated regions; each region shows a few attributes of its image's class.

    Every attribute has a direction, a random vector of length one. A region is the sum of the
    directions of its attributes, plus Gaussian noise. An image's regions depend on the seed and its
    row only, so any number of processes, with batches of any size, generate the same bytes.

    Attributes:
        class_attributes_CK: Class semantic vectors as in the split file, (C, K). The probability of
            an attribute is proportional to its value in the class; it is zero for a negative value
            (AWA2's "not rated").
        labels_N: Class of each image, (N,).
        num_channels: D.
        grid_side: Number of rows and of columns of the region grid; R is its square.
        attributes_per_region: Number of attributes drawn per region; an attribute may be drawn
            twice.
        background: Fraction of regions without any attribute.
        noise: Root mean square length of a region's noise; the directions have length one.
        seed: Random seed of directions and regions.

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
            raise ConfigError(
                "features.regions is out of range",
                expected="sizes from 1, background from 0 to 1, noise from 0 to 1000, seed from 0",
            )

    @cached_property
    def directions_KD(self) -> NDArray[np.float64]:
        """Direction of each attribute, unit rows, (K, D)."""
        K = self.class_attributes_CK.shape[1]
        random_KD = np.random.default_rng(self.seed).standard_normal((K, self.num_channels))
        unit_KD: NDArray[np.float64] = random_KD / np.linalg.norm(random_KD, axis=1, keepdims=True)
        return unit_KD

    def manifest(
        self, source: dict[str, Any], images_sha256: str, versions: dict[str, str]
    ) -> Manifest:
        """Returns the manifest of a store of these regions.

        Its hash of the weights is a hash of class attributes and labels.

        Args:
            source: Name and settings of the regions.
            images_sha256: Hash of the image list.
            versions: Versions of the libraries.
        """
        side, N = self.grid_side, len(self.labels_N)
        content = self.class_attributes_CK.tobytes() + self.labels_N.tobytes()
        return Manifest(
            source=source,
            images_sha256=images_sha256,
            shape=(N, side * side, self.num_channels),
            grid=(side, side),
            weights_sha256=sha256(content).hexdigest(),
            versions=versions,
            computation={"semi_synthetic": "drawn from class attributes, without images"},
        )

    def batches(self, claims: Iterator[range]) -> Iterator[RegionBatch]:
        """Generates the claimed batches, in order."""
        for rows in claims:
            yield RegionBatch(rows, np.stack([self.image(row) for row in rows]))

    def image(self, row: int) -> NDArray[np.float16]:
        """Generates the regions of one image, (R, D)."""
        rng = np.random.default_rng((self.seed, row + 1))  # (seed, 0) is used for the directions
        R, K, D = self.grid_side**2, len(self.directions_KD), self.num_channels
        chances_K = self._cumulative_CK[self.labels_N[row]]
        shown_RM = np.searchsorted(
            chances_K, rng.random((R, self.attributes_per_region)), side="right"
        )
        shown_RM[rng.random(R) < self.background] = K
        noise_RD = rng.standard_normal((R, D)) * self.noise / np.sqrt(D)
        sums_RD = self._directions_and_zeros[shown_RM].sum(axis=1)
        regions_RD: NDArray[np.float16] = (sums_RD + noise_RD).astype(np.float16)
        return regions_RD

    @cached_property
    def _directions_and_zeros(self) -> NDArray[np.float64]:
        """Directions, and zeros at index K for background and for classes without attributes."""
        return np.pad(self.directions_KD, ((0, 1), (0, 0)))

    @cached_property
    def _cumulative_CK(self) -> NDArray[np.float64]:
        """Cumulative probabilities of each class's attributes; zeros if a class has none."""
        sums_CK = np.maximum(self.class_attributes_CK, 0).cumsum(axis=1, dtype=np.float64)
        parts_CK: NDArray[np.float64] = sums_CK / np.where(sums_CK[:, -1:] > 0, sums_CK[:, -1:], 1)
        return parts_CK
