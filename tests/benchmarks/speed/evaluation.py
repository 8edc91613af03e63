"""Evaluation of all test images, and of cached logits."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from msdn_lit.data.batches import BatchLoader, SplitDataset
from msdn_lit.metrics.curve import scores_at, seen_unseen_curve
from msdn_lit.metrics.functional import fuse_logits
from tests.benchmarks.speed import workload
from tests.benchmarks.speed.release import ReleaseOrder
from tests.benchmarks.speed.timing import Stopwatch, TimedProcess, compare, interleave
from tests.benchmarks.speed.training import products

BATCH_SIZE = 64
NUM_CALIBRATIONS = 100


def lightning_evaluation(shape, device, precision, num_images):
    """Yields the seconds of an evaluation; its images repeat those of a store in memory."""
    task = workload.make_task(shape)
    trainer = workload.make_trainer(device, precision, logger=False, enable_progress_bar=False)
    rows = np.arange(num_images) % workload.NUM_FILLED
    labels = np.arange(workload.NUM_FILLED) % shape.C
    with TemporaryDirectory() as folder:
        gather = workload.make_gather(Path(folder), shape, device)
        loader = BatchLoader(SplitDataset(gather, rows, labels), batch_size=BATCH_SIZE)
        while True:
            watch = Stopwatch(device)
            trainer.validate(task, loader, verbose=False)
            yield {"all": watch.lap()}


def release_evaluation(shape, device, num_images):
    """Yields the seconds of the release's forward passes, on one batch in memory."""
    net = ReleaseOrder(workload.make_net(shape)).to(device)
    maps_BDR = torch.rand(BATCH_SIZE, shape.D, shape.R).to(device)
    while True:
        watch = Stopwatch(device)
        with torch.inference_mode():
            for _ in range(-(-num_images // BATCH_SIZE)):
                net(maps_BDR)
        yield {"all": watch.lap()}


def cached_scores(shape, num_images):
    """Yields the seconds of T1, and of U, S and H at many calibrations, from cached logits."""
    logits = [torch.randn(num_images, shape.C) for _ in range(2)]
    labels_N = torch.arange(num_images) % shape.C
    seen, unseen = workload.class_ids(shape)
    while True:
        watch = Stopwatch(torch.device("cpu"))
        fused_NC = fuse_logits(logits, (0.9, 0.1), unseen, calibration=0.0)
        curve = seen_unseen_curve(fused_NC, labels_N, seen, unseen)
        scores_at(curve, torch.linspace(-2, 2, NUM_CALIBRATIONS))
        scores_at(curve, torch.tensor([torch.inf]))  # T1: every prediction is an unseen class
        yield {"all": watch.lap()}


def evaluation(options):
    """Compares an evaluation of all test images; measures scores from cached logits."""
    shape, device, number = options.shape, options.device, options.test_images
    for precision in options.precision:
        processes = {
            "ours": TimedProcess(lightning_evaluation, shape, device, precision, number),
            "release": TimedProcess(release_evaluation, shape, device, number, keeps_memory=False),
            "products": TimedProcess(products, shape, device, precision),
        }
        results = interleave(processes)
        batches = number / shape.B
        results["limit"] = [{"all": batches * each["forward"]} for each in results["products"]]
        yield compare(f"evaluation of {number:,} images, {precision}", "s", results, "all")
    process = TimedProcess(cached_scores, shape, number)
    results = interleave({"ours": process}, options.repetitions, consecutive=1)
    what = f"T1, and U, S, H at {NUM_CALIBRATIONS} calibrations, from cached logits"
    yield compare(what, "ms", results, "all")
