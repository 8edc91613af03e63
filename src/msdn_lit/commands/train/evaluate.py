"""msdn evaluate: evaluates a checkpoint of a run again."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit import __version__
from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_folders,
    add_trust,
    check_calibration,
    check_is_new,
    run_command,
    run_folder,
)
from msdn_lit.progress import print_line

if TYPE_CHECKING:  # imported where it is used, so that --help is instant
    from msdn_lit.build.load import LoadedRun

EXAMPLES = (
    "msdn evaluate logs/demo",
    "msdn evaluate logs/demo --calibration 0.7 --checkpoint peak_harmonic_mean",
)


def main() -> None:
    """Evaluates."""
    run_command("msdn evaluate", run)


def run(words: Sequence[str]) -> None:
    """Evaluates a checkpoint on the splits of its run, and writes the result into a new folder.

    Raises:
        UserError: There is no such run or checkpoint, or its data are missing.
    """
    options = _parse(words)
    # before the imports and the data, which take seconds
    print_line(f"msdn-lit {__version__}, checkpoint {options.checkpoint} of {options.run}")
    from msdn_lit.analysis.output.tables import print_result, terminal

    result, folder = evaluate(options)
    print_result(result)
    terminal().print(str(folder), style="bold", soft_wrap=True)


def evaluate(options: argparse.Namespace) -> tuple[dict[str, Any], Path]:
    """Evaluates; returns the content of the result.json that is written, and its folder."""
    from msdn_lit.build.description import describe
    from msdn_lit.build.precision import evaluation_precision
    from msdn_lit.build.trainer import evaluator
    from msdn_lit.callbacks import EvaluationHistory
    from msdn_lit.runs.layout import EVALUATIONS
    from msdn_lit.runs.record import Remarks, RunRecord
    from msdn_lit.training.fit import used_resources
    from msdn_lit.training.process import (
        limit_openmp_spinning,
        passing_interrupts,
        retain_freed_memory,
    )

    limit_openmp_spinning()
    retain_freed_memory()
    time = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    folder = options.output or options.run / EVALUATIONS / time
    check_is_new(folder)
    loaded = _load(options)
    cfg, command = loaded.cfg, ["msdn", "evaluate", *sys.argv[1:]]
    cfg.trainer.precision = evaluation_precision(cfg.trainer, options.accelerator)
    description = describe(cfg, command=command, choices=_choices(options.run))
    is_as_chosen = options.calibration is None and options.fusion is None
    selection = _result(options.run).get("selection") if is_as_chosen else None
    record = RunRecord(folder, replace(description, selection=selection))
    name = loaded.checkpoint.stem
    trainer = evaluator(cfg, options.accelerator, folder, name)
    with passing_interrupts():
        trainer.validate(loaded.task, loaded.data, verbose=False, weights_only=True)
    history = EvaluationHistory.of(trainer)
    reasons = [*_partial_training(options.run), history.partial]
    result = record.write_result(
        loaded.data,
        {name: history.summary()["last"]},
        used_resources(trainer),
        remarks=Remarks(partial="; ".join(filter(None, reasons))),
    )
    return result, folder


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Evaluates a checkpoint of a run again, on the splits that the run evaluated."
    parser = Parser("msdn evaluate", description, EXAMPLES)
    option = parser.add_argument
    option("run", type=run_folder, metavar="RUN", help="run folder")
    add_checkpoint(parser)
    option("--calibration", type=float, metavar="NUMBER", help="default: the run's")
    option("--fusion", type=float, nargs="+", metavar="WEIGHT", help="weight of each sub-net")
    option("--accelerator", default="auto", choices=("auto", "cpu", "gpu"))
    option("--output", type=Path, metavar="DIR", help="default: RUN/evaluations/TIME")
    add_folders(parser, features=True)
    add_trust(parser)
    return parser.parse_args(words)


def _load(options: argparse.Namespace) -> "LoadedRun":
    """Returns the run with the prediction that the options set."""
    from omegaconf import OmegaConf

    from msdn_lit.build.load import load_run

    check_calibration(options.calibration)
    changed = {} if options.calibration is None else {"calibration": options.calibration}
    loaded = load_run(
        options.run,
        checkpoint=options.checkpoint,
        data_dir=options.data_dir,
        feature_dir=options.feature_dir,
        overrides=OmegaConf.create({"prediction": changed}),
        trust=options.trust,
    )
    _set_fusion(loaded, options.fusion)
    loaded.cfg.protocol.selection = None  # the training has compared its settings with the file
    return loaded


def _set_fusion(loaded: "LoadedRun", weights: Sequence[float] | None) -> None:
    """Replaces the weights of the net's outputs in the prediction; None keeps those of the run.

    Raises:
        ConfigError: The weights are not as many as the outputs, or have no positive sum.
    """
    from msdn_lit.errors import ConfigError

    if weights is None:
        return
    names = loaded.task.output_names
    if len(names) != len(weights) or not 0 < sum(weights) < math.inf:
        expected = f"{len(names)} weights with a positive sum, for {', '.join(names)}"
        raise ConfigError("--fusion is wrong", expected=expected, found=weights)
    loaded.task.fusion = tuple(weights)
    loaded.cfg.prediction.fusion = dict(zip(names, weights, strict=True))


def _partial_training(folder: Path) -> list[str]:
    """Returns in which ways the training of a run was partial."""
    from msdn_lit.callbacks.history import EVALUATED

    reasons = str(_result(folder).get("partial") or "").split("; ")
    return [reason for reason in reasons if not reason.endswith(EVALUATED)]


def _choices(folder: Path) -> dict[str, Any]:
    """Returns the config choices of the run, which name its model in the title of the result."""
    from msdn_lit.runs.version_0_1 import translate_choices

    choices = _result(folder).get("choices")
    return translate_choices(choices) if isinstance(choices, dict) else {}


def _result(folder: Path) -> dict[str, Any]:
    """Returns the result of the run; an unfinished run has none."""
    from msdn_lit.runs.layout import RESULT
    from msdn_lit.texts import read_json

    return read_json(folder / RESULT) or {}


if __name__ == "__main__":
    main()
