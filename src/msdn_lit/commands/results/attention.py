"""msdn attention: attention localisation scores of trained models, and the paper's figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_folders,
    add_trust,
    run_command,
)
from msdn_lit.errors import ConfigError, print_error
from msdn_lit.files import make_folder
from msdn_lit.progress import IMAGES, ProgressLine, print_status

if TYPE_CHECKING:
    from msdn_lit.data import ZSLDataModule
    from msdn_lit.tasks import ZSLTask

EXAMPLES = (
    "msdn attention logs/demo",
    "msdn attention logs/sweeps/seeds --figures figures",
)


def main() -> None:
    """Measures and prints."""
    run_command("msdn attention", lambda words: run(_parse(words)))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Measures whether trained models attend to the places where the attributes are."
    parser = Parser("msdn attention", description, EXAMPLES)
    option = parser.add_argument
    text = "run folders, or folders that contain some"
    option("paths", nargs="+", type=Path, metavar="RUN", help=text)
    add_checkpoint(parser)
    add_folders(parser, features=True)
    add_trust(parser)
    text = "draw attention maps and t-SNE of the first run there"
    option("--figures", type=Path, metavar="DIR", help=text)
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Writes attention.json into each run folder, prints a table, and draws the first run.

    Raises:
        UserError: There is no run, its data are missing, its net has no attention, or the benchmark
            does not know the places of its attributes.
    """
    from msdn_lit.analysis.groups import group_runs
    from msdn_lit.analysis.output.formats import markdown
    from msdn_lit.attention.scores import measure_attention, num_images
    from msdn_lit.attention.tables import attention_tables
    from msdn_lit.build.load import load_run
    from msdn_lit.runs.attention_file import write_attention
    from msdn_lit.runs.reader import find_runs

    runs, _, faults = find_runs(options.paths)
    if not runs:
        action = "Name folders that msdn train wrote."
        raise ConfigError("There is no finished run", action=action)
    for number, found in enumerate(runs):
        loaded = load_run(
            found.folder,
            checkpoint=options.checkpoint,
            data_dir=options.data_dir,
            feature_dir=options.feature_dir,
            trust=options.trust,
        )
        label = f"run {number + 1} of {len(runs)}" if len(runs) > 1 else ""
        total = num_images(loaded.data)
        with ProgressLine(IMAGES, total, label=label, say=print_status) as line:
            measured = measure_attention(loaded.task, loaded.data, line.update)
        measured["step"] = loaded.step
        if options.figures and number == 0:
            print(f"{options.figures}: figures of {found.folder}, seed {found.seed}")
            _draw(loaded.task, loaded.data, options.figures)
        write_attention(found.folder, measured)
    for fault in faults:
        print_error("msdn attention", f"Left out: {fault}")
    groups, _ = group_runs(runs)
    print(markdown(attention_tables(groups), "Attention"), end="")


def _draw(task: ZSLTask, data: ZSLDataModule, folder: Path) -> None:
    """Draws attention.png and tsne.png, and prints the numbers behind tsne.png."""
    from msdn_lit.analysis.output.style import save_figure
    from msdn_lit.attention.embeddings import embeddings
    from msdn_lit.attention.maps import AttentionRow, attention_rows
    from msdn_lit.attention.plots import plot_attention, plot_embeddings

    make_folder(folder)
    panels = embeddings(task, data)
    figure, lines = plot_embeddings(panels)
    save_figure(figure, folder / "tsne.png")
    print("\n".join(lines))
    rows = [
        AttentionRow(row.title, row.image_hw3, row.maps[start : start + 10])
        for row in attention_rows(task, data, num_images=4, num_attributes=10, by_score=True)
        for start in range(0, len(row.maps), 10)
    ]
    save_figure(plot_attention(rows), folder / "attention.png")


if __name__ == "__main__":
    main()
