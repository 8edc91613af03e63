"""msdn scores: scores at any fusion and calibration, from score caches alone."""

import argparse
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msdn_lit.commands._arguments import Parser, check_calibration, run_command
from msdn_lit.errors import CheckpointError, ConfigError

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from msdn_lit.analysis.output.formats import Table
    from msdn_lit.runs.score_cache import ScoreCache

EXAMPLES = (
    "msdn scores logs/demo",
    "msdn scores logs/demo --fusion 0.8 0.2 --calibration 0.7 --classes 5",
)
_ORDER = ("last", "peak_harmonic_mean", "peak_acc_czsl")


class _Evaluation(NamedTuple):
    """A score cache, and the names of all evaluations that it stands for."""

    names: list[str]
    path: Path
    cache: "ScoreCache"

    @property
    def label(self) -> str:
        warning = f" (PARTIAL: {self.cache.partial})" if self.cache.partial else ""
        return ", ".join(self.names) + warning


def main() -> None:
    """Prints the scores."""
    run_command("msdn scores", lambda words: run(_parse(words)), is_result=True)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Computes scores again from score caches, at any fusion and calibration."
    parser = Parser("msdn scores", description, EXAMPLES)
    option = parser.add_argument
    option("paths", nargs="+", type=Path, metavar="PATH", help="run folders, or scores/*.npz")
    text = "weight of each sub-net (default: the run's)"
    option("--fusion", nargs="+", type=float, metavar="WEIGHT", help=text)
    option("--calibration", type=float, metavar="NUMBER", help="default: the run's")
    text = "also show the N worst classes and confusions"
    option("--classes", type=int, default=0, metavar="N", help=text)
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Prints the table of all caches, and the worst classes of each if they are asked for.

    Raises:
        UserError: There is no cache, one is damaged, or the weights are not as many as the
            sub-nets.
    """
    from msdn_lit.analysis.output.formats import markdown

    check_calibration(options.calibration)
    evaluations = _merged(_caches(options.paths))
    for evaluation in evaluations:
        _check_fusion(options.fusion, evaluation.cache.subnets)
    tables = list(_tables(evaluations, options))
    if not sys.stdout.isatty():
        print(markdown(tables, "Scores"), end="")
        return
    from msdn_lit.analysis.terminal.tables import print_table

    for table in tables:
        print_table(table)
        print()


def _tables(evaluations: Sequence[_Evaluation], options: argparse.Namespace) -> "Iterator[Table]":
    from msdn_lit.analysis.classes import class_table, confusion_table, readable_names
    from msdn_lit.analysis.predictions import Predictions, cache_table

    predicted = [
        Predictions(evaluation.cache, options.fusion, options.calibration)
        for evaluation in evaluations
    ]
    labels = [evaluation.label for evaluation in evaluations]
    yield cache_table(dict(zip(labels, predicted, strict=True)))
    for evaluation, predictions in zip(evaluations, predicted, strict=True):
        if options.classes > 0:
            names = readable_names(_class_names(evaluation.path), evaluation.cache)
            worst = class_table([predictions], names)
            title = f"Lowest accuracy ({evaluation.label})"
            yield worst._replace(title=title, rows=worst.rows[: options.classes], notes=[])
            confused = confusion_table([predictions], names, options.classes)
            yield confused._replace(title=f"{confused.title} ({evaluation.label})")


def _class_names(path: Path) -> list[str] | None:
    """Class names beside a cache; None if there are none."""
    from msdn_lit.runs.layout import CLASS_NAMES
    from msdn_lit.runs.score_cache import read_class_names

    beside = path.with_name(CLASS_NAMES)
    return read_class_names(beside) if beside.is_file() else None


def _merged(caches: "Iterator[tuple[str, Path]]") -> list[_Evaluation]:
    """The evaluations; equal ones of one folder, e.g. a peak at the last step, are one."""
    import numpy as np

    from msdn_lit.runs.score_cache import ScoreCache

    found: list[_Evaluation] = []
    for name, path in caches:
        cache = ScoreCache.load(path)
        for other in found:
            is_near = other.path.parent == path.parent and other.cache.step == cache.step
            if is_near and np.array_equal(other.cache.logits_ONC, cache.logits_ONC):
                other.names.append(name.rpartition("/")[2])
                break
        else:
            found.append(_Evaluation([name], path, cache))
    return found


def _caches(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """A name for each cache, and its file."""
    for path in paths:
        found = [path] if path.is_file() else sorted(path.glob("scores/*.npz"), key=_position)
        if not found:
            action = "Name a run's folder; a run without callbacks.scores has none."
            raise CheckpointError(f"{path} holds no score cache", action=action)
        for file in found:
            run = "" if len(paths) == 1 else f"{file.parent.parent.name}/"
            yield f"{run}{_short_name(file.stem)}", file


def _position(file: Path) -> tuple[int, str]:
    known = file.stem in _ORDER
    return (_ORDER.index(file.stem) if known else len(_ORDER), file.stem)


def _short_name(stem: str) -> str:
    """Name of an evaluation: "last", "peak H", "step 200"."""
    from msdn_lit.runs.layout import SCORES

    kind, _, score = stem.partition("_")
    if kind == "peak" and score in SCORES:
        return f"peak {SCORES[score]}"
    return re.sub(r"^step_0*(\d+)$", r"step \1", stem)


def _check_fusion(fusion: Sequence[float] | None, subnets: Sequence[str]) -> None:
    if fusion is not None and (len(fusion) != len(subnets) or not 0 < sum(fusion) < math.inf):
        expected = f"{len(subnets)} numbers with a positive sum, for {', '.join(subnets)}"
        raise ConfigError("--fusion is wrong", expected=expected, found=fusion)


if __name__ == "__main__":
    main()
