"""msdn select: chooses settings on validation scores."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.commands._arguments import Parser, run_command
from msdn_lit.errors import ConfigError, print_error, some
from msdn_lit.files import write_atomically
from msdn_lit.runs.layout import SELECTION

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from msdn_lit.analysis.groups import Group
    from msdn_lit.analysis.selection import Choice
    from msdn_lit.runs.reader import Run

EXAMPLES = ("msdn select logs/sweeps/cal", "msdn select logs/sweeps/cal --output cal.json")
FUSION_INTERVALS = 10
# Overrides of a validation run that its honest run does not have.
_OF_THE_RUN = (
    *("protocol=", "objective=", "hparams_search=", "hydra.", "trial_launcher="),
    *("sweep_name=", "seed=", "paths.run_dir=", "ckpt_path=", "callbacks.pruning."),
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
    text = "file of the chosen settings (default: selection.json in the folder of the runs)"
    option("--output", type=Path, metavar="FILE", help=text)
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
    ranked = sorted(
        ((group, _choose(group)) for group in groups), key=lambda pair: -pair[1].harmonic_mean
    )
    _print_choices(ranked)
    best, choice = ranked[0]
    settings = _settings(best, choice, groups)
    output = options.output or _default_output(options.runs)
    selection = {
        "benchmark": best.runs[0].result["benchmark"],
        "settings": settings,
        "validation": {**choice._asdict(), "n": len(best.runs)},
        "candidates": len(groups),
        "runs": sum(len(group.runs) for group in groups),
    }
    write_atomically(output, json.dumps(selection, indent=2) + "\n")
    for fault in scan.faults:
        print_error("msdn select", f"Left out: {fault}")
    print(f"\nBest: {best.name}\nWritten: {output}\nTrain with it:\n")
    settings = {"protocol.selection": str(output.resolve()), **settings}
    print(_command(best.runs[0], "honest", settings))


def _default_output(runs: Sequence[Path]) -> Path:
    """The file in the folder of all runs; in the working directory if there is none to write to."""
    common = Path(os.path.commonpath([path.absolute() for path in runs]))
    folder = common if len(runs) > 1 else runs[0]
    is_usable = common != Path(common.anchor) and os.access(folder, os.W_OK)
    return (folder if is_usable else Path()) / SELECTION


def _print_choices(ranked: "Sequence[tuple[Group, Choice]]") -> None:
    """Prints the groups and their best step, fusion and calibration, on validation images."""
    from msdn_lit.analysis.groups import usual_of
    from msdn_lit.analysis.output.formats import Cell, Share, Table, markdown

    rows: list[list[Cell]] = []
    for group, choice in ranked:
        scores = [Share(getattr(choice, f)) for f in ("harmonic_mean", "acc_unseen", "acc_seen")]
        fusion = " ".join(f"{weight:g}" for weight in choice.fusion)
        settings: list[Cell] = [choice.step, fusion, f"{choice.calibration:.2f}"]
        rows.append([group.features, group.name, *scores, *settings, len(group.runs)])
    header = ["features", "settings", "H", "U", "S", "step", "fusion", "calibration", "n"]
    title = "Best step, fusion and calibration on the validation classes, in percent"
    notes = usual_of([group for group, _ in ranked])
    table = Table("choices", title, header, rows, notes)
    if not sys.stdout.isatty():
        print(markdown([table], "Selection"), end="")
        return
    from msdn_lit.analysis.terminal.tables import print_table

    print_table(table, optional=["fusion", "calibration"])
    print("\n".join(notes))


def _command(run: "Run", protocol: str, settings: Mapping[str, Any]) -> str:
    """Returns the command of a run with another protocol and other settings."""
    from msdn_lit.commands._words import typed
    from msdn_lit.runs.reader import overrides_of, program_of

    length = ["passes="] if "trainer.max_steps" in settings else []
    replaced = (*_OF_THE_RUN, *length, *(f"{key}=" for key in settings))
    words = overrides_of(run.result)
    kept = [shlex.quote(word) for word in words if not word.lstrip("+").startswith(replaced)]
    added = {word[1:].partition("=")[0] for word in words if word.startswith("+")}
    chosen = [typed("+" * (key in added) + key, value) for key, value in settings.items()]
    return " ".join([*program_of(run.result), *kept, f"protocol={protocol}", *chosen])


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
    from msdn_lit.runs.score_cache import ScoreCache

    differing = {
        name: value
        for name, value in group.settings.items()
        if any(other.settings.get(name) != value for other in groups)
        and not name.startswith("prediction.")
        and name not in (*DATA_IDENTITIES, "passes")  # its length is chosen below
    }
    data = group.runs[0].result["data"]
    steps = round(
        choice.step * data["num_trainval"] / data["num_train"]
    )  # as many passes over the images
    length = {"trainer.max_steps": steps} if steps else {}  # a closed form takes none
    names = ScoreCache.load(_caches(group.runs[0].folder)[0]).subnets
    weights = zip(names, choice.fusion, strict=True) if len(names) > 1 else ()
    fusion = {f"prediction.fusion.{name}": weight for name, weight in weights}
    return {**differing, **length, **fusion, "prediction.calibration": round(choice.calibration, 4)}


if __name__ == "__main__":
    main()
