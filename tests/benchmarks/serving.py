"""How long a prediction takes, and whether ONNX Runtime says the same as the engine.

    python -m tests.benchmarks.serving RUN --images DIR [--number 500] [--threads 1]

RUN is a run's folder. Latencies are those of a batch of cropped pictures, from bytes to logits and attention.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch

from msdn_lit import load
from msdn_lit.data.images import open_image
from msdn_lit.data.picture_files import find_images
from msdn_lit.inference.graph import Graph
from msdn_lit.record import versions

BATCHES = (1, 8, 32)


def seconds(call, at_least=2.0):
    """Median seconds of a call, after two that warm up, over at least five and so many seconds."""
    call(), call()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < at_least:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return median(times)


def compare(model, session, crops):
    """Prints the largest differences between ONNX Runtime and the engine, and how many predictions are the same."""
    graph, same, worst = Graph(model).eval(), 0, dict.fromkeys(("logits", "scores", "attention"), 0.0)
    for start in range(0, len(crops), 16):
        batch = np.stack(crops[start : start + 16])
        with torch.inference_mode():
            expected = [value.numpy() for value in graph(torch.from_numpy(batch))]
        found = session.run(None, {"pixels": batch})
        same += int((expected[0].argmax(axis=1) == found[0].argmax(axis=1)).sum())
        for name, theirs, ours in zip(graph.names, found, expected, strict=True):
            kind = name.split("_")[0]
            worst[kind] = max(worst[kind], float(np.abs(theirs - ours).max()))
    differences = ", ".join(f"{kind} {value:.1e}" for kind, value in worst.items())
    print(
        f"ONNX Runtime against the engine: {same} of {len(crops)} predictions equal; largest difference: {differences}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, folder = load(args.run), Path(tempfile.mkdtemp())
    export = [sys.executable, "-m", "msdn_lit.export", f"run_dir={args.run}", "format=onnx", f"output={folder}"]
    subprocess.run(export, check=True, capture_output=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    paths = find_images([str(args.images)])
    step = max(1, len(paths) // args.number)
    crops = [np.array(model.transform.crop(open_image(path, upright=True))) for path in paths[::step][: args.number]]
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"onnxruntime {onnxruntime.__version__}, {args.threads} threads, {model.transform.image_size} px")
    compare(model, session, crops)
    graph = Graph(model).eval()
    compiled = torch.compile(graph, dynamic=False)
    print("| batch | eager, ms | compiled, ms | ONNX Runtime, ms |\n|---:|---:|---:|---:|")
    for size in BATCHES:
        batch = np.stack((crops * size)[:size])
        pixels = torch.from_numpy(batch)
        with torch.inference_mode():
            times = [seconds(lambda p=pixels, g=g: g(p)) for g in (graph, compiled)]
        times.append(seconds(lambda b=batch: session.run(None, {"pixels": b})))
        print(f"| {size} | " + " | ".join(f"{1000 * t:.1f}" for t in times) + " |", flush=True)


if __name__ == "__main__":
    main()
