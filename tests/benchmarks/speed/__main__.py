"""Measures speed and memory, and compares them with the release and with hardware limits.

    python -m tests.benchmarks.speed [--only step trainer ...] [--growth]

`make bench` and `make bench-growth` run it. docs/performance.md has the results.
"""

import argparse
import json
import os
import platform
import statistics
from dataclasses import asdict
from pathlib import Path

import torch

from msdn_lit.errors import ConfigError, exit_on_user_error
from msdn_lit.runs.environment import code_version, versions
from msdn_lit.training.process import limit_openmp_spinning
from tests.benchmarks.speed import evaluation, features, growth, methods, startup, training
from tests.benchmarks.speed.workload import Shape

PROGRAM = "python -m tests.benchmarks.speed"
SECTIONS = {
    "step": training.step,
    "trainer": training.trainer,
    "seeds": training.seeds,
    "methods": methods.methods,
    "evaluation": evaluation.evaluation,
    "loading": features.loading,
    "extraction": features.extraction,
    "startup": startup.startup,
}
TABLE_HEADER = """\
| | ours | release | release / ours: min, median, max | limit | ours / limit: min, median, max |
|---|---|---|---|---|---|"""
# option: (default, smallest value, help)
NUMBERS = {
    "--repetitions": (7, 1, "repetitions of short measurements; long ones have 3"),
    "-B": (Shape.B, 1, "images per batch"),
    "-R": (Shape.R, 1, "regions per image"),
    "-D": (Shape.D, 1, "visual channels"),
    "-K": (Shape.K, 1, "attributes"),
    "-C": (Shape.C, 2, "classes"),
    "-E": (Shape.E, 1, "size of a word vector"),
    "--test-images": (4731, 1, "images of an evaluation"),
    "--seeds": (4, 1, "models that are trained at once"),
    "--images": (256, 1, "images to extract"),
    "--image-size": (224, 1, "height and width of the backbone's input, in pixels"),
    "--workers": (min(16, os.cpu_count() or 1), 0, "processes that decode images"),
}


def main():
    """Runs the benchmark with the options of the command line."""
    limit_openmp_spinning()  # the processes that measure inherit it
    with exit_on_user_error(PROGRAM):
        run(parse_options())


def parse_options():
    """Parses the command line."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__.splitlines()[0])

    def add(option, default, text, **more):
        shown = ", ".join(default) if isinstance(default, tuple) else default
        parser.add_argument(option, default=default, help=f"{text} (default: {shown})", **more)

    names, precisions = tuple(SECTIONS), ("fp32", "bf16")
    add("--only", names, "sections to run", nargs="+", choices=names, metavar="SECTION")
    add("--precision", precisions, "precisions to run", nargs="+", choices=precisions)
    add("--device", "cpu", "device of the models", choices=("cpu", "cuda"))
    parser.add_argument("--growth", action="store_true", help="measure growth, draw growth.png")
    for option, (default, _, text) in NUMBERS.items():
        add(option, default, text, type=int, metavar="N")
    add("--backbone", "mobilenetv2_100", "timm's name of the backbone", metavar="NAME")
    add("--out", Path("logs/bench"), "output folder", type=Path, metavar="FOLDER")
    return parser.parse_args()


def check_options(options):
    """Checks the device and the numbers.

    Raises:
        ConfigError: PyTorch finds no GPU, or a number is too small.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no GPU", action="Use --device cpu.")
    for option, (_, smallest, _) in NUMBERS.items():
        value = getattr(options, option.lstrip("-").replace("-", "_"))
        if value < smallest:
            raise ConfigError(
                f"{option} is too small", expected=f"at least {smallest}", found=value
            )


def run(options):
    """Prints each result as soon as it is measured, and writes all numbers as JSON.

    Raises:
        ConfigError: An option is wrong.
    """
    check_options(options)
    options.out.mkdir(parents=True, exist_ok=True)
    given = {name: str(value) for name, value in vars(options).items()}
    options.device = torch.device(options.device)
    options.shape = Shape(**{letter: getattr(options, letter) for letter in asdict(Shape())})
    content = {"environment": environment(options.device), "options": given}
    print(
        ", ".join(f"{name} {value}" for name, value in content["environment"].items()), end="\n\n"
    )
    content |= measure_axes(options.out) if options.growth else measure_sections(options)
    path = options.out / ("growth.json" if options.growth else "bench.json")
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"\n{path}")


def environment(device):
    """Returns the hardware and software that the numbers belong to."""
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else torch.backends.cpu.get_cpu_capability()
    return {
        "device": f"{device.type} ({name})",
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "code": code_version(),
        **versions(),
    }


def measure_sections(options):
    """Prints one row of a Markdown table per comparison; returns all numbers."""
    print(TABLE_HEADER, flush=True)
    comparisons = []
    for section in (SECTIONS[name] for name in SECTIONS if name in options.only):
        for comparison in section(options):
            print(f"| {' | '.join(comparison.cells())} |", flush=True)
            median = statistics.median(comparison.ours)
            comparisons.append(comparison._asdict() | {"median": median})
    return {"comparisons": comparisons}


def measure_axes(folder):
    """Prints one line per size, draws growth.png in the folder, and returns all numbers."""
    axes = {}
    for axis in growth.AXES:
        axes[axis] = growth.measure_growth(axis)
        for size, seconds, memory in axes[axis]:
            times = ", ".join(f"{part} {1e3 * value:.3g} ms" for part, value in seconds.items())
            print(f"{size:>9,} {axis}: {times}; {memory:.2f} GB")
        found = growth.exponents(axes[axis])
        print("  exponents:", ", ".join(f"{part} {e:.2f}" for part, e in found.items()), flush=True)
    growth.draw_growth(axes, folder / "growth.png")
    return {axis: [point._asdict() for point in points] for axis, points in axes.items()}


if __name__ == "__main__":
    main()
