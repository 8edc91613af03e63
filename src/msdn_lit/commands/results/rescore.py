"""msdn-scores: all that score caches tell, at any fusion and calibration, without features, weights or a GPU."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from msdn_lit.errors import CheckpointError, ConfigError, exit_on_user_error


def main() -> None:
    """Scores; a user's fault ends in one line on standard error and exit code 2, as in every command."""
    parser = argparse.ArgumentParser(
        "msdn-scores", description="Scores from the caches that msdn-train leaves."
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="run folders, or scores/*.npz files"
    )
    parser.add_argument(
        "--fusion", nargs="+", type=float, help="weight of each sub-net; else the run's"
    )
    parser.add_argument("--calibration", type=float, help="margin gamma; else the run's")
    parser.add_argument(
        "--classes",
        type=int,
        default=0,
        metavar="N",
        help="show the N worst classes and confusions",
    )
    with exit_on_user_error("msdn-scores"):
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Prints the table of all caches, and the worst classes of each if they are asked for.

    Raises:
        UserError: There is no cache, one is damaged, or the weights are not as many as the sub-nets.
    """
    from msdn_lit.analysis.output.formats import markdown
    from msdn_lit.analysis.predictions import Predictions, cache_table
    from msdn_lit.runs.score_cache import ScoreCache

    judged = {}
    for name, path in _caches(options.paths):
        cache = ScoreCache.load(path)
        _check_fusion(options.fusion, cache.subnets)
        judged[name] = Predictions(cache, options.fusion, options.calibration)
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
    if fusion is not None and (len(fusion) != len(subnets) or sum(fusion) <= 0):
        expected = f"{len(subnets)} numbers with a positive sum, for {', '.join(subnets)}"
        raise ConfigError("--fusion is wrong", expected=expected, found=fusion)


if __name__ == "__main__":
    main()
