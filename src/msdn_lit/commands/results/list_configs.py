"""msdn list: prints datasets, models, features, experiments, protocols, losses and metrics."""

import argparse
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from msdn_lit.commands._arguments import Parser, run_command
from msdn_lit.files import config_dir

EXAMPLES = ("msdn list", "msdn list experiments")
_GROUPS = {  # kind -> config group
    "datasets": "data",
    "models": "model",
    "features": "features",
    "experiments": "experiment",
    "protocols": "protocol",
    "losses": "loss",
}
_METRICS = {
    "T1": "acc_czsl: mean class accuracy of unseen-class images among the unseen classes (CZSL)",
    "U": "acc_unseen: mean class accuracy of unseen-class images among all classes (GZSL)",
    "S": "acc_seen: mean class accuracy of seen-class images among all classes (GZSL)",
    "H": "harmonic_mean: harmonic mean of U and S (GZSL)",
    "AUSUC": "seen_unseen_auc: area under the curve of S over U that the calibration draws",
}
_KINDS = (*_GROUPS, "metrics")
_FACTS = ("published", "ours", "needs")
_WIDTH = 78


def main() -> None:
    """Prints the lists."""
    run_command("msdn list", run, is_result=True)


def run(words: Sequence[str]) -> None:
    """Prints the names of one kind or of all kinds, each with its description and scores."""
    options = _parse(words)
    for kind in [options.kind] if options.kind else _KINDS:
        print("\n".join(_lines(kind)), end="\n\n")


def describe(path: Path) -> tuple[str, dict[str, str]]:
    """Reads the comment at the head of a config: its description and facts ("published", ...)."""
    text: list[str] = []
    facts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        fact = re.fullmatch(r"#   (\w+): +(.*)", line)
        if fact:
            facts[fact[1]] = fact[2]
        elif not facts and not line.startswith(("# @package", "#   ")):
            text.append(line.removeprefix("#").strip())
    return " ".join(text), facts


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Lists what can be chosen: a name, one line, and published and own scores."
    parser = Parser("msdn list", description, EXAMPLES)
    text = "default: all of them"
    parser.add_argument("kind", nargs="?", choices=_KINDS, metavar="|".join(_KINDS), help=text)
    return parser.parse_args(words)


def _lines(kind: str) -> Iterator[str]:
    if kind == "metrics":
        yield "metrics"
        for name, text in _METRICS.items():
            yield from _entry(name, text)
        return
    group = _GROUPS[kind]
    yield f"{kind} ({group}=NAME)"
    folder = config_dir() / group
    for path in sorted(folder.rglob("[!_]*.yaml")):  # the others are bases of files
        text, facts = describe(path)
        yield from _entry(path.relative_to(folder).with_suffix("").as_posix(), text)
        for fact in _FACTS:
            if fact in facts:
                yield from _wrap(f"    {fact}: ", facts[fact])


def _entry(name: str, text: str) -> Iterator[str]:
    """Yields one name with the first sentence of its description."""
    sentence = re.split(r"(?<=[.:]) (?=[A-Z])", text)[0]
    yield from _wrap(f"  {name}  ", sentence)


def _wrap(head: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * 6)
    yield from lines or [head.rstrip()]


if __name__ == "__main__":
    main()
