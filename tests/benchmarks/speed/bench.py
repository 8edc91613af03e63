"""msdn-bench: how fast this machine trains, evaluates, loads and extracts, beside the release and its own limits."""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.errors import ConfigError, exit_on_user_error
from msdn_lit.training.process import limit_openmp_spinning
from tests.benchmarks.speed.shape import Shape

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    import torch

    from tests.benchmarks.speed.outcome import Comparison

SECTIONS = ("step", "trainer", "seeds", "evaluation", "loading", "extraction", "startup")


def main() -> None:
    """Measures; a user's fault ends in one line on standard error and exit code 2, as in every command."""
    parser = argparse.ArgumentParser(
        "msdn-bench", description=__doc__.partition(": ")[2] if __doc__ else None
    )
    add, sections = parser.add_argument, ", ".join(SECTIONS)
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--only", nargs="+", default=SECTIONS, choices=SECTIONS, metavar="SECTION", help=sections)
    add("--growth", action="store_true", help="instead: how time and memory grow, with a picture")
    add("--precision", nargs="+", default=("fp32", "bf16"), choices=("fp32", "bf16"))
    add(
        "--repetitions",
        type=int,
        default=7,
        metavar="N",
        help="of short measurements, default 7; long ones have 3",
    )
    for letter, default in vars(Shape()).items():
        add(
            f"-{letter}",
            type=int,
            default=default,
            metavar="N",
            help=f"as the project names sizes; default {default}",
        )
    add(
        "--test-images",
        type=int,
        default=4731,
        metavar="N",
        help="of an evaluation; default 4731, CUB's",
    )
    add("--seeds", type=int, default=4, metavar="S", help="that train at once; default 4")
    add(
        "--backbone",
        default="mobilenetv2_100",
        metavar="NAME",
        help="to extract with, weights are random",
    )
    add("--image-size", type=int, default=224, metavar="PIXELS")
    add("--images", type=int, default=256, metavar="N", help="to extract; default 256")
    add(
        "--workers", type=int, default=min(16, os.cpu_count() or 1), metavar="N", help="that decode"
    )
    add(
        "--out",
        type=Path,
        default=Path("logs/bench"),
        metavar="FOLDER",
        help="for the numbers; default logs/bench",
    )
    limit_openmp_spinning()
    with exit_on_user_error("msdn-bench"):
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Prints the table, line by line, and writes every number.

    Raises:
        ConfigError: There is no such device, or nothing can be measured with such numbers.
    """
    import torch

    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: there is no GPU here", action="Use --device cpu.")
    numbers = (*vars(Shape()), "repetitions", "test_images", "seeds", "images", "image_size")
    if min(getattr(options, name) for name in numbers) < 1 or options.C < 2 or options.workers < 0:
        raise ConfigError("A size is wrong", expected="at least 1; 2 classes; 0 workers")
    options.out.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "environment": environment(device),
        "options": {k: str(v) for k, v in vars(options).items()},
    }
    print(
        ", ".join(f"{name} {value}" for name, value in content["environment"].items()),
        end="\n\n",
        flush=True,
    )
    if options.growth:
        content |= _growth(options.out)
    else:
        content["outcomes"] = [outcome.content() for outcome in _shown(_outcomes(options, device))]
    path = options.out / ("growth.json" if options.growth else "bench.json")
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"\n{path}")


def environment(device: "torch.device") -> dict[str, Any]:
    """What the numbers belong to."""
    import torch

    from msdn_lit.runs.record import code_version, versions

    named = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability()
    )
    return {
        "device": f"{device.type} ({named})",
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "code": code_version(),
        **versions(),
    }


def _outcomes(options: argparse.Namespace, device: "torch.device") -> Iterator["Comparison"]:
    from tests.benchmarks.speed import sections

    settings = sections.Settings(
        shape=Shape(**{letter: getattr(options, letter) for letter in vars(Shape())}),
        device=device,
        precisions=tuple(options.precision),
        repetitions=options.repetitions,
        test_images=options.test_images,
        seeds=options.seeds,
        backbone=(options.backbone, options.image_size),
        images=options.images,
        workers=options.workers,
    )
    for name in SECTIONS:
        if name in options.only:
            yield from getattr(sections, name)(settings)


def _shown(outcomes: Iterator["Comparison"]) -> Iterator["Comparison"]:
    """Prints each as a line of a Markdown table as soon as it is there."""
    from tests.benchmarks.speed.outcome import HEADER

    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER), flush=True)
    for outcome in outcomes:
        print("| " + " | ".join(outcome.cells()) + " |", flush=True)
        yield outcome


def _growth(folder: Path) -> dict[str, Any]:
    from tests.benchmarks.speed.growth import AXES, draw_growth, exponents, grow

    grown = {}
    for axis in AXES:
        grown[axis] = grow(axis)
        for size, seconds, memory in grown[axis]:
            times = ", ".join(f"{name} {1e3 * value:.3g} ms" for name, value in seconds.items())
            print(f"{size:>9,} {axis}: {times}; {memory:.2f} GB", flush=True)
        print(
            "  exponents: "
            + ", ".join(f"{name} {e:.2f}" for name, e in exponents(grown[axis]).items()),
            flush=True,
        )
    draw_growth(grown, folder / "growth.png")
    return {axis: [point._asdict() for point in points] for axis, points in grown.items()}


if __name__ == "__main__":
    main()
