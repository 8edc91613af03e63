"""msdn-select: chooses settings on validation scores, and says how to train with them."""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.errors import ConfigError, exit_on_user_error

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from msdn_lit.analysis.groups import Group
    from msdn_lit.analysis.selection import Choice

FUSION_INTERVALS = 10


def main() -> None:
    """Chooses; a user's fault ends in one line on standard error and exit code 2, as in every command."""
    parser = argparse.ArgumentParser(
        "msdn-select", description="Chooses settings on validation scores."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="runs under protocol=validation, or folders",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("selection.json"), help="the record; now %(default)s"
    )
    with exit_on_user_error("msdn-select"):
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Compares groups of runs that differ in their seed alone, writes the best one's settings, prints the overrides.

    Raises:
        UserError: There are no such runs.
    """
    from msdn_lit.analysis.groups import group_runs
    from msdn_lit.runs.reader import find_runs

    found = find_runs(options.runs).runs
    groups, _ = group_runs(
        [run for run in found if run.result["stage"] == "val" and _caches(run.folder)]
    )
    if not groups:
        problem = f"{len(found)} runs, none with scores of protocol=validation"
        raise ConfigError(
            "There is nothing to choose from",
            found=problem,
            action="Train with protocol=validation.",
        )
    choices = sorted(
        ((group, _choose(group)) for group in groups), key=lambda pair: pair[1].harmonic_mean
    )
    for group, choice in choices:
        print(f"H {100 * choice.harmonic_mean:.1f} (n={len(group.runs)})  {group.name}")
    group, choice = choices[-1]
    settings = _settings(group, choice, groups)
    selection = {
        "settings": settings,
        "validation": {**choice._asdict(), "n": len(group.runs)},
        "candidates": len(groups),
        "runs": sum(len(group.runs) for group in groups),
    }
    options.output.write_text(json.dumps(selection, indent=2) + "\n")
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    print(
        f"\n{options.output}: H {100 * choice.harmonic_mean:.1f} on the validation classes. Train with\n"
    )
    print(shlex.join(["protocol=honest", f"protocol.selection={options.output}", *overrides]))


def _caches(folder: Path) -> list[Path]:
    return sorted((folder / "scores").glob("step_*.npz"))


def _choose(group: "Group") -> "Choice":
    from msdn_lit.analysis.selection import choose, fusion_grid
    from msdn_lit.runs.score_cache import ScoreCache

    runs = [[ScoreCache.load(path) for path in _caches(run.folder)] for run in group.runs]
    return choose(runs, list(fusion_grid(len(runs[0][0].subnets), FUSION_INTERVALS)))


def _settings(group: "Group", choice: "Choice", groups: Sequence["Group"]) -> dict[str, Any]:
    """The chosen settings as overrides: those in which the candidates differ, the step, fusion and calibration."""
    differing = {
        name: value
        for name, value in group.settings.items()
        if any(other.settings.get(name) != value for other in groups)
        and not name.startswith("prediction.")
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
