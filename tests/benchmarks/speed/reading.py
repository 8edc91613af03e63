"""Loading of region features, and extraction of them from images."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from msdn_lit.data.features.extraction import BackboneRegions, write_store
from msdn_lit.data.features.images import ImageFiles, ImageTransform
from msdn_lit.data.features.store import Manifest
from msdn_lit.data.samplers import UniformBatches
from msdn_lit.models.backbone import RegionBackbone
from tests.benchmarks.speed.contenders import Stopwatch, autocast
from tests.benchmarks.speed.shape import Shape
from tests.benchmarks.speed.workload import NUM_STORED, stored

PICTURE_SIZE = 500, 375  # of most images of CUB


class Loading:
    """Random batches out of a store that is in memory: the page cache, or the GPU's memory.

    Args:
        shape: Of a batch.
        device: Where training computes.
    """

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.device, self.folder, self.step = device, TemporaryDirectory(), 0
        self.gather = stored(Path(self.folder.name), shape, device)
        self.draw = UniformBatches(np.zeros(NUM_STORED, dtype=np.int64), shape.B, seed=0)

    def __call__(self) -> float:
        """Seconds of one batch."""
        self.step += 1
        watch = Stopwatch(self.device)
        self.gather(self.draw(self.step))
        return watch.lap()


class Extraction:
    """Features of made-up pictures by a net with random weights: the whole way to a store, and the bare net.

    Args:
        model_name: The backbone, by timm's name.
        image_size: Side of what it sees, in pixels.
        num_images: How many pictures are drawn.
        device: Where.
        precision: "fp32" or "bf16".
        num_workers: Processes that decode.
        batch_size: Images a forward pass.
    """

    def __init__(
        self,
        model_name: str,
        image_size: int,
        num_images: int,
        device: torch.device,
        precision: str,
        num_workers: int,
        batch_size: int = 32,
    ) -> None:
        self.folder, self.device, self.precision = TemporaryDirectory(), device, precision
        self.num_images, self.batch_size = num_images, batch_size
        paths = draw_pictures(Path(self.folder.name), num_images)
        does = ImageTransform(image_size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        images = ImageFiles(paths, does)
        self.backbone = RegionBackbone(model_name, pretrained=False).to(device)
        self.regions = BackboneRegions(
            images, self.backbone, device, precision, num_workers, skip_undecodable=False
        )
        D, H, W = self.regions.grid()
        self.manifest = Manifest({}, "", (num_images, H * W, D), (H, W), "")
        self.bare_input_B3HW = does.standardise(
            torch.zeros(batch_size, image_size, image_size, 3, device=device)
        )

    def __call__(self) -> dict[str, float]:
        """Seconds of the "whole" way, and of the "bare" net for as many images."""
        watch = Stopwatch(self.device)
        with TemporaryDirectory() as folder:
            write_store(Path(folder), self.manifest, self.regions, self.batch_size)
        whole = watch.lap()
        for _ in range(-(-self.num_images // self.batch_size)):
            with autocast(self.device, self.precision):
                self.backbone.feature_map(self.bare_input_B3HW)
        return {"whole": whole, "bare": watch.lap()}


def draw_pictures(folder: Path, number: int) -> list[Path]:
    """Writes JPEG files of CUB's usual size that take as long to decode as photographs: coarse noise, made larger."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.jpg" for index in range(number)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 255, (94, 125, 3), dtype=np.uint8))
        coarse.resize(PICTURE_SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
    return paths
