"""From image files to a feature store."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from msdn_lit.data.feature_store import FeatureStoreWriter, Manifest, hash_image_list
from msdn_lit.data.images import ImageFiles
from msdn_lit.errors import DataError

Batches = Iterable[Tensor | DataError]


class Backbone(Protocol):
    """What extraction needs of a backbone."""

    def feature_map(self, images_B3HW: Tensor) -> Tensor:
        """Computes feature maps, (B, D, H, W)."""

    def weights_sha256(self) -> str:
        """Identifies the weights."""


def extract_store(
    folder: Path,
    images: ImageFiles,
    backbone: Backbone,
    *,
    relative_paths: Sequence[str],
    source: dict[str, Any],
    versions: dict[str, str],
    batch_size: int,
    num_workers: int,
    device: torch.device,
    progress: Callable[[Batches], Batches] = iter,
) -> None:
    """Runs every image through the backbone, in order, and writes the regions as a store; on failure, nothing stays.

    Args:
        folder: Where the store shall be.
        images: What to extract.
        backbone: On `device`.
        relative_paths: The images' names for the manifest, in the same order.
        source: Name, backbone and transform for the manifest.
        versions: Library versions for the manifest.
        batch_size: Images per forward pass; it changes results by rounding at most.
        num_workers: Processes that decode.
        device: Where the backbone computes.
        progress: Wraps the iteration over batches, for a progress bar.

    Raises:
        DataError: An image is missing or does not decode (the message names it), or a feature does not fit fp16.
    """
    probe = images[0]
    if isinstance(probe, DataError):
        raise probe
    _, D, H, W = backbone.feature_map(probe[None].to(device)).shape
    manifest = Manifest(
        source=source,
        images_sha256=hash_image_list(relative_paths),
        shape=(len(images), H * W, D),
        grid=(H, W),
        weights_sha256=backbone.weights_sha256(),
        versions=versions,
    )
    loader = DataLoader(images, batch_size=batch_size, num_workers=num_workers, collate_fn=_stack)
    with FeatureStoreWriter(folder, manifest) as store:
        for batch in progress(loader):
            if isinstance(batch, DataError):
                raise batch
            maps_BDHW = backbone.feature_map(batch.to(device, non_blocking=True))
            regions_BRD = maps_BDHW.flatten(2).transpose(1, 2)
            store.append(regions_BRD.to("cpu", torch.float16).contiguous().numpy())


def _stack(images: list[Tensor | DataError]) -> Tensor | DataError:
    failure = next((image for image in images if isinstance(image, DataError)), None)
    return failure if failure is not None else torch.stack(cast(list[Tensor], images))
