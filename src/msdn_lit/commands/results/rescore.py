"""msdn rescore: scores at any fusion and calibration, from score caches alone."""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from msdn_lit.commands._arguments import Parser, run_command
from msdn_lit.errors import CheckpointError, ConfigError

EXAMPLES = (
    "msdn rescore logs/demo",
    "msdn rescore logs/demo --fusion 0.8 0.2 --calibration 0.7 --classes 5",
)


def main() -> None:
    """Prints the scores."""
    run_command("msdn rescore", lambda words: run(_parse(words)), is_result=True)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Computes scores again from score caches, at any fusion and calibration."
    parser = Parser("msdn rescore", description, EXAMPLES)
    option = parser.add_argument
    option("paths", nargs="+", type=Path, metavar="PATH", help="run folders, or scores/*.npz")
    text = "weight of each sub-net (default: the run's)"
    option("--fusion", nargs="+", type=float, metavar="WEIGHT", help=text)
    option("--calibration", type=float, metavar="GAMMA", help="margin (default: the run's)")
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
    from msdn_lit.analysis.predictions import Predictions, cache_table
    from msdn_lit.runs.score_cache import ScoreCache

    if not math.isfinite(options.calibration or 0):
        found = options.calibration
        raise ConfigError("--calibration is wrong", expected="a finite number", found=found)
    judged = {}
    for name, path in _caches(options.paths):
        cache = ScoreCache.load(path)
        _check_fusion(options.fusion, cache.subnets)
        label = f"{name} (PARTIAL: {cache.partial})" if cache.partial else name
        judged[label] = Predictions(cache, options.fusion, options.calibration)
    print(markdown([cache_table(judged)], "Scores"), end="")
    for name, evaluation in judged.items() if options.classes else ():
        worst = list(evaluation.accuracies().items())[: options.classes]
        print(
            f"\n{name}, class ids with the lowest accuracy: "
            + ", ".join(f"{c} {100 * a:.0f} %" for c, a in worst)
        )
        pairs = evaluation.confused(options.classes)
        print(
            "Most frequent mistakes: "
            + ", ".join(f"{c} as {guess} ({n} images)" for c, guess, n in pairs)
        )


def _caches(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """A name for each cache, and its file."""
    for path in paths:
        found = [path] if path.is_file() else sorted(path.glob("scores/*.npz"))
        if not found:
            action = "Name a run's folder; a run without callbacks.scores has none."
            raise CheckpointError(f"{path} holds no score cache", action=action)
        for file in found:
            yield (file.stem if len(paths) == 1 else f"{file.parent.parent.name}/{file.stem}"), file


def _check_fusion(fusion: Sequence[float] | None, subnets: Sequence[str]) -> None:
    if fusion is not None and (len(fusion) != len(subnets) or not 0 < sum(fusion) < math.inf):
        expected = f"{len(subnets)} numbers with a positive sum, for {', '.join(subnets)}"
        raise ConfigError("--fusion is wrong", expected=expected, found=fusion)


if __name__ == "__main__":
    main()
