"""msdn-select: chooses settings on validation scores, and says how to train with them."""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.errors import ConfigError, UserError

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from omegaconf import DictConfig

    from msdn_lit.analysis.selection import Choice

USER_FAULT = 2
FUSION_INTERVALS = 10
# What may differ between runs of the same settings, or is chosen here anyway.
_NOT_A_SETTING = {
    *("seed", "sampler.seed", "paths", "ckpt_path", "task_name", "objective"),
    *("callbacks", "logger", "protocol", "prediction"),
}


def main() -> None:
    """Chooses; a user's fault ends in one line on standard error and exit code 2, as in every command."""
    parser = argparse.ArgumentParser("msdn-select", description="Chooses settings on validation scores.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="PATH", help="runs under protocol=validation, or folders")
    parser.add_argument("--output", type=Path, default=Path("selection.json"), help="the record; now %(default)s")
    try:
        run(parser.parse_args())
    except UserError as fault:
        print(f"msdn-select: {' '.join(str(fault).split())}", file=sys.stderr)
        sys.exit(USER_FAULT)


def run(options: argparse.Namespace) -> None:
    """Compares the groups of runs that differ in their seed alone, writes the best one's settings, prints the command.

    Raises:
        UserError: There are no such runs, or they are of different problems.
    """
    from msdn_lit.record import read_config

    folders = sorted({config.parent for path in options.runs for config in path.rglob("config.yaml")})
    configs = {folder: read_config(folder) for folder in folders}
    runs = [folder for folder, cfg in configs.items() if cfg.protocol.stage == "val" and list(_caches(folder))]
    if not runs:
        found = f"{len(folders)} runs, none with scores of protocol=validation"
        raise ConfigError(
            "There is nothing to choose from", found=found, action="Train with protocol=validation first."
        )
    groups: dict[str, list[Path]] = {}
    for folder in runs:
        groups.setdefault(json.dumps(_settings(configs[folder]), sort_keys=True), []).append(folder)
    choices = {key: _choose(folders) for key, folders in groups.items()}
    for key, choice in sorted(choices.items(), key=lambda item: item[1].harmonic_mean):
        print(f"H {100 * choice.harmonic_mean:.1f} (n={len(groups[key])})  {_difference(key, groups)}")
    best = max(choices, key=lambda key: choices[key].harmonic_mean)
    selection = _selection(best, choices[best], groups, configs[groups[best][0]])
    options.output.write_text(json.dumps(selection, indent=2) + "\n")
    overrides = [f"{key}={value}" for key, value in selection["settings"].items()]
    print(f"\n{options.output}: H {100 * choices[best].harmonic_mean:.1f} on the validation classes. Train with\n")
    print(shlex.join(["protocol=honest", f"protocol.selection={options.output}", *overrides]))


def _caches(folder: Path) -> list[Path]:
    return sorted((folder / "scores").glob("step_*.npz"))


def _choose(folders: Sequence[Path]) -> "Choice":
    from msdn_lit.analysis.scores import ScoreCache
    from msdn_lit.analysis.selection import choose, fusion_grid

    runs = [[ScoreCache.load(path) for path in _caches(folder)] for folder in folders]
    return choose(runs, list(fusion_grid(len(runs[0][0].subnets), FUSION_INTERVALS)))


def _settings(cfg: "DictConfig") -> dict[str, Any]:
    """All that tells a run from another, by dotted key."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(content, dict)
    flat: dict[str, Any] = {}

    def walk(node: Mapping[Any, Any], prefix: str) -> None:
        for key, value in node.items():
            name = f"{prefix}{key}"
            if name in _NOT_A_SETTING:
                continue
            if isinstance(value, dict) and value:
                walk(value, f"{name}.")
            else:
                flat[name] = value

    walk(content, "")
    return flat


def _difference(key: str, groups: Mapping[str, object]) -> str:
    """What tells one group of runs from the others."""
    settings = [json.loads(other) for other in groups]
    mine = json.loads(key)
    names = [name for name in mine if any(other.get(name) != mine[name] for other in settings)]
    return ", ".join(f"{name}={mine[name]}" for name in sorted(names)) or "the only settings"


def _selection(best: str, choice: "Choice", groups: Mapping[str, list[Path]], cfg: "DictConfig") -> dict[str, Any]:
    """The record of the choice: settings as overrides, what they scored, and out of how many."""
    from msdn_lit import build

    mine = json.loads(best)
    differing = {
        name: value for name, value in mine.items() if any(json.loads(other).get(name) != value for other in groups)
    }
    module = build.datamodule(cfg)
    num_train, num_trainval = (len(module.locations[name]) for name in (module.train_split, "trainval"))
    names = list(cfg.model.get("subnets", []))
    fusion = {
        f"prediction.fusion.{name}": weight
        for name, weight in zip(names, choice.fusion, strict=False)
        if len(names) > 1
    }
    steps = round(choice.step * num_trainval / num_train)  # as many passes over the images
    settings = {
        **differing,
        "trainer.max_steps": steps,
        **fusion,
        "prediction.calibration": round(choice.calibration, 4),
    }
    return {
        "settings": settings,
        "validation": {**choice._asdict(), "n": len(groups[best])},
        "candidates": len(groups),
        "runs": sum(map(len, groups.values())),
    }


if __name__ == "__main__":
    main()
