"""msdn select: chooses settings on validation scores."""

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.commands._arguments import Parser, run_command
from msdn_lit.errors import ConfigError, print_error, some
from msdn_lit.files import write_atomically

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from msdn_lit.analysis.groups import Group
    from msdn_lit.analysis.selection import Choice
    from msdn_lit.runs.reader import Run

EXAMPLES = ("msdn select logs/sweeps/cal", "msdn select logs/sweeps/cal --output cal.json")
FUSION_INTERVALS = 10
# Overrides of a validation run that its honest run does not have.
_OF_THE_RUN = (
    *("protocol=", "objective=", "hparams_search=", "hydra.", "trial_launcher="),
    *("sweep_name=", "seed=", "paths.run_dir=", "ckpt_path="),
)


def main() -> None:
    """Chooses."""
    run_command("msdn select", lambda words: run(_parse(words)))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Chooses settings on validation scores, and prints how to train with them."
    parser = Parser("msdn select", description, EXAMPLES)
    option = parser.add_argument
    text = "runs of protocol=validation, or folders that contain some"
    option("runs", nargs="+", type=Path, metavar="PATH", help=text)
    text = "also choose among runs of fewer batches or images than their settings say"
    option("--partial", action="store_true", help=text)
    text = "file of the chosen settings (default: %(default)s)"
    option("--output", type=Path, default=Path("selection.json"), metavar="FILE", help=text)
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Compares groups of runs that differ only in their seed, and writes the best group's settings.

    Raises:
        UserError: There are no such runs.
    """
    from msdn_lit.analysis.groups import group_runs, without_partial
    from msdn_lit.runs.reader import find_runs

    scan = find_runs(options.runs)
    found = (scan if options.partial else without_partial(scan)[0]).runs
    groups, _ = group_runs(
        [run for run in found if run.result["stage"] == "val" and _caches(run.folder)]
    )
    if not groups:
        reasons = [f"{len(found)} runs, none with scores of protocol=validation", *scan.faults]
        problem = some(reasons)
        action = "Train with protocol=validation"
        if found:
            action += f": {_command(found[0], 'validation', {})}"
        raise ConfigError("There is nothing to choose from", found=problem, action=action)
    _check_one_benchmark(groups)
    choices = sorted(
        ((group, _choose(group)) for group in groups), key=lambda pair: pair[1].harmonic_mean
    )
    for group, choice in choices:
        print(f"H {100 * choice.harmonic_mean:.1f} (n={len(group.runs)})  {group.name}")
    group, choice = choices[-1]
    settings = _settings(group, choice, groups)
    selection = {
        "benchmark": group.runs[0].result["benchmark"],
        "settings": settings,
        "validation": {**choice._asdict(), "n": len(group.runs)},
        "candidates": len(groups),
        "runs": sum(len(group.runs) for group in groups),
    }
    write_atomically(options.output, json.dumps(selection, indent=2) + "\n")
    for fault in scan.faults:
        print_error("msdn select", f"Left out: {fault}")
    score = f"H {100 * choice.harmonic_mean:.1f} on the validation classes"
    settings = {"protocol.selection": str(options.output.resolve()), **settings}
    print(f"\n{options.output}: {score}. Train with\n")
    print(_command(group.runs[0], "honest", settings))


def _command(run: "Run", protocol: str, settings: Mapping[str, Any]) -> str:
    """Returns the command of a run with another protocol and other settings."""
    from msdn_lit.commands._words import typed

    length = ["passes="] if "trainer.max_steps" in settings else []
    replaced = (*_OF_THE_RUN, *length, *(f"{key}=" for key in settings))
    words = shlex.split(str(run.result.get("command", "")))[2:]
    kept = [shlex.quote(word) for word in words if not word.startswith(replaced)]
    chosen = [typed(key, value) for key, value in settings.items()]
    return " ".join(["msdn train", *kept, f"protocol={protocol}", *chosen])


def _check_one_benchmark(groups: Sequence["Group"]) -> None:
    """Refuses to compare scores of different classes or images.

    Raises:
        ConfigError: The runs are of several benchmarks or splits.
    """
    results = [run.result for group in groups for run in group.runs]
    found = sorted({str(result["benchmark"]) for result in results})
    splits = {result["data"].get("split") for result in results}
    if len(found) > 1 or len(splits) > 1:
        problem = "The runs are of several benchmarks or splits, and their scores do not compare"
        expected = "runs of one benchmark with one split"
        raise ConfigError(
            problem, expected=expected, found=f"{len(splits)} splits of {', '.join(found)}"
        )


def _caches(folder: Path) -> list[Path]:
    return sorted((folder / "scores").glob("step_*.npz"))


def _choose(group: "Group") -> "Choice":
    from msdn_lit.analysis.selection import choose, fusion_grid
    from msdn_lit.runs.score_cache import ScoreCache

    runs = [[ScoreCache.load(path) for path in _caches(run.folder)] for run in group.runs]
    return choose(runs, list(fusion_grid(len(runs[0][0].subnets), FUSION_INTERVALS)))


def _settings(group: "Group", choice: "Choice", groups: Sequence["Group"]) -> dict[str, Any]:
    """Returns the chosen settings as overrides: those that differ, step, fusion and calibration."""
    from msdn_lit.analysis.settings import DATA_IDENTITIES

    differing = {
        name: value
        for name, value in group.settings.items()
        if any(other.settings.get(name) != value for other in groups)
        and not name.startswith("prediction.")
        and name not in DATA_IDENTITIES
    }
    data = group.runs[0].result["data"]
    steps = round(
        choice.step * data["num_trainval"] / data["num_train"]
    )  # as many passes over the images
    length = {"trainer.max_steps": steps} if steps else {}  # a closed form takes none
    names = list(group.runs[0].config["model"].get("subnets", []))
    weights = zip(names, choice.fusion, strict=False) if len(names) > 1 else ()
    fusion = {f"prediction.fusion.{name}": weight for name, weight in weights}
    return {**differing, **length, **fusion, "prediction.calibration": round(choice.calibration, 4)}


if __name__ == "__main__":
    main()
