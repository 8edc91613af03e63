"""msdn attention: attention localisation scores of trained models, and the paper's figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_figures,
    add_folders,
    add_trust,
    run_command,
)
from msdn_lit.errors import ConfigError, print_error
from msdn_lit.progress import IMAGES, ProgressLine, print_status
from msdn_lit.runs.layout import FIGURE_FORMATS

if TYPE_CHECKING:
    from msdn_lit.analysis.figures.captions import NamedFigure
    from msdn_lit.data import ZSLDataModule
    from msdn_lit.runs.reader import Run
    from msdn_lit.tasks import ZSLTask

EXAMPLES = (
    "msdn attention logs/demo",
    "msdn attention logs/demo --figures pdf --output paper",
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
    add_figures(parser, "also draw attention maps and t-SNE of the first run")
    text = "folder of the figures (default: figures/ in the run folder)"
    option("--output", type=Path, metavar="DIR", help=text)
    options = parser.parse_args(words)
    if options.output and options.figures is None:
        parser.error("--output needs --figures")
    return options


def run(options: argparse.Namespace) -> None:
    """Writes attention.json into each run folder, prints a table, and draws the first run.

    Raises:
        UserError: There is no run, its data are missing, its net has no attention, or the benchmark
            does not know the places of its attributes.
    """
    from msdn_lit.analysis.figures.captions import of_run, save_figures
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
    measured: dict[Path, dict[str, Any]] = {}
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
            scores = measure_attention(loaded.task, loaded.data, line.update)
        measured[found.folder] = scores | {"step": loaded.step}
        if loaded.step in {one["step"] for one in found.scores.values()}:
            write_attention(found.folder, measured[found.folder])
        else:
            what = f"{found.folder} has no evaluation of step {loaded.step}"
            print_error("msdn attention", f"{what}: its attention.json is not written.")
        if options.figures is not None and number == 0:
            folder = options.output or found.folder / "figures"
            print(f"{folder}: figures of {found.folder}, seed {found.seed}")
            figures = _figures(loaded.task, loaded.data)
            save_figures(
                of_run(figures, _name(found)), folder, options.figures or FIGURE_FORMATS[0]
            )
    for fault in faults:
        print_error("msdn attention", f"Left out: {fault}")
    groups, _ = group_runs(runs)
    print(markdown(attention_tables(groups, measured), "Attention"), end="")


def _figures(task: ZSLTask, data: ZSLDataModule) -> list[NamedFigure]:
    """Draws attention maps and t-SNE, and prints the numbers behind the t-SNE."""
    from msdn_lit.analysis.figures.captions import NamedFigure
    from msdn_lit.attention.embedding_plots import EMBEDDING_CAPTION, plot_embeddings
    from msdn_lit.attention.embeddings import embeddings
    from msdn_lit.attention.maps import attention_rows
    from msdn_lit.attention.plots import ATTENTION_CAPTION, TOP_CAPTION, plot_attention

    tsne, lines = plot_embeddings(embeddings(task, data))
    print("\n".join(lines))
    most = attention_rows(task, data, num_images=4, num_attributes=3, right_and_wrong=True)
    top = attention_rows(
        task, data, num_images=2, num_attributes=6, by_score=True, right_and_wrong=True
    )
    return [
        NamedFigure("tsne", tsne, EMBEDDING_CAPTION),
        NamedFigure("attention", plot_attention(most), ATTENTION_CAPTION),
        NamedFigure("attributes", plot_attention(top), TOP_CAPTION),
    ]


def _name(run: Run) -> str:
    """Benchmark, backbone, protocol and seed of a run."""
    result = run.result
    parts = (result["benchmark"], result["features"], f"{result['protocol']} protocol")
    return ", ".join([*map(str, parts), f"seed {run.seed}"])


if __name__ == "__main__":
    main()
