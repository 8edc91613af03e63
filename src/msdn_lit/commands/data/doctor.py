"""msdn doctor: checks hardware and data, estimates run times, suggests the next command."""

import argparse
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.commands._arguments import Parser, folder_from_environment, run_command, shown

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from omegaconf import DictConfig
    from rich.table import Table

    from msdn_lit.data.inventory import BenchmarkState, StoreState

EXAMPLES = ("msdn doctor", "msdn doctor --data-dir DATA --verify")
COMPROMISED = {"lightning": ("2.6.2", "2.6.3")}
TRAINING = {  # steps, batch size and attributes of the release's settings
    "CUB": (4_234, 50, 312),
    "SUN": (14_448, 50, 102),
    "AWA2": (23_527, 40, 85),
}


def main() -> None:
    """Prints the report."""
    run_command("msdn doctor", lambda words: run(_parse(words)), is_result=True)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Checks hardware and data, estimates run times, suggests the next command."
    parser = Parser("msdn doctor", description, EXAMPLES)
    option = parser.add_argument
    data_dir = folder_from_environment("MSDN_DATA_DIR", "data")
    feature_dir = folder_from_environment("MSDN_FEATURE_DIR", "data/features")
    text = f"data folder (default: MSDN_DATA_DIR or data, now {shown(data_dir)})"
    option("--data-dir", type=Path, default=data_dir, metavar="DIR", help=text)
    text = f"feature stores (default: MSDN_FEATURE_DIR or data/features, now {shown(feature_dir)})"
    option("--feature-dir", type=Path, default=feature_dir, metavar="DIR", help=text)
    text = "read every feature store and check its hash"
    option("--verify", action="store_true", help=text)
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Checks the machine and prints what it finds. Nothing is changed."""
    from rich.text import Text

    from msdn_lit.analysis.output.tables import terminal
    from msdn_lit.data.download.sources import SOURCES
    from msdn_lit.data.inventory import inspect_benchmark, inspect_stores

    console = terminal()
    console.soft_wrap = True
    for title, line in (*_software(), *_machine(options)):
        console.print(Text.assemble((title.ljust(10), "bold"), line))
    benchmarks = [inspect_benchmark(name, options.data_dir) for name in SOURCES]
    stores = list(inspect_stores(options.feature_dir, verify=options.verify))
    console.print(_benchmark_table(benchmarks), _store_table(stores))
    features = _default_features(options.data_dir)
    console.print(_need_table(benchmarks, features, options.feature_dir))
    for state in benchmarks:
        command = _next_command(state, stores, features, options)
        console.print(Text.assemble((state.name, "bold"), f"  next: {command}"))


def _software() -> Iterator[tuple[str, str]]:
    """Yields titles and lines."""
    from msdn_lit.runs.environment import code_version, versions

    found = versions()
    yield "Software", ", ".join(f"{name} {version}" for name, version in found.items())
    yield "", f"code {code_version()}"
    for name, bad in COMPROMISED.items():
        if found.get(name) in bad:
            yield "", f"{name} {found[name]} was a compromised release: replace it now."


def _machine(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yields titles and lines."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    yield (
        "Machine",
        f"{os.cpu_count()} CPU cores, "
        f"RAM {memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB",
    )
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield "", f"{name}: {free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
    if not torch.cuda.is_available():
        yield "", "no GPU that torch can use: everything runs on the CPU"
    yield "", f"fast precisions: {', '.join(_fast_precisions())}"
    for name, folder in (("data", options.data_dir), ("features", options.feature_dir)):
        disk_free = shutil.disk_usage(_existing(folder)).free
        yield "", f"{disk_free / 1e9:.1f} GB of disk free for {name} in {folder}"


def _fast_precisions() -> list[str]:
    """Returns the precisions that the device of a training does not emulate."""
    import torch

    from msdn_lit.build.precision import is_fast
    from msdn_lit.data.features.extraction import PRECISIONS

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return [name for name in PRECISIONS if is_fast(name, device)]


def _benchmark_table(benchmarks: "list[BenchmarkState]") -> "Table":
    from rich.table import Table

    table = Table(
        "benchmark", "images", "split files", "word vectors", title="Data", title_justify="left"
    )
    for state in benchmarks:
        table.add_row(state.name, state.images, state.split, state.word_vectors)
    return table


def _store_table(stores: "list[StoreState]") -> "Table":
    from rich.table import Table

    table = Table(
        "store",
        "images x regions x channels",
        "GB",
        "state",
        title="Feature stores",
        title_justify="left",
    )
    for store in stores:
        shape = " x ".join(f"{size:,}" for size in store.shape) if store.shape else ""
        table.add_row(
            store.name,
            shape,
            f"{2 * math.prod(store.shape) / 1e9:.1f}" if store.shape else "",
            store.state,
        )
    if not stores:
        table.add_row("none yet")
    return table


def _need_table(benchmarks: "list[BenchmarkState]", features: str, feature_dir: Path) -> "Table":
    """Returns size, place in memory, and expected times of extraction and training per store."""
    from rich.table import Column, Table

    from msdn_lit.build import features as build
    from msdn_lit.data.feature_cache import choose_cache
    from msdn_lit.data.inventory import SHAPES

    columns = [Column(state.name, justify="right") for state in benchmarks]
    title = "Feature stores: GB and data.feature_cache=auto; expected time"
    table = Table("features", *columns, title=title, title_justify="left")
    device, free = build.device("auto"), shutil.disk_usage(_existing(feature_dir)).free
    for name, shape in SHAPES.items():
        sizes = [2 * state.num_images * math.prod(shape) for state in benchmarks]
        places = [
            "NO DISK" if size > free else choose_cache("auto", size, device) for size in sizes
        ]
        table.add_row(
            name, *(f"{size / 1e9:.1f} {place}" for size, place in zip(sizes, places, strict=True))
        )
    table.add_section()
    seconds_per_image, flops, (R, D) = (
        _seconds_per_image(features),
        _flops_per_second(),
        SHAPES[features],
    )
    table.add_row(
        f"extracting {features}",
        *(_duration(state.num_images * seconds_per_image) for state in benchmarks),
    )
    training = {  # the forward product, and two backward
        name: _duration(steps * 3 * 2 * B * R * D * 4 * K / flops)
        for name, (steps, B, K) in TRAINING.items()
    }
    table.add_row("training on it", *(training.get(state.name, "") for state in benchmarks))
    return table


def _next_command(
    state: "BenchmarkState", stores: "list[StoreState]", features: str, options: argparse.Namespace
) -> str:
    from msdn_lit.commands._words import typed
    from msdn_lit.files import config_dir

    name, data_dir = state.name.lower(), str(options.data_dir)
    where = typed("paths.data_dir", data_dir)
    where += f" {typed('paths.feature_dir', str(options.feature_dir))}"
    made = [
        s.name.removeprefix(f"{state.name}_")
        for s in stores
        if s.shape and "but" not in s.state and s.name.startswith(f"{state.name}_")
    ]
    known = {path.stem for path in (config_dir() / "features").glob("*.yaml")}
    made.sort(key=lambda features: features not in known)
    lacks_tables = not state.has_split or state.word_vectors == "missing"
    if lacks_tables or not (state.is_complete or made):
        return f"msdn fetch {name} --data-dir {shlex.quote(data_dir)}"
    if not made:
        return f"msdn extract data={name} features={features} {where}"
    experiment = f"experiment={name}_gzsl" if state.name in TRAINING else f"data={name}"
    return f"msdn train {experiment} features={made[0]} {where}"


def _default_features(data_dir: Path) -> str:
    """Returns the features that the Makefile uses, too.

    That is the field's backbone if the data folder has its weights, else the one that pip brings.
    """
    has_resnet = any((data_dir / "weights").glob("resnet101*"))
    return "resnet101_448" if has_resnet else "efficientnet_lite2_260"


def _seconds_per_image(features: str) -> float:
    """Measures the backbone's forward pass, with random weights."""
    import torch

    from msdn_lit.build import features as build

    cfg = _compose(features)
    device = build.device("auto")
    backbone, size = build.backbone(cfg).to(device), cfg.features.transform.image_size
    images = torch.zeros(4, 3, size, size, device=device)
    backbone.feature_map(images).cpu()
    start = time.perf_counter()
    backbone.feature_map(images).cpu()
    return (time.perf_counter() - start) / len(images)


def _flops_per_second() -> float:
    """Measures a product of the size of training's."""
    import torch

    from msdn_lit.build import features as build

    device = build.device("auto")
    left, right = torch.ones(1248, 2048, device=device), torch.ones(2048, 2450, device=device)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        (left @ right)[0, 0].item()
        times.append(time.perf_counter() - start)
    return 2 * 1248 * 2048 * 2450 / min(times)


def _compose(features: str) -> "DictConfig":
    from hydra import compose, initialize_config_dir

    from msdn_lit.files import config_dir

    overrides = [
        f"features={features}",
        "features.backbone.weights_file=null",
        "++features.backbone.weights_package=null",
        "features.backbone.pretrained=false",
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("extract", overrides)


def _existing(folder: Path) -> Path:
    """The folder, or what will hold it."""
    return next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
