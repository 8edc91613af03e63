"""msdn init-dataset: writes a template for a dataset of your own."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from msdn_lit.commands._arguments import Parser, run_command

EXAMPLES = ("msdn init-dataset animals", "msdn init-dataset ~/data/flowers")


def main() -> None:
    """Writes the template."""
    run_command("msdn init-dataset", lambda words: run(_parse(words)))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Writes a template for a dataset of your own, with comments and an example."
    parser = Parser("msdn init-dataset", description, EXAMPLES)
    parser.add_argument("folder", type=Path, metavar="DIR", help="new folder")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Writes a commented example: class folders, a table of attributes, a list of unseen classes.

    Raises:
        UserError: The folder has files of the template, or cannot be written.
    """
    folder = options.folder.expanduser()
    from msdn_lit.data.benchmarks.template import write_template

    write_template(folder)
    print(f"{folder} is ready to be filled; its README.txt explains how.")


if __name__ == "__main__":
    main()
