"""How long a prediction takes, and whether ONNX Runtime, the engine and the run's own evaluation say the same.

    python -m tests.benchmarks.serving RUN [--number 500] [--threads 1]

RUN is a run's folder with a score cache; the pictures are test images, evenly spaced among all of them. Latencies are
those of a batch of cropped pictures, from bytes to logits and attention.
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
from msdn_lit.build import training as build
from msdn_lit.inference.graph import Graph
from msdn_lit.runs.record import read_config, versions
from msdn_lit.runs.score_cache import ScoreCache

BATCHES = (1, 8, 32)


def milliseconds(calls, rounds=15):
    """Median time of each call; they take turns, so that other work on the machine hits all of them."""
    times = [[] for _ in calls]
    for n in range(rounds + 2):
        for call, of_call in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            if n >= 2:  # before, it warms up
                of_call.append(1000 * (time.perf_counter() - begin))
    return [median(of_call) for of_call in times]


def pictures(cfg, rows_N):
    """Files of images by their rows in the feature store."""
    benchmark, data_dir = build.benchmark(cfg), Path(cfg.paths.data_dir)
    paths = benchmark.image_paths(benchmark.read_split(data_dir), data_dir)
    return [paths[row] for row in rows_N]


def onnx_session(run, threads):
    """ONNX Runtime with the run's model."""
    with tempfile.TemporaryDirectory() as folder:
        export = [
            sys.executable,
            "-m",
            "msdn_lit.commands.use.export",
            f"run_dir={run}",
            "format=onnx",
            f"output={folder}",
        ]
        subprocess.run(export, check=True, capture_output=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(f"{folder}/model.onnx", options)


def said_by_engine(model, paths):
    """Crops, and by the names of the graph's outputs what the engine says of them, (N, ...)."""
    found, order = (
        model.predict(paths, top_k=len(model.classes)),
        {n: c for c, n in enumerate(model.classes.names)},
    )
    logits_NC = np.empty((len(found), len(order)), dtype=np.float32)
    for n, prediction in enumerate(found):
        for c in prediction.classes:
            logits_NC[n, order[c.name]] = c.score
    said = {"logits": logits_NC}
    for name in model.fusion:
        said[f"scores_{name}"] = np.stack([p.subnet_scores[name] for p in found])
        said[f"attention_{name}"] = np.stack(
            [p.attention[name].reshape(len(model.attribute_names), -1) for p in found]
        )
    return np.stack([p.pixels for p in found]), said


def compare(name, found, expected):
    """Prints how many predictions are the same, and the largest differences of each output."""
    same = int((found["logits"].argmax(axis=1) == expected["logits"].argmax(axis=1)).sum())
    worst = ", ".join(f"{key} {np.abs(found[key] - expected[key]).max():.1e}" for key in found)
    print(
        f"{name}: {same} of {len(found['logits'])} predictions equal; largest differences: {worst}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, cfg, cache = (
        load(args.run),
        read_config(args.run),
        ScoreCache.load(args.run / "scores" / "last.npz"),
    )
    session = onnx_session(args.run, args.threads)
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(
        f"onnxruntime {onnxruntime.__version__}, {args.threads} threads, {model.transform.image_size} px",
        end=", ",
    )
    print(f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}")
    chosen = (
        np.linspace(0, len(cache.rows_N) - 1, min(args.number, len(cache.rows_N)))
        .round()
        .astype(int)
    )
    pixels_NHW3, engine = said_by_engine(model, pictures(cfg, cache.rows_N[chosen]))
    names = [output.name for output in session.get_outputs()]
    batches = [
        session.run(None, {"pixels": batch})
        for batch in np.array_split(pixels_NHW3, len(pixels_NHW3) // 16 + 1)
    ]
    onnx = dict(
        zip(names, (np.concatenate(values) for values in zip(*batches, strict=True)), strict=True)
    )
    compare("ONNX Runtime against the engine", onnx, engine)
    evaluated = cache.fused(calibration=cache.calibration).numpy()[chosen]
    compare(
        f"the engine against the evaluation ({cfg.trainer.precision})",
        {"logits": engine["logits"]},
        {"logits": evaluated},
    )
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


if __name__ == "__main__":
    main()
