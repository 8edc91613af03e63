"""Latency of predictions; differences between ONNX Runtime, the engine and the run's evaluation.

    python -m tests.benchmarks.serving RUN [--number 500] [--threads 1]

RUN is a run folder with a score cache. The images are evenly spaced test images. A latency is the
time of a batch of cropped images, from bytes to logits and attention.
"""

import argparse
import os
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
from msdn_lit.build.features import benchmark
from msdn_lit.build.load import load_config
from msdn_lit.inference.graph import Graph
from msdn_lit.runs.environment import versions
from msdn_lit.runs.layout import score_cache_path
from msdn_lit.runs.score_cache import ScoreCache

BATCHES = (1, 8, 32)


def milliseconds(calls, rounds=15):
    """Returns the median time of each call; the calls alternate, as the machine may be shared."""
    times = [[] for _ in calls]
    for repetition in range(rounds + 2):
        for call, call_times in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if repetition >= 2:  # the first two warm up
                call_times.append(1000 * (time.perf_counter() - start))
    return [median(call_times) for call_times in times]


def image_files(cfg, rows_N):
    """Returns the files of images by their rows in the feature store."""
    images, data_dir = benchmark(cfg), Path(cfg.paths.data_dir)
    paths = images.image_paths(images.read_split(data_dir), data_dir)
    return [paths[row] for row in rows_N]


def onnx_session(run, threads):
    """Exports the run's model and loads it in ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        export = [sys.executable, "-m", "msdn_lit", "export", str(run)]
        options = ["--format", "onnx", "--output", folder]
        subprocess.run([*export, *options], check=True, capture_output=True)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(f"{folder}/model.onnx", settings)


def engine_outputs(model, paths):
    """Returns the cropped images, and the engine's outputs (N, ...) by the graph's names."""
    predictions = model.predict(paths, top_k=len(model.classes))
    ids = {name: c for c, name in enumerate(model.classes.names)}
    logits_NC = np.empty((len(predictions), len(ids)), dtype=np.float32)
    for n, prediction in enumerate(predictions):
        for candidate in prediction.classes:
            logits_NC[n, ids[candidate.name]] = candidate.score
    outputs = {"logits": logits_NC}
    K = len(model.attribute_names)
    for name in model.fusion:
        outputs[f"scores_{name}"] = np.stack([p.subnet_scores[name] for p in predictions])
        outputs[f"attention_{name}"] = np.stack(
            [p.attention[name].reshape(K, -1) for p in predictions]
        )
    return np.stack([p.pixels for p in predictions]), outputs


def onnx_outputs(session, pixels_NHW3):
    """Returns ONNX Runtime's outputs (N, ...) by name."""
    names = [output.name for output in session.get_outputs()]
    batches = np.array_split(pixels_NHW3, len(pixels_NHW3) // 16 + 1)
    outputs = zip(*(session.run(None, {"pixels": batch}) for batch in batches), strict=True)
    return dict(zip(names, (np.concatenate(parts) for parts in outputs), strict=True))


def compare(name, found, expected):
    """Prints the number of equal predictions, and the largest difference of each output."""
    equal = int((found["logits"].argmax(axis=1) == expected["logits"].argmax(axis=1)).sum())
    largest = ", ".join(f"{key} {np.abs(found[key] - expected[key]).max():.1e}" for key in found)
    print(f"{name}: {equal} of {len(found['logits'])} predictions equal", end="; ")
    print(f"largest differences: {largest}", flush=True)


def print_latencies(model, session, pixels_NHW3):
    """Prints a table of the latencies of the graph, the compiled graph and ONNX Runtime."""
    graph = Graph(model).eval()
    compiled = torch.compile(graph, dynamic=False)
    print("| batch | eager, ms | compiled, ms | ONNX Runtime, ms |\n|---:|---:|---:|---:|")
    for size in BATCHES:
        batch = np.resize(pixels_NHW3, (size, *pixels_NHW3.shape[1:]))
        pixels = torch.from_numpy(batch)
        calls = [
            lambda p=pixels: graph(p),
            lambda p=pixels: compiled(p),
            lambda b=batch: session.run(None, {"pixels": b}),
        ]
        with torch.inference_mode():
            times = milliseconds(calls)
        print(f"| {size} | " + " | ".join(f"{t:.1f}" for t in times) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load(args.run)
    cfg = load_config(args.run)
    cache = ScoreCache.load(score_cache_path(args.run, "last"))
    session = onnx_session(args.run, args.threads)
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"onnxruntime {onnxruntime.__version__}, {args.threads} threads", end=", ")
    print(f"{model.transform.image_size} px", end=", ")
    print(f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}")
    number = min(args.number, len(cache.rows_N))
    chosen = np.linspace(0, len(cache.rows_N) - 1, number).round().astype(int)
    pixels_NHW3, engine = engine_outputs(model, image_files(cfg, cache.rows_N[chosen]))
    compare("ONNX Runtime and the engine", onnx_outputs(session, pixels_NHW3), engine)
    evaluated_NC = cache.fused(calibration=cache.calibration)[chosen]
    name = f"the engine and the evaluation ({cfg.trainer.precision})"
    compare(name, {"logits": engine["logits"]}, {"logits": evaluated_NC})
    print_latencies(model, session, pixels_NHW3)


if __name__ == "__main__":
    main()
